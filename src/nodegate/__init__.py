"""nodegate: one address in front of a fleet of full nodes that keeps itself healthy and safe.

The five nouns that everything here is made of:

- **node**: one full node as the registry declares it.
- **inventory**: all nodes as last read from the registry, with the time of that read.
- **observation**: what one probe of one node saw, a reading or a failure.
- **verdict**: up, degraded, down or unknown, since when, and the reasons in words.
- **plan**: the ordered changes that take the running routing to the wanted one, with what
  safety withheld.

They flow in one direction: registry → probe → health → routing → dataplane → HAProxy.
"""

__version__ = "0.1.0"
