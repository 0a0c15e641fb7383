"""A real OpenStack on the loopback: MariaDB, Keystone, Neutron, Placement, and Nova with its fake driver."""
