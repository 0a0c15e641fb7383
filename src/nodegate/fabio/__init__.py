"""Fabio's tags on Consul services: what routes they mean, and what of them nodegate cannot do.

A *tag* is parsed by itself into a route or a fault; the *checks* of an instance say whether it counts; the
*table* orders routes as Fabio does. Nothing here raises because of what somebody registered: a fault is a
sentence that names the service, and touches no other tag.
"""
