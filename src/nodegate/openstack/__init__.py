"""Tools for the OpenStack clouds that fleets are tested on: names in the hosts file, a clean sweep of Neutron, and
the MAC addresses of virtual bare-metal machines."""
