"""All facts of a host, as one JSON object on standard output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nodegate.host.doctor.gather import gateway, login, network, process, system
from nodegate.host.doctor.gather.base import Gatherer, gather

GATHERERS: Mapping[str, Gatherer] = {
    "identity": system.identity,
    "ssh_config": login.configuration,
    "ssh_listeners": login.listeners,
    "ssh_daemon": login.daemon,
    "ssh_keys": login.keys,
    "listeners": network.listeners,
    "addresses": network.addresses,
    "nftables": network.nftables,
    "ufw": network.ufw,
    "firewalld": network.firewalld,
    "firewall_at_boot": network.persistence,
    "node": process.process,
    "node_descriptors": process.descriptors,
    "node_sockets": process.sockets,
    "node_unit": process.unit,
    "node_exposure": process.exposure,
    "certificates": gateway.certificates,
    "time_service": system.time_service,
    "time_synchronized": system.time_synchronized,
    "upgrades": system.upgrades,
    "reboot": system.reboot,
    "disks": system.disks,
    "memory": system.memory,
    "journal": system.journal,
    "keepalived": gateway.keepalived,
    "versions": gateway.versions,
    "sockets": gateway.sockets,
    "secrets": gateway.secrets,
    "services": gateway.services,
}


def main(ask: Mapping[str, Any]) -> None:
    """Gather and print."""
    print(json.dumps(gather(GATHERERS, ask)))
