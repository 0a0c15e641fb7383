"""Commands that choose, attach, store and broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nodegate.lab.answers import Work
from nodegate.lab.iri import SERIALISED
from nodegate.lab.iri_commands import COMMANDS
from nodegate.lab.tangle import FIRST_INDEX, HISTORY, OLD_REFERENCE, Tangle
from nodegate.lab.transaction import SUPPLY, TRANSACTION_TRYTES, field, parsed, replaced
from nodegate.lab.trytes import made_up, number, value_of
from nodegate.model import Instant, Seconds

NOW = Instant(1_600_000_000.0)
Ask = Callable[..., Any]
EMPTY = "9" * TRANSACTION_TRYTES


def test_a_transaction_goes_the_whole_way_from_tips_to_confirmation(asked: Ask, tangle: Tangle) -> None:
    ask = asked(remote_limited=frozenset())
    _, tips = ask(command="getTransactionsToApprove", depth=3)
    trunk, branch = tips["trunkTransaction"], tips["branchTransaction"]
    body = replaced(EMPTY, address=made_up("me"), obsolete_tag="HELLO", bundle=made_up("b"))
    _, answer = ask(
        command="attachToTangle",
        trunkTransaction=trunk,
        branchTransaction=branch,
        minWeightMagnitude=9,
        trytes=[body],
    )
    (attached,) = answer["trytes"]
    assert (field(attached, "trunk"), field(attached, "branch")) == (trunk, branch)
    assert field(attached, "tag").startswith("HELLO")
    assert value_of(field(attached, "attached_at")) == int(NOW * 1000)
    assert ask(command="storeTransactions", trytes=[attached]) == (200, {})
    assert ask(command="broadcastTransactions", trytes=[attached]) == (200, {})
    name = parsed(attached).hash
    assert ask(command="findTransactions", addresses=[made_up("me")])[1] == {"hashes": [name]}
    assert ask(command="getTrytes", hashes=[name])[1] == {"trytes": [attached]}
    tangle.issue(Instant(NOW + 1))
    ask.now = Instant(NOW + 1)
    assert ask(command="getInclusionStates", transactions=[name])[1] == {"states": [True]}


def test_a_bundle_is_chained_head_first_and_returned_tail_first(asked: Ask) -> None:
    ask, trunk, branch = asked(remote_limited=frozenset()), made_up("trunk"), made_up("branch")
    bodies = [replaced(EMPTY, current_index=number(at, 9), last_index=number(1, 9)) for at in (1, 0)]
    _, answer = ask(
        command="attachToTangle",
        trunkTransaction=trunk,
        branchTransaction=branch,
        minWeightMagnitude=9,
        trytes=bodies,
    )
    tail, head = map(parsed, answer["trytes"])
    assert (tail.current_index, head.current_index) == (0, 1)
    assert (head.trunk, head.branch) == (trunk, branch)
    assert (tail.trunk, tail.branch) == (head.hash, trunk)


def test_attaching_takes_as_long_as_there_are_transactions(asked: Ask) -> None:
    ask = asked(remote_limited=frozenset(), work=Seconds(0.5))
    ask(command="attachToTangle", trunkTransaction=made_up("t"), branchTransaction=made_up("b"), minWeightMagnitude=9, trytes=[EMPTY] * 3)  # fmt: skip
    assert ask.held == [1.5]


@pytest.mark.parametrize("depth", [-1, 16])
def test_a_depth_out_of_bounds_is_refused(asked: Ask, depth: int) -> None:
    assert asked()(command="getTransactionsToApprove", depth=depth) == (400, {"error": "Invalid depth input"})


@pytest.mark.parametrize(("depth", "status"), [(16, 200), (1000, 200), (-1, 400), (0, 400)])
def test_the_old_release_takes_any_depth_above_zero(asked: Ask, depth: int, status: int) -> None:
    assert asked("1.4.1.7")(command="getTransactionsToApprove", depth=depth)[0] == status


def test_a_depth_that_is_text_is_invalid(asked: Ask) -> None:
    answer = asked()(command="getTransactionsToApprove", depth="3")
    assert answer == (500, {"exception": "Invalid depth input"})


@pytest.mark.parametrize("reference", [OLD_REFERENCE, "oldest milestone"])
def test_an_old_reference_holds_the_lock_for_long(asked: Ask, tangle: Tangle, reference: str) -> None:
    name = tangle.milestone(FIRST_INDEX - HISTORY + 1).hash if " " in reference else reference
    ask = asked(stall=Seconds(20.0), walk=Seconds(0.02))
    assert ask(command="getTransactionsToApprove", depth=3, reference=name)[0] == 200
    assert ask(command="getTransactionsToApprove", depth=3, reference=tangle.latest(NOW).hash)[0] == 200
    assert ask(command="getTransactionsToApprove", depth=3)[0] == 200
    assert ask.held == [20.0, 0.02, 0.02]


def test_a_node_without_the_weakness_refuses_an_old_reference_at_once(asked: Ask) -> None:
    ask = asked(stall=Seconds(0.0))
    answer = ask(command="getTransactionsToApprove", depth=3, reference=OLD_REFERENCE)
    assert answer == (400, {"error": "reference transaction is too old"})
    assert ask.held == [0.02]


def test_an_unknown_reference_is_refused_by_the_new_release_and_ignored_by_the_old(asked: Ask) -> None:
    question = {"command": "getTransactionsToApprove", "depth": 3, "reference": made_up("no")}
    assert asked()(**question) == (400, {"error": "reference transaction not found"})
    assert asked("1.4.1.7")(**question)[0] == 200


def test_a_reference_is_among_what_is_to_be_approved(asked: Ask, tangle: Tangle) -> None:
    name = tangle.milestone(FIRST_INDEX - 1).hash
    _, answer = asked()(command="getTransactionsToApprove", depth=3, reference=name)
    assert answer["branchTransaction"] == name


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("A", "Error: Invalid trytes input"),
        (EMPTY, "Error: Invalid transaction: not attached"),
        (
            replaced(EMPTY, value=number(SUPPLY + 1, 27), trunk=made_up("t")),
            "Error: Invalid transaction value",
        ),
    ],
)
def test_a_bad_transaction_is_not_stored_and_the_node_says_why(asked: Ask, body: str, words: str) -> None:
    assert asked()(command="storeTransactions", trytes=[body]) == (400, {"error": words})


def test_a_bad_transaction_is_dropped_from_a_broadcast_in_silence(asked: Ask, tangle: Tangle) -> None:
    good = replaced(EMPTY, trunk=tangle.latest(NOW).hash)
    assert asked()(command="broadcastTransactions", trytes=[EMPTY, good]) == (200, {})
    assert tangle.get(parsed(good).hash) is not None


def test_exactly_the_synchronized_commands_share_the_lock(asked: Ask) -> None:
    params = {
        "hashes": [], "trytes": [], "addresses": [], "transactions": [], "tips": [], "tails": [], "uris": [],
        "depth": 3, "minWeightMagnitude": 9, "threshold": 100, "limit": 1,
        "trunkTransaction": made_up("t"), "branchTransaction": made_up("b"),
    }  # fmt: skip
    node = asked(remote_limited=frozenset()).node
    works = {name: handler(node, params) for name, handler in COMMANDS.items()}
    assert all(isinstance(work, Work) for work in works.values())
    assert {name for name, work in works.items() if work.serialised} == SERIALISED
    assert {name for name, work in works.items() if work.interrupted is not None} == {"attachToTangle"}
    assert {name for name, work in works.items() if work.interrupts} == {"interruptAttachingToTangle"}
