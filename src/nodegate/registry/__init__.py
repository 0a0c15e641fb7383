"""Where nodes are declared.

- `records`: a node as a document (pure): what operators write, what registries store, import and export.
- `sqlite`: the embedded registry, one file in the state directory; `sqlitefile` keeps that file honest.
- `declared`: lays the nodes of nodegate.toml over any other registry.
"""
