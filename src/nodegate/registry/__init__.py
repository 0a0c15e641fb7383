"""Where nodes are declared.

- `records`: a node as a document (pure): what operators write, what registries store, import and export.
- `sqlite`: the embedded registry, one file in the state directory; `sqlitefile` keeps that file honest.
- `consul`: the registry of a cluster; `consulnodes` and `consulrecords` say what Consul's services and keys mean,
  `remembered` keeps it over a restart.
- `publishing`: what the agent of this machine has of it: `consulservices` for nodes, `aliases` for the gateway's
  further names; `leftovers` says what of Fabio's keys has no effect.
- `declared`: lays the nodes of nodegate.toml over any other registry.
"""
