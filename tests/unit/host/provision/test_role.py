"""The role itself: Ansible takes it, and what it writes is taken by the programs that read it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import nodegate.host.provision.run as running
from nodegate.host.provision.inputs import read_inputs
from nodegate.host.provision.reading import Source, read_fleet
from nodegate.host.provision.run import ROLE, Options, provision
from nodegate.host.provision.variables import host_variables, inventory

pytest.importorskip("ansible", reason='needs ansible-core: pip install "nodegate[host]"')
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHv5R9AJkPn4yjO1cP9qvZGM3Pv1dWmxYQ0c8aFv9cQK ops@desk\n"
FLEET = """\
[ssh]
user = "ops"
keys = ["ops.pub"]

[[hosts]]
name = "gate1"
address = "127.0.0.1"
own = "192.0.2.1"

[[hosts]]
name = "gate2"
address = "192.0.2.2"

[node]
jar = "iri.jar"
options = ["{{ lookup('pipe', 'id') }}", "{% raw", "50%"]
environment = {MODE = "a \\"b\\" $c"}
memory = "2G"
api_from = ["192.0.2.2", "2001:db8::/64"]

[firewall]
ssh_from = ["198.51.100.0/24"]
open = [{port = 53, protocol = "udp"}]
tor_exits = "tor.txt"

[gateway]
config = "nodegate.toml"
program = "/opt/nodegate/bin/nodegate"
files = {"tls/gateway.pem" = "gateway.pem"}

[keepalived]
addresses = ["192.0.2.100/24"]
interface = "eth0"

[consul]
join = ["192.0.2.31"]
gossip_key = "gossip.key"
"""
PLAYBOOK = """
- hosts: gate1
  gather_facts: false
  roles: [nodehost]
"""
TASKS = """
- ansible.builtin.copy:
    dest: "{{ out }}"
    content: "{{ nodehost_wanted | to_json }}"
    mode: "0600"
"""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    for name, text in (
        ("fleet.toml", FLEET), ("ops.pub", KEY), ("iri.jar", "jar"), ("gateway.pem", "pem"),
        ("gossip.key", "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=\n"),
        ("tor.txt", "# exits\n203.0.113.9\n2001:db8::9\n203.0.113.10 # a comment\n"),
        ("nodegate.toml", '[gateway]\nlisten = ["*:443"]\nhealth = "127.0.0.1:9781"\n'),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    return read_fleet(tmp_path / "fleet.toml")


def play(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "ANSIBLE_HOME": str(folder / "home"), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), *arguments],
        capture_output=True, text=True, check=False, timeout=170, env=environ, cwd=folder,
    )  # fmt: skip


def written(source: Source, folder: Path) -> dict[str, Any]:
    """All that the role wants on gate1, its templates filled in by Ansible itself."""
    variables = host_variables(source, read_inputs(source), source.fleet.hosts[0])
    variables |= {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "out": str(folder / "out"),
    }
    (folder / "inventory.yml").write_text(running._yaml(inventory({"gate1": variables})))
    shutil.copytree(ROLE / "roles", folder / "roles")
    (folder / "roles/nodehost/tasks/main.yml").write_text(TASKS)
    (folder / "play.yml").write_text(PLAYBOOK)
    done = play(folder, "-i", "inventory.yml", "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads((folder / "out").read_text()))


def test_what_the_role_writes_is_taken_by_those_who_read_it(source: Source, tmp_path: Path) -> None:
    wanted = written(source, tmp_path)
    texts = {item["path"]: item["content"] for item in (*wanted["files"], *wanted["guarded"])}

    firewall = texts["/etc/nftables.conf"]
    assert "policy drop" in firewall
    assert firewall.index("dport 19522") < firewall.index("@tor4 counter drop") < firewall.index("dport 443")
    assert "203.0.113.9, 203.0.113.10" in firewall
    assert "PermitRootLogin no\n" in texts["/etc/ssh/sshd_config.d/00-nodehost.conf"]
    unit = texts["/etc/systemd/system/iri.service"]
    assert """ "{{ lookup('pipe', 'id') }}" "{% raw" "50%%"\n""".replace("{% raw", "{%% raw") in unit
    assert texts["/etc/default/iri"].endswith('MODE="a \\"b\\" \\$c"\n')
    assert "nodegate-ready" in texts["/etc/keepalived/keepalived.conf"]
    assert {item["path"]: item["mode"] for item in wanted["files"]}["/etc/consul.d/gossip.hcl"] == "0600"
    assert wanted["units"][-1]["name"] == "nodehost-consul.service"

    if shutil.which("nft") is not None and os.geteuid() == 0:
        done = subprocess.run(
            ["nft", "-c", "-f", "-"], input=firewall, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_nodes_unit_and_finds_it_shut_in(source: Source, tmp_path: Path) -> None:
    texts = {item["path"]: item["content"] for item in written(source, tmp_path)["files"]}
    for name in ("iri.service", "nodehost-consul.service"):
        place = tmp_path / name
        place.write_text(texts[f"/etc/systemd/system/{name}"])
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=40", str(place)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-800:]


def test_ansible_takes_the_playbook(tmp_path: Path) -> None:
    done = play(tmp_path, "--syntax-check", "-i", "localhost,", str(ROLE / "site.yml"))
    assert done.returncode == 0, done.stderr


def test_the_role_has_built_in_modules_only() -> None:
    known = {
        "name",
        "when",
        "loop",
        "loop_control",
        "register",
        "changed_when",
        "check_mode",
        "diff",
        "block",
        "rescue",
    }
    for path in (ROLE / "roles/nodehost/tasks").glob("*.yml"):
        ahead = list(yaml.safe_load(path.read_text()))
        while ahead:
            task = ahead.pop()
            ahead += [*task.get("block", []), *task.get("rescue", [])]
            modules = set(task) - known
            assert all(module.startswith("ansible.builtin.") for module in modules), (path.name, modules)


def test_a_host_that_does_not_answer_is_told_with_both_ports(
    source: Source, tmp_path: Path, unused_ports: list[int]
) -> None:
    final, first = unused_ports
    text = FLEET.replace('user = "ops"', f'user = "ops"\nport = {final}\nfirst_port = {first}')
    (tmp_path / "fleet.toml").write_text(text)
    (report,) = provision(read_fleet(tmp_path / "fleet.toml"), Options(limit=("gate1",)))
    assert report.outcome == "unreachable"
    assert f"port {final}: " in report.message
    assert f"port {first}: " in report.message


@pytest.fixture
def unused_ports() -> list[int]:
    from support import free_port

    return [free_port(), free_port()]
