"""The files that a document names: all of what is wrong with them, at once, with line and reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nodegate.errors import BadDocument, NotFound, Unavailable
from nodegate.host.provision import run
from nodegate.host.provision.inputs import read_inputs
from nodegate.host.provision.reading import Source, read_fleet
from nodegate.host.provision.variables import host_variables

BASE = """\
[ssh]
user = "ops"
keys = ["ops.pub"]
key = "id"

[[hosts]]
name = "a"
address = "192.0.2.1"

[node]
jar = "iri.jar"

[firewall]
tor_exits = "tor.txt"
"""


def write(folder: Path, text: str = BASE) -> Source:
    (folder / "fleet.toml").write_text(text)
    return read_fleet(folder / "fleet.toml")


def test_every_missing_file_is_named_at_its_key(tmp_path: Path) -> None:
    with pytest.raises(BadDocument) as caught:
        read_inputs(write(tmp_path))
    assert {(fault.key, fault.line) for fault in caught.value.faults} == {
        ("ssh.keys[0]", 3), ("ssh.key", 4), ("node.jar", 11), ("firewall.tor_exits", 14),
    }  # fmt: skip


def test_lines_that_are_no_address_and_private_keys_are_refused(tmp_path: Path) -> None:
    for command in (("-f", "id"), ("-f", "ops.pub")):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", *command], cwd=tmp_path, check=True)
    (tmp_path / "iri.jar").write_text("jar")
    (tmp_path / "tor.txt").write_text("203.0.113.1\nexit.example.org\n203.0.113.300\n")
    with pytest.raises(BadDocument) as caught:
        read_inputs(write(tmp_path))
    found = [(Path(fault.file).name, fault.line) for fault in caught.value.faults]
    assert found == [("ops.pub", 1), ("tor.txt", 2), ("tor.txt", 3)]


def test_the_own_key_is_found_and_so_are_tor_exits_of_both_families(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "id"], cwd=tmp_path, check=True)
    (tmp_path / "ops.pub").write_text((tmp_path / "id.pub").read_text())
    (tmp_path / "iri.jar").write_text("jar")
    (tmp_path / "tor.txt").write_text("2001:db8::1\n203.0.113.2\n203.0.113.1\n203.0.113.2\n")
    inputs = read_inputs(write(tmp_path))
    assert inputs.own_key is not None
    assert inputs.keys[0].startswith(inputs.own_key)
    assert (inputs.tor4, inputs.tor6) == (("203.0.113.1", "203.0.113.2"), ("2001:db8::1",))


def test_what_a_renderer_refuses_is_a_fault_of_the_documents_table(tmp_path: Path) -> None:
    text = '[ssh]\nuser = "ops"\n[[hosts]]\nname = "a"\naddress = "192.0.2.1"\n[consul]\njoin = []\ngossip_key = "k"\n'
    (tmp_path / "k").write_text("short")
    source = write(tmp_path, text)
    with pytest.raises(BadDocument) as caught:
        host_variables(source, read_inputs(source), source.fleet.hosts[0])
    assert {fault.line for fault in caught.value.faults} == {6}
    assert "host a: join: name at least one server" in str(caught.value)


def test_a_limit_that_names_no_host_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no host b; it has a"):
        run.chosen(write(tmp_path), ("a", "b"))


def test_without_ansible_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"pip install 'nodegate\[host\]'"):
        run.provision(write(tmp_path), run.Options())
