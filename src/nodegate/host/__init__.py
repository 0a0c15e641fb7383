"""Tools for one machine: audit it, provision it, see its traffic, keep its neighbours."""
