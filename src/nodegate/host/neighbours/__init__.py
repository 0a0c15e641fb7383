"""A node's neighbours: who brings anything new, who is dead, and how to change them so that it lasts.

A *neighbour* is another node that a node exchanges transactions with; HORNET calls it a peer. A *reading* is what
the node says of all of them at one moment. *Tracks* are what several readings say together. A neighbour is *quiet*
while it brings nothing new, and *dead* when it has been quiet for the grace period. *News* are transactions that the
node had from nobody else before.
"""
