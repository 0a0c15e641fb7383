"""The daemon: one pass over everything, again and again, and the tasks that feed it."""
