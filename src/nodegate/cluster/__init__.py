"""Several gateways on one inventory: who is there, what they share, and what each still decides by itself.

- **member**: a gateway as Consul lists it, with what it tells of itself.
- **membership**: registering this gateway, watching the others, remembering them while Consul is away.
- **share**: which gateway asks which node. Pure.
- **policies**, **bans**: what an operator puts in force on one gateway and all obey, by way of Consul's KV.
- **exchange**: gateways tell each other what their probes saw, signed with the cluster's secret.

Every gateway judges by itself, from the same inventory. Nothing here may take a node or a gateway out because
Consul cannot be read.
"""
