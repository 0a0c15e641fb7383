"""A bare Debian host, provisioned over real SSH by real Ansible as the guide says, and what can go wrong on the way."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodegate.host.provision.variables import GATEWAY
from provisionbed import GUIDE, Bed, bare_host
from support import until_sync

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(900)]

SSH_PORT, API, CLIENTS, ADMIN = 19522, 14265, 14267, 9780
RETURN_PATH = 20_022


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    pytest.importorskip("ansible", reason='needs ansible-core: pip install "nodegate[host]"')
    with bare_host(tmp_path) as made:
        yield made


def test_the_guide_makes_a_bare_host_a_public_node_and_twice_changes_nothing(bed: Bed) -> None:
    bare = _audit(bed, "root", 22)
    print("audit before:", {state: len(rows) for state, rows in bare.items()})
    assert {"ssh-root-login", "ssh-port", "firewall-default-drop"} <= {row["rule"] for row in bare["fail"]}
    before = bed.snapshot()
    _is_refused_before_any_change(bed)
    _is_told_what_sudo_lacks(bed)
    assert bed.provision("fleet.toml", "--check", "--diff")["changed"] > 15
    assert bed.snapshot() == before

    first = bed.provision("fleet.toml")
    assert first["outcome"] == "changed"
    again = bed.provision("fleet.toml")
    assert again == {
        "host": "node1",
        "outcome": "same",
        "changed": 0,
        "changes": [],
        "diffs": [],
        "message": "",
    }

    _ssh_has_moved_and_root_is_refused(bed)
    _node_and_gateway_run_unprivileged(bed)
    _only_the_gateway_is_open(bed)
    _traffic_outlives_nodegate(bed)
    _doctor_is_content(bed)
    _drift_is_mended(bed)
    _a_cut_connection_is_put_back(bed)


def _is_refused_before_any_change(bed: Bed) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", bed.folder / "other"], check=True)
    document = bed.document("lockout.toml", 'keys = ["admin.pub"]', 'keys = ["other.pub"]')
    report = bed.provision(document, code=9)
    assert report["outcome"] == "refused"
    assert "ssh.key is not among the keys of admin: you would be locked out" in report["message"]
    (bed.folder / "elsewhere.toml").write_text(
        (bed.folder / "fleet.toml").read_text() + 'ssh_from = ["203.0.113.0/24"]\n'
    )
    report = bed.provision("elsewhere.toml", code=9)
    assert "ssh_from does not include" in report["message"]


def _is_told_what_sudo_lacks(bed: Bed) -> None:
    document = bed.document("sudo.toml", 'first_user = "root"', 'first_user = "ops"')
    report = bed.provision(document, code=1)
    assert "may not become root" in report["message"]
    assert "--ask-sudo-password" in report["message"]


def _ssh_has_moved_and_root_is_refused(bed: Bed) -> None:
    host = bed.host
    assert host.ssh("sudo", "whoami", user="admin", port=SSH_PORT).stdout == "root\n"
    assert "Permission denied" in host.ssh("true", user="root", port=SSH_PORT).stderr
    assert not host.answers(22)


def _node_and_gateway_run_unprivileged(bed: Bed) -> None:
    for unit, user in (("iri", "iri"), ("nodegate", "nodegate"), ("nodegate-haproxy", "nodegate")):
        pid = _pid(bed, unit)
        assert bed.host.must("stat", "--format=%U", f"/proc/{pid}").strip() == user
    pid = _pid(bed, "iri")
    assert re.search(r"Max open files +\d+ +16384", bed.host.must("cat", f"/proc/{pid}/limits"))
    assert "jvm" in bed.host.must("readlink", f"/proc/{pid}/exe"), "a real JVM, in the unit's sandbox"
    environ = bed.host.must("cat", f"/proc/{pid}/environ")
    assert "NEIGHBORS=tcp://198.51.100.20:15600 tcp://198.51.100.21:15600\0" in environ


def _only_the_gateway_is_open(bed: Bed) -> None:
    until_sync(lambda: _asked(bed.host.address), within=60, what="a node answers through the gateway")
    # Something that listens everywhere, and that nobody allowed.
    bed.host.must("systemd-run", "--quiet", "--unit=stray", "/usr/bin/python3", "-m", "http.server", "8899")
    until_sync(lambda: ":8899" in bed.host.must("ss", "-ltn"), what="the stray service listens")
    script = "import socket,sys\nfor port in map(int,sys.argv[2:]):\n try: socket.create_connection((sys.argv[1],port),2).close(); print(port)\n except TimeoutError: print('dropped',port)"
    ports = [str(port) for port in (CLIENTS, SSH_PORT, 8899, API, ADMIN, 22)]
    seen = bed.other.run(sys.executable, "-c", script, bed.host.address, *ports).stdout.splitlines()
    assert seen == [
        str(CLIENTS),
        str(SSH_PORT),
        "dropped 8899",
        f"dropped {API}",
        f"dropped {ADMIN}",
        "dropped 22",
    ]


def _traffic_outlives_nodegate(bed: Bed) -> None:
    """The two units of the gateway, each restarted by systemd alone."""
    control, traffic = _pid(bed, "nodegate"), _pid(bed, "nodegate-haproxy")
    bed.host.must("systemctl", "restart", "nodegate")
    assert _pid(bed, "nodegate") != control
    assert _asked(bed.host.address)  # while nodegate starts
    _is_well(bed)
    assert _pid(bed, "nodegate-haproxy") == traffic
    bed.host.must("systemctl", "restart", "nodegate-haproxy")
    until_sync(lambda: _asked(bed.host.address), within=60, what="HAProxy serves again")
    assert _pid(bed, "nodegate-haproxy") != traffic
    _is_well(bed)
    for unit in ("nodegate", "nodegate-haproxy"):
        said = bed.host.must("systemd-analyze", "security", "--no-pager", f"{unit}.service")
        exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        assert exposure is not None, said
        print("exposure of", unit, "from 0 to 10:", exposure[1])
        assert float(exposure[1]) < 2


def _pid(bed: Bed, unit: str) -> str:
    return bed.host.must("systemctl", "show", unit, "--property=MainPID", "--value").strip()


def _is_well(bed: Bed) -> None:
    """nodegate is up, and has HAProxy in its hands."""
    status = (f"{GATEWAY}/bin/nodegate", "status", "--state", "/var/lib/nodegate")
    said = until_sync(lambda: _ended_well(bed, *status), within=60, what="nodegate status has nothing to say")
    print(said)


def _ended_well(bed: Bed, *command: str) -> str:
    done = bed.host.inside(*command)
    return done.stdout if done.returncode == 0 else ""


def _asked(address: str) -> bool:
    request = urllib.request.Request(
        f"http://{address}:{CLIENTS}/", data=b'{"command": "getNodeInfo"}',
        headers={"X-IOTA-API-Version": "1", "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return "latestMilestoneIndex" in json.load(answer)
    except OSError:
        return False


def _audit(bed: Bed, who: str, port: int) -> dict[str, list[dict[str, Any]]]:
    """What the guide's own line finds, with what this network needs: results by their state."""
    line = next(line for line in GUIDE.splitlines() if line.startswith("$ nodegate doctor"))
    line = line.removeprefix("$ nodegate ").replace("admin@192.0.2.11", f"{who}@{bed.host.address}")
    words = shlex.split(line.replace(str(SSH_PORT), str(port)))
    options = [f"IdentityFile={bed.host.key}", "UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no"]
    done = bed.nodegate(*words, "--json", *(word for option in options for word in ("--ssh-option", option)))
    (host,) = json.loads(done.stdout)["hosts"]
    results = host["results"]
    return {state: [row for row in results if row["state"] == state] for state in ("pass", "fail", "unknown")}


