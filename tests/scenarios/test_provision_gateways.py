"""Two bare hosts become a pair that shares an address, with Consul's agent beside: keepalived and Consul as they run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hostlab
import netlab
from consul import consul_binary
from nodegate.render.consul import ConsulHost, render_consul
from support import until_sync
from wayout import way_out

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]

SSH_PORT = 19522
GOSSIP = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
MASTER = "6f0e7d4c-2b1a-4c3d-9e8f-0a1b2c3d4e5f"
"""Consul's server denies everything to those without a token."""
FLEET = """\
[ssh]
user = "admin"
first_user = "root"
key = "{folder}/key"
known_hosts = "known_hosts"
keys = ["key.pub"]

[[hosts]]
name = "gate1"
address = "{one}"
runs = ["gateway", "keepalived", "consul"]

[[hosts]]
name = "gate2"
address = "{two}"
runs = ["gateway", "keepalived", "consul"]

[gateway]
config = "nodegate.toml"
program = "/opt/nodegate/bin/nodegate"

[keepalived]
addresses = ["{shared}/24"]
interface = "eth0"

[consul]
join = ["{server}"]
gossip_key = "gossip.key"
binary = "consul"
package = ""

[system]
upgrades = false
"""
SETTINGS = """\
[gateway]
listen = ["*:14267"]
health = "127.0.0.1:9781"
"""
PROGRAM = """\
#!/usr/bin/python3
import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
if sys.argv[1] == "up":
    HTTPServer(("127.0.0.1", 9781), Ready).serve_forever()
time.sleep(1e6)
"""
"""Says what nodegate with ready nodes says; a real one is provisioned in the test of the guide."""


@dataclass(frozen=True)
class Pair:
    """Two booted hosts, a third with Consul's server, and the documents in `folder`."""

    net: netlab.Net
    hosts: tuple[hostlab.Debian, ...]
    folder: Path

    def nodegate(self, *arguments: str) -> dict[str, Any]:
        """What a command prints as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "nodegate", *arguments, "--json"], cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        assert done.stdout, f"{done.returncode}: {done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def holders(self) -> list[str]:
        """Addresses of the hosts that hold the shared one."""
        return [host.address for host in self.hosts if self.net.shared in host.net.addresses()]

    def roles(self) -> tuple[hostlab.Debian, hostlab.Debian]:
        """Who holds the address, and the other one."""
        one, two = self.hosts
        return (one, two) if self.holders() == [one.address] else (two, one)

    def audit(self, *hosts: hostlab.Debian) -> list[dict[str, dict[str, Any]]]:
        """For each host (both, if none is named) rule → result."""
        options = (
            f"IdentityFile={self.folder}/key",
            "UserKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=no",
            "LogLevel=ERROR",
        )
        words = [word for option in options for word in ("--ssh-option", option)]
        names = [f"admin@{host.address}" for host in hosts or self.hosts]
        found = self.nodegate("doctor", *names, "--sudo", "--ssh-port", str(SSH_PORT), *words)["hosts"]
        assert [host["error"] for host in found] == [None] * len(names)
        return [{item["rule"]: item for item in host["results"]} for host in found]


@contextmanager
def bare_pair(folder: Path) -> Iterator[Pair]:
    """Both hosts, that only root's key opens."""
    pytest.importorskip("ansible", reason='needs ansible-core: pip install "nodegate[host]"')
    binary = consul_binary()
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "pair", "-f", folder / "key"], check=True
    )
    with (
        netlab.network(3) as net,
        way_out(net.address) as way,
        hostlab.host(net.hosts[0], folder, sudo=False) as one,
        hostlab.host(net.hosts[1], folder, sudo=False) as two,
    ):
        for host in (one, two):
            way.show(host.root)
            host.put("/root/.ssh/authorized_keys", (folder / "key.pub").read_text(), 0o600)
            host.put("/opt/nodegate/bin/nodegate", PROGRAM, 0o755)
        server = net.hosts[2].address
        (folder / "fleet.toml").write_text(
            FLEET.format(folder=folder, one=one.address, two=two.address, shared=net.shared, server=server)
        )
        (folder / "nodegate.toml").write_text(SETTINGS)
        (folder / "gossip.key").write_text(GOSSIP + "\n")
        (folder / "consul").symlink_to(binary)
        (folder / "server").mkdir()
        for file in render_consul(
            ConsulHost(
                node="server",
                bind=server,
                join=(server,),
                key=GOSSIP,
                servers=1,
                data=str(folder / "data"),
                tls=None,
            )
        ):
            (folder / "server" / file.path).write_text(file.text)
        (folder / "server" / "token.hcl").write_text(f'acl {{ tokens {{ master = "{MASTER}" }} }}\n')
        net.hosts[2].spawn(binary, "agent", f"-config-dir={folder}/server", log=folder / "server.log")
        yield Pair(net, (one, two), folder)


