"""`nodegate doctor` over two gateways that share an address by real keepalived, whole and split in two."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hostlab
import netlab
from support import until_sync

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

KEEPALIVED = """\
vrrp_instance api {{
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int 1
  unicast_src_ip {own}
  unicast_peer {{
    {peer}
  }}
  virtual_ipaddress {{
    {shared}/24 dev eth0
  }}
}}
"""
DEAF = """\
table inet deaf {
  chain input {
    type filter hook input priority 0; policy drop;
    iif "lo" accept
    meta l4proto 112 drop comment "else what the backup itself once sent makes it established"
    ct state established,related accept
    tcp dport 22 accept
  }
}
"""
DROP_IN = "[Service]\nRestart=always\nRestartSec=1\n"


def holds(host: hostlab.Debian, address: str) -> bool:
    return address in host.net.addresses()


def audited(hosts: tuple[hostlab.Debian, ...]) -> dict[str, dict[str, dict[str, Any]]]:
    """Host's address → rule → result."""
    keys = [word for host in hosts for word in ("-o", f"IdentityFile={host.key}")]
    usual = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    names = [f"ops@{host.address}" for host in hosts]
    done = subprocess.run(
        [sys.executable, "-m", "nodegate", "doctor", "--sudo", "--json", *keys, *usual, *names],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    found = json.loads(done.stdout)["hosts"]
    assert [host["error"] for host in found] == [None] * len(hosts)
    return {
        host["host"].partition("@")[2]: {item["rule"]: item for item in host["results"]} for host in found
    }


def test_an_address_held_by_two_is_told_with_the_firewall_that_split_them(tmp_path: Path) -> None:
    with (
        netlab.network(2) as net,
        hostlab.host(net.hosts[0], tmp_path, packages=["keepalived"]) as one,
        hostlab.host(net.hosts[1], tmp_path, packages=["keepalived"]) as two,
    ):
        pair = (one, two)
        for host, peer, priority in ((one, two, 150), (two, one, 100)):
            text = KEEPALIVED.format(
                priority=priority, own=host.address, peer=peer.address, shared=net.shared
            )
            host.put("/etc/keepalived/keepalived.conf", text, 0o600)
            host.must("systemctl", "restart", "keepalived")
        until_sync(
            lambda: holds(one, net.shared) and not holds(two, net.shared), within=90, what="one holder"
        )
        whole = audited(pair)
        for results in whole.values():
            assert results["vrrp-address"]["reason"] == f"{net.shared}: one holder"
            assert results["vrrp-firewall"]["state"] == "pass"
            assert results["vrrp-restart"]["reason"] == "keepalived has Restart=no"
        alone = audited((one,))[one.address]["vrrp-address"]
        assert alone["state"] == "unknown"
        assert "name each of them" in alone["reason"]

        two.put("/etc/systemd/system/keepalived.service.d/nodegate.conf", DROP_IN)
        two.must("systemctl", "daemon-reload")
        two.must("nft", "-f", "-", text=DEAF)
        until_sync(lambda: holds(one, net.shared) and holds(two, net.shared), within=90, what="two holders")
        split = audited(pair)
        holders = f"{net.shared} is held by ops@{one.address}, ops@{two.address}"
        assert {results["vrrp-address"]["reason"] for results in split.values()} == {holders}
        assert split[one.address]["vrrp-firewall"]["state"] == "pass"
        assert split[two.address]["vrrp-firewall"]["state"] == "fail"
        assert split[two.address]["vrrp-restart"]["state"] == "pass"
