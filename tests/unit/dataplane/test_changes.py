from __future__ import annotations

from dataclasses import replace

import pytest

from nodegate.dataplane.changes import numbered, order, outcome, sentence
from nodegate.model import Change, ChangeKind, Server, ServerState

SERVER = Server(backend="pool_main", name="n", address="192.0.2.1", port=1, weight=1, state=ServerState.READY)


def change(kind: ChangeKind, server: Server | None = SERVER) -> Change:
    return Change(kind=kind, why="test", server=server)


@pytest.mark.parametrize(
    "kind", [kind for kind in ChangeKind if kind not in {ChangeKind.RELOAD, ChangeKind.SET_MAP}]
)
def test_every_change_of_a_server_has_commands_that_name_it(kind: ChangeKind) -> None:
    asked = order(change(kind), {})
    assert asked.fault is None
    assert asked.commands
    assert all("pool_main/n" in command for command in asked.commands)
    assert outcome(asked, [""] * len(asked.commands)) is None


def test_the_first_refusal_explains_the_others() -> None:
    asked = order(change(ChangeKind.ADD), {})
    replies = ["[3]: Already exists a server with the same name in backend.\n", "", "[3]: No such server.\n"]
    assert outcome(asked, replies) == (
        "add pool_main/n: Already exists a server with the same name in backend."
    )


def test_a_delete_that_waits_says_that_it_waits() -> None:
    asked = order(change(ChangeKind.DELETE), {})
    refusal = outcome(
        asked, ["", "", "[3]: Server still has connections attached to it, cannot remove it.\n"]
    )
    assert refusal is not None
    assert "still has connections" in refusal
    assert "tried again" in refusal


def test_an_unsafe_server_is_refused_without_a_command() -> None:
    unsafe = Server(
        backend="pool_main", name="n", address="node.example", port=1, weight=1, state=ServerState.READY
    )
    asked = order(change(ChangeKind.ADD, unsafe), {})
    assert asked.commands == ()
    fault = outcome(asked, [])
    assert fault is not None
    assert fault.startswith("add pool_main/n: ")
    assert outcome(order(change(ChangeKind.ADD, None), {}), []) == "add: no server is named"


def test_sentences_name_what_was_to_be_done() -> None:
    map_change = Change(kind=ChangeKind.SET_MAP, why="test", map_name="routes", entries={})
    assert sentence(map_change, "no") == "set map routes: no"
    assert sentence(Change(kind=ChangeKind.RELOAD, why="test"), "no") == "reload: no"


def test_a_node_has_one_number_in_all_lanes_of_its_pool_and_shares_it_with_no_other() -> None:
    places = [
        ("pool_main", "a"),
        ("pool_main:heavy", "a"),
        ("pool_main", "b"),
        ("pool_other", "a"),
        ("pool_main:heavy", "b"),
    ]
    adds = [change(ChangeKind.ADD, replace(SERVER, backend=backend, name=name)) for backend, name in places]
    assert numbered([*adds, change(ChangeKind.DELETE)], 7) == [7, 7, 8, 9, 8, None]
    assert numbered(adds, None) == [None] * len(adds)