def _doctor_is_content(bed: Bed) -> None:
    found = _audit(bed, "admin", SSH_PORT)
    assert found["fail"] == []
    assert len(found["pass"]) > 20
    print("audit after:", {state: len(rows) for state, rows in found.items()})


def _drift_is_mended(bed: Bed) -> None:
    bed.host.must("nft", "add", "rule", "inet", "nodehost", "input", "tcp", "dport", "8899", "accept")
    bed.host.must("systemctl", "disable", "--now", "--quiet", "iri")
    report = bed.provision("fleet.toml")
    assert "Load SSH and firewall" in report["changes"]
    assert "Start services: iri.service" in report["changes"]
    assert "8899" not in bed.host.must("nft", "list", "ruleset")


def _a_cut_connection_is_put_back(bed: Bed) -> None:
    """Something on the way lets the new port not through: the host goes back by itself."""
    for command in (
        "add table inet provider",
        "add chain inet provider input { type filter hook input priority -10; policy accept; }",
        f"add rule inet provider input tcp dport {RETURN_PATH} drop",
    ):
        bed.host.must("nft", command)
    before = bed.snapshot()
    document = bed.document("moved.toml", "[ssh]", f"[ssh]\nport = {RETURN_PATH}\nfirst_port = {SSH_PORT}")
    text = (bed.folder / document).read_text().replace('first_user = "root"', 'first_user = "admin"')
    (bed.folder / document).write_text(text)
    report = bed.provision(document, code=1)
    assert report["message"].startswith("SSH and firewall were put back as they were.")
    assert report["changes"] == []
    assert bed.snapshot() == before
    assert bed.host.ssh("sudo", "whoami", user="admin", port=SSH_PORT).stdout == "root\n"
