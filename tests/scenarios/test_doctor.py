"""`nodegate doctor` over real SSH, on Debian hosts with systemd that nobody has hardened yet."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hostlab
import netlab
from support import until_sync

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

NODE = 14265
UNIT = "[Service]\nExecStart=/usr/bin/python3 -m http.server 14266\n"
SAFE_UNIT = """\
[Service]
ExecStart=/usr/bin/python3 -m http.server 14266
User=daemon
Restart=always
LimitNOFILE=16384
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""
SSHD = "Port 19522\nPermitRootLogin no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxAuthTries 4\nLoginGraceTime 30\nX11Forwarding no\n"
NFT = """\
flush ruleset
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    iif "lo" accept
    ct state established,related accept
    tcp dport { 22, 19522, 14267 } accept
  }
}
"""
TO_MEND = {
    "ssh-root-login", "ssh-passwords", "ssh-port", "ssh-tries", "ssh-x11", "firewall-default-drop", "firewall-persistent",
    "firewall-node-closed", "api-exposed", "node-user", "node-privileges", "node-sandbox", "node-restart", "node-fd-limit",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A host to audit, with a node of an old release that answers everything, and another that looks at it."""

    bare: hostlab.Debian
    other: hostlab.Debian

    def doctor(self, *arguments: str, port: int = 22) -> subprocess.CompletedProcess[str]:
        """`nodegate doctor`, with what ssh needs here for both hosts."""
        keys = [word for host in (self.bare, self.other) for word in ("-o", f"IdentityFile={host.key}")]
        usual = [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ]
        return subprocess.run(
            [sys.executable, "-m", "nodegate", "doctor", *keys, *usual, "--ssh-port", str(port), *arguments],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def results(self, *arguments: str, port: int = 22) -> dict[str, dict[str, Any]]:
        """Rule → its result on the audited host."""
        done = self.doctor(*arguments, "--json", "--unit", "node", f"ops@{self.bare.address}", port=port)
        (host,) = json.loads(done.stdout)["hosts"]
        assert host["error"] is None, host["error"]
        return {item["rule"]: item for item in host["results"]}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two hosts; `ops` may become root on the first one only."""
    folder = tmp_path_factory.mktemp("doctor")
    with (
        netlab.network(2, needs=["socat"]) as net,
        hostlab.host(net.hosts[0], folder) as bare,
        hostlab.host(net.hosts[1], folder, sudo=False) as other,
    ):
        bare.put("/etc/systemd/system/node.service", UNIT)
        bare.must("systemctl", "daemon-reload")
        bare.must("systemctl", "start", "node")
        _node(bare, folder)
        yield Pair(bare=bare, other=other)


def _node(bare: hostlab.Debian, folder: Path) -> None:
    """A lab node of a release without remote limits, reachable from outside."""
    log = folder / "lab.log"
    words = ("--count", "1", "--base-port", "24265", "--release", "1.4.1.7", "--control", "0", "--json")
    bare.net.spawn(sys.executable, "-m", "nodegate", "lab", "nodes", *words, log=log)
    bare.net.spawn("socat", f"TCP-LISTEN:{NODE},bind={bare.address},fork,reuseaddr", "TCP:127.0.0.1:24265")
    until_sync(lambda: '"control"' in log.read_text(), within=60, what="the lab node")
    until_sync(lambda: bare.answers(NODE), within=60, what="its relay")


def _failed(results: dict[str, dict[str, Any]], state: str = "fail") -> set[str]:
    return {rule for rule, item in results.items() if item["state"] == state}


def test_a_bare_host_is_told_all_that_hardening_would_mend_and_passes_once_it_is(pair: Pair) -> None:
    before = pair.results("--sudo")
    assert _failed(before) >= TO_MEND
    assert "addNeighbors" in before["api-exposed"]["reason"]
    assert before["ssh-passwords"]["reason"] == "the daemon offers password"
    bare = pair.bare

    bare.put("/etc/ssh/sshd_config.d/50-hardened.conf", SSHD)
    forgotten = pair.results("--sudo")  # written, and the daemon not told
    assert forgotten["ssh-root-login"]["state"] == "pass"
    assert forgotten["ssh-daemon"]["state"] == "fail"
    assert forgotten["ssh-passwords"]["reason"] == "the daemon offers password"

    bare.put("/etc/nftables.conf", NFT)
    bare.put("/etc/systemd/system/node.service", SAFE_UNIT)
    bare.must("systemctl", "daemon-reload")
    bare.must("systemctl", "restart", "node", "ssh")
    bare.must("systemctl", "enable", "--now", "nftables")
    until_sync(lambda: bare.answers(19522), within=60, what="the daemon on its new port")
    after = pair.results("--sudo", port=19522)
    assert not _failed(after) & (TO_MEND | {"ssh-daemon", "firewall-ssh-open", "node-fd-use"}), after
    assert not bare.answers(NODE)
    assert after["firewall-node-closed"]["reason"] == f"the firewall drops strangers on {NODE}"

    bare.must("rm", "/etc/ssh/sshd_config.d/50-hardened.conf")
    bare.must("nft", "flush", "ruleset")
    bare.must("systemctl", "disable", "--now", "nftables")
    bare.put("/etc/systemd/system/node.service", UNIT)
    bare.must("systemctl", "daemon-reload")
    bare.must("systemctl", "restart", "node", "ssh")
    until_sync(lambda: bare.answers(22), within=60, what="the host as it was")


def test_an_ordinary_user_learns_what_can_be_seen_and_why_the_rest_cannot(pair: Pair) -> None:
    results = pair.results()
    unknown = {rule: item["reason"] for rule, item in results.items() if item["state"] == "unknown"}
    assert {"ssh-root-login", "ssh-keys", "ssh-port", "firewall-default-drop"} <= set(unknown)
    assert all(
        "needs root" in unknown[rule] for rule in ("ssh-root-login", "ssh-port", "firewall-default-drop")
    )
    assert {"node-user", "node-fd-limit", "node-sandbox", "ssh-passwords", "firewall-node-closed"} <= _failed(
        results
    )


def test_another_host_looks_from_outside(pair: Pair) -> None:
    stranger = f"ops@{pair.other.address}"
    results = pair.results("--sudo", "--from", stranger)
    assert results["firewall-node-closed"]["reason"] == f"{stranger} reached port {NODE}"
    assert "removeNeighbors" in results["api-exposed"]["reason"]


def test_hosts_that_cannot_be_audited_are_named_and_the_others_go_on(pair: Pair) -> None:
    gone = f"ops@{pair.bare.net.address.rpartition('.')[0]}.77"
    done = pair.doctor("--json", "--ssh-option", "ConnectTimeout=1", gone, f"ops@{pair.bare.address}")
    hosts = {host["host"]: host for host in json.loads(done.stdout)["hosts"]}
    assert hosts[gone]["error"].startswith(f"{gone}: SSH failed: ")
    assert hosts[f"ops@{pair.bare.address}"]["error"] is None
    assert done.returncode == 2


def test_without_the_right_to_sudo_it_says_so(pair: Pair) -> None:
    done = pair.doctor("--sudo", f"ops@{pair.other.address}")
    assert done.returncode == 4
    assert "not audited" in done.stdout
    assert "sudo refused" in done.stdout


def test_people_get_a_table_with_hints_and_a_silence_is_kept(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "doctor.toml"
    file.write_text(
        '[expect]\nunit = "node"\n[[silence]]\nrule = "ssh-port"\nreason = "moves soon"\nuntil = 2999-01-01\n'
        '[[silence]]\nrule = "memory"\nreason = "ordered"\nuntil = 2020-01-01\n'
    )
    done = pair.doctor("--sudo", "--fix-hints", "--config", str(file), f"ops@{pair.bare.address}")
    assert done.returncode == 2
    assert "Debian GNU/Linux 12" in done.stdout
    assert "Set `PermitRootLogin no`" in done.stdout
    assert "listens on 22; moves soon (until 2999-01-01)" in done.stdout
    assert ", 1 silenced" in done.stdout
    assert "the silence of memory ended on 2020-01-01" in done.stderr
