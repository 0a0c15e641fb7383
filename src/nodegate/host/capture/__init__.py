"""What hits a node's API, and what never gets an answer, from captured packets.

`pcapfile` gives frames, `packets` the TCP segments in them, `streams` puts each direction in order, `http` finds
messages in it, `exchange` pairs requests with answers, `tally` counts, `report` tells.
"""
