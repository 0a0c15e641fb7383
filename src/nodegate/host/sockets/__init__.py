"""The connections of a node's API as the kernel has them, and the descriptors of its process."""