def test_keepalived_and_consul_run_as_the_role_leaves_them(tmp_path: Path) -> None:
    with bare_pair(tmp_path) as pair:
        first = pair.nodegate("provision", "fleet.toml")["hosts"]
        assert {host["outcome"] for host in first} == {"changed"}, first
        # Whoever was ready first has it: the one with more priority does not take it back (nopreempt).
        until_sync(lambda: len(pair.holders()) == 1, within=60, what="one host has the address")
        members = (tmp_path / "server.log").read_text
        until_sync(lambda: len(_members(pair)) == 3, within=60, what=f"three members; {members()[-500:]}")
        assert _members(pair) == {"gate1": "alive", "gate2": "alive", "server": "alive"}
        for host in pair.hosts:
            for unit, user in (("keepalived", "root"), ("nodehost-consul", "consul")):
                pid = host.must("systemctl", "show", unit, "--property=MainPID", "--value").strip()
                assert host.must("stat", "--format=%U", f"/proc/{pid}").strip() == user
            assert GOSSIP not in host.must("journalctl", "--no-pager"), "secrets stay out of the journal"
        for results in pair.audit():
            assert results["vrrp-address"]["reason"] == f"{pair.net.shared}: one holder"
            for rule in ("vrrp-address", "vrrp-firewall", "vrrp-restart", "firewall-default-drop"):
                assert results[rule]["state"] == "pass", results[rule]

        _two_holders_are_told_with_the_firewall_that_split_them(pair)

        # Killed hard it leaves the address behind; its unit starts it again, and one host holds it.
        holder, _ = pair.roles()
        holder.must("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "keepalived")
        until_sync(lambda: _restarts(holder) >= 1, within=60, what="keepalived is started again")
        until_sync(lambda: len(pair.holders()) == 1, within=60, what="one holder after that")


def _two_holders_are_told_with_the_firewall_that_split_them(pair: Pair) -> None:
    # Two adverts meet in this split, too: a holder with less priority would give the address up.
    holder, other = pair.hosts
    if pair.holders() == [other.address]:
        other.must("systemctl", "restart", "keepalived")
    until_sync(lambda: pair.holders() == [holder.address], within=60, what="the first host has the address")
    (alone,) = pair.audit(holder)
    assert alone["vrrp-address"]["state"] == "unknown"
    assert "name each of them" in alone["vrrp-address"]["reason"]
    # Before all others: what the backup itself once sent makes the adverts established.
    other.must("nft", "insert", "rule", "inet", "nodehost", "input", "meta", "l4proto", "112", "drop")
    holder.must("rm", "/etc/systemd/system/keepalived.service.d/nodegate.conf")
    holder.must("systemctl", "daemon-reload")
    until_sync(lambda: len(pair.holders()) == 2, within=90, what="both hold the address")
    found = {host.address: results for host, results in zip(pair.hosts, pair.audit(), strict=True)}
    told = f"{pair.net.shared} is held by {', '.join(f'admin@{host.address}' for host in pair.hosts)}"
    assert {results["vrrp-address"]["reason"] for results in found.values()} == {told}
    assert found[holder.address]["vrrp-firewall"]["state"] == "pass"
    assert found[other.address]["vrrp-firewall"]["state"] == "fail"
    assert found[holder.address]["vrrp-restart"]["reason"] == "keepalived has Restart=no"
    assert found[other.address]["vrrp-restart"]["state"] == "pass"
    mended = pair.nodegate("provision", "fleet.toml")["hosts"]
    assert [host["outcome"] for host in mended] == ["changed", "changed"], mended
    until_sync(lambda: len(pair.holders()) == 1, within=60, what="one holder again")


def _members(pair: Pair) -> dict[str, str]:
    """Member → state, as Consul's server sees them."""
    done = pair.net.hosts[2].run(consul_binary(), "members", f"-token={MASTER}")
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return {row[0]: row[2] for row in rows if len(row) > 2}


def _restarts(host: hostlab.Debian) -> int:
    return int(host.must("systemctl", "show", "keepalived", "--property=NRestarts", "--value"))
