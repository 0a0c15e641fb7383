"""What an operator may write, and how mistakes are answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nodegate.errors import BadDocument
from nodegate.host.provision.document import Fleet
from nodegate.host.provision.reading import Source, read_fleet
from nodegate.host.rules import WANTED

SMALL = """\
[ssh]
user = "ops"

[[hosts]]
name = "node1"
address = "192.0.2.11"
"""
NODE = SMALL + '\n[node]\njar = "iri.jar"\n'


def read(folder: Path, text: str) -> Source:
    path = folder / "fleet.toml"
    path.write_text(text)
    return read_fleet(path)


def faults(folder: Path, text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(BadDocument) as caught:
        read(folder, text)
    return [(fault.line, fault.key, fault.message) for fault in caught.value.faults]


def test_what_is_left_out_is_what_the_rule_table_wants(tmp_path: Path) -> None:
    source = read(tmp_path, NODE)
    assert source.fleet.ssh.port == WANTED.ssh_port
    assert source.fleet.node is not None
    assert source.fleet.node.fd_limit == WANTED.fd_limit
    assert source.fleet.parts(source.fleet.hosts[0]) == ("node",)


def test_an_unknown_key_is_named_with_its_line_and_the_one_that_was_meant(tmp_path: Path) -> None:
    ((line, key, message),) = faults(tmp_path, NODE + 'neighbors = ["tcp://a:1"]\n')
    assert (line, key) == (10, "node.neighbors")
    assert "did you mean 'neighbours'" in message


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (SMALL.replace('"ops"', '"root"'), "ssh.user", "not root"),
        (SMALL.replace('"ops"', '"ops"\nport = 22'), "ssh.port", "scanners"),
        (SMALL.replace('"ops"', '"Ops; rm"'), "ssh.user", "not a user's name"),
        (SMALL + SMALL.partition("\n\n")[2], "hosts[1].address", "named twice"),
        (SMALL + 'runs = ["node"]\n', "hosts[0].runs", "[node]"),
        (SMALL + 'neighbours = ["tcp://a:1"]\n', "hosts[0].neighbours", "runs no node"),
        (SMALL + "[node]\n", "node.jar", "is missing"),
        (SMALL + '[node]\nkind = "command"\ncommand = ["hornet"]\n', "node.command", "absolute path"),
        (NODE + 'command = ["/bin/true"]\n', "node.kind", "command"),
        (NODE + 'name = "root"\n', "node.name", "not root"),
        (NODE + 'neighbours = ["192.0.2.1:15600"]\n', "node.neighbours[0]", "tcp://"),
        (NODE + 'api_from = ["192.0.2.1/24"]\n', "node.api_from[0]", "network"),
        (NODE + 'files = {"../../etc/shadow" = "x"}\n', "node.files", "data directory"),
        (NODE + 'environment = {NEIGHBORS = "x"}\n', "node.environment.NEIGHBORS", "node.neighbours"),
        (NODE + 'environment = {A = "x\\ny"}\n', "node.environment.A", "one line"),
        (NODE + "fd_limit = 100\n", "node.fd_limit", "1024"),
        (SMALL + "[firewall]\nrollback = 5\n", "firewall.rollback", "20"),
        (SMALL + '[gateway]\nconfig = "x"\n', "gateway", "either package"),
        (SMALL + '[system]\nreboot = "25:00"\n', "system.reboot", "04:30"),
        ('[ssh]\nuser = "ops"\n', "hosts", "missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_before_any_host_is_touched(
    tmp_path: Path, text: str, key: str, words: str
) -> None:
    found = faults(tmp_path, text)
    assert any(place.startswith(key) and words in message for _, place, message in found), found


def test_a_name_as_address_needs_the_hosts_own_address_for_keepalived(tmp_path: Path) -> None:
    text = SMALL.replace("192.0.2.11", "node1.example.org") + (
        '[gateway]\nconfig = "g"\npackage = "nodegate"\n[keepalived]\naddresses = ["192.0.2.100/24"]\ninterface = "eth0"\n'
    )
    ((_, key, message),) = faults(tmp_path, text)
    assert key == "hosts[0].own"
    assert "IP address" in message


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=30))
def test_a_users_name_is_a_plain_word_or_a_fault(text: str) -> None:
    document = {"ssh": {"user": text}, "hosts": [{"name": "a", "address": "192.0.2.1"}]}
    try:
        user = Fleet.model_validate(document).ssh.user
    except ValidationError as caught:
        wrong = {item["loc"] for item in caught.errors()}
        assert wrong == {("ssh", "user")}  # either way is right, depending on the text
    else:
        assert user == text
        assert set(user) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
