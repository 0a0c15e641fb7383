"""Commands that describe the node and read the tangle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nodegate.lab.faults import fault
from nodegate.lab.iri import POW_COMMANDS, RELEASES, IriNode, IriProfile
from nodegate.lab.iri_commands import COMMANDS
from nodegate.lab.tangle import FIRST_INDEX, Tangle
from nodegate.lab.transaction import SUPPLY, TRANSACTION_TRYTES, parsed, replaced
from nodegate.lab.trytes import is_trytes, made_up, number
from nodegate.model import Instant

NOW = Instant(1_600_000_000.0)
Ask = Callable[..., Any]
NOT_SYNCED = {"error": "This operation cannot be executed: The subtangle has not been updated yet."}


def stored(tangle: Tangle, name: str) -> str:
    base = tangle.latest(Instant(NOW + 1e9)).hash
    text = replaced(
        "9" * TRANSACTION_TRYTES,
        address=made_up(name),
        tag=name.upper(),
        bundle=made_up(name + " bundle"),
        trunk=base,
        branch=base,
    )
    return tangle.add(text).hash


def test_every_command_of_the_reference_is_there() -> None:
    assert len(COMMANDS) == 19
    assert set().union(*(release.added for release in RELEASES.values())) <= set(COMMANDS)


def test_node_info_has_all_fields_of_the_release(asked: Ask) -> None:
    _, new = asked()(command="getNodeInfo")
    assert set(new) == {
        "appName", "appVersion", "jreAvailableProcessors", "jreFreeMemory", "jreVersion", "jreMaxMemory",
        "jreTotalMemory", "latestMilestone", "latestMilestoneIndex", "latestSolidSubtangleMilestone",
        "latestSolidSubtangleMilestoneIndex", "milestoneStartIndex", "lastSnapshottedMilestoneIndex", "neighbors",
        "packetsQueueSize", "time", "tips", "transactionsToRequest", "features", "coordinatorAddress", "dbSizeInBytes",
    }  # fmt: skip
    assert new["appVersion"] == "1.8.6-RELEASE"
    assert new["latestMilestoneIndex"] == new["latestSolidSubtangleMilestoneIndex"] == FIRST_INDEX
    assert is_trytes(new["latestMilestone"], 81)
    assert (new["time"], new["neighbors"]) == (int(NOW * 1000), 1)
    _, old = asked("1.4.1.7")(command="getNodeInfo")
    assert set(new) - set(old) == {
        "features",
        "coordinatorAddress",
        "dbSizeInBytes",
        "lastSnapshottedMilestoneIndex",
    }
    assert old["appVersion"] == "1.4.1.7"


def test_the_latest_milestone_can_be_fetched_and_hashes_to_its_name(asked: Ask) -> None:
    ask = asked()
    name = ask(command="getNodeInfo")[1]["latestMilestone"]
    (trytes,) = ask(command="getTrytes", hashes=[name])[1]["trytes"]
    assert parsed(trytes).hash == name


def test_remote_pow_is_a_feature_exactly_when_attaching_is_open(asked: Ask) -> None:
    closed, opened = asked(), asked(remote_limited=RELEASES["1.8.6"].remote_limited - POW_COMMANDS)
    assert "RemotePOW" not in closed(command="getNodeInfo")[1]["features"]
    assert "RemotePOW" in opened(command="getNodeInfo")[1]["features"]


def test_limits_are_told(asked: Ask) -> None:
    _, limits = asked()(command="getNodeAPIConfiguration")
    assert limits == {
        "maxFindTransactions": 100_000,
        "maxRequestsList": 1_000,
        "maxGetTrytes": 10_000,
        "maxBodyLength": 1_000_000,
        "testNet": False,
        "milestoneStartIndex": FIRST_INDEX,
    }


def test_neighbours_are_added_removed_and_listed(asked: Ask) -> None:
    ask = asked(remote_limited=frozenset())
    uris = ["tcp://192.0.2.9:15600", "nonsense", "tcp://192.0.2.1:15600"]
    assert ask(command="addNeighbors", uris=uris) == (200, {"addedNeighbors": 1})
    listed = ask(command="getNeighbors")[1]["neighbors"]
    assert [each["address"] for each in listed] == ["192.0.2.1:15600", "192.0.2.9:15600"]
    assert set(listed[0]) == {
        "address", "domain", "numberOfAllTransactions", "numberOfRandomTransactionRequests",
        "numberOfNewTransactions", "numberOfInvalidTransactions", "numberOfStaleTransactions",
        "numberOfSentTransactions", "numberOfDroppedSentPackets", "connectionType", "connected",
    }  # fmt: skip
    assert ask(command="removeNeighbors", uris=uris) == (200, {"removedNeighbors": 2})
    assert ask(command="getNodeInfo")[1]["neighbors"] == 0
    many = [f"udp://192.0.2.{place}:14600" for place in range(9)]
    assert ask(command="addNeighbors", uris=many) == (200, {"addedNeighbors": 5})


def test_a_silent_neighbour_brings_nothing_more_and_a_new_one_starts_at_zero(
    tangle: Tangle,
) -> None:
    node = IriNode(IriProfile(id="n", neighbors=("tcp://a:1", "tcp://b:1")), tangle, COMMANDS)
    then = Instant(NOW + 20.0)
    for _ in range(10):
        tangle.issue(then)
    node.suffer(fault("silent"), NOW)
    node.neighbors.append("tcp://c:1")
    node.joined["tcp://c:1"] = tangle.latest(NOW).index
    moved = {uri: node.heard(uri, then) - node.heard(uri, NOW) for uri in node.neighbors}
    assert moved["tcp://a:1"] > 0
    assert moved["tcp://b:1"] == 0
    assert node.heard("tcp://c:1", NOW) == 0
    assert moved["tcp://c:1"] > 0
    node.suffer(None, then)
    assert node.heard("tcp://b:1", then) == node.heard("tcp://a:1", then)


def test_only_the_old_release_has_a_rate_limit_and_tips(asked: Ask, tangle: Tangle) -> None:
    name, old = stored(tangle, "tip"), asked("1.4.1.7")
    assert old(command="setApiRateLimit", limit=5) == (200, {})
    assert name in old(command="getTips")[1]["hashes"]
    assert asked()(command="setApiRateLimit", limit=5)[0] == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("addresses", made_up("one")),
        ("bundles", made_up("one bundle")),
        ("tags", "ONE"),
        ("tags", "ONE" + "9" * 24),
    ],
)
def test_transactions_are_found_by_field(asked: Ask, tangle: Tangle, field: str, value: str) -> None:
    name = stored(tangle, "one")
    assert asked()(command="findTransactions", **{field: [value]}) == (200, {"hashes": [name]})


def test_several_fields_find_what_has_them_all(asked: Ask, tangle: Tangle) -> None:
    stored(tangle, "one")
    found = asked()(command="findTransactions", addresses=[made_up("one")], tags=["TWO"])
    assert found == (200, {"hashes": []})


def test_an_old_tag_is_looked_up_when_no_new_one_matches(asked: Ask, tangle: Tangle) -> None:
    name = tangle.add(replaced("9" * TRANSACTION_TRYTES, obsolete_tag="ANCIENT", trunk=made_up("t"))).hash
    assert asked()(command="findTransactions", tags=["ANCIENT"]) == (200, {"hashes": [name]})


@pytest.mark.parametrize("tag", ["", "9" * 27])
def test_an_empty_tag_is_invalid(asked: Ask, tag: str) -> None:
    assert asked()(command="findTransactions", tags=[tag]) == (500, {"exception": "Invalid tag input"})


def test_an_unknown_transaction_reads_as_nines(asked: Ask) -> None:
    assert asked()(command="getTrytes", hashes=[made_up("x")]) == (
        200,
        {"trytes": ["9" * TRANSACTION_TRYTES]},
    )


def test_balances_are_strings_as_of_the_solid_milestone(asked: Ask, tangle: Tangle) -> None:
    ask = asked()
    status, answer = ask(command="getBalances", addresses=[tangle.treasury, made_up("nobody")])
    assert (status, answer["balances"]) == (200, [str(SUPPLY), "0"])
    assert answer["references"] == [tangle.latest(NOW).hash]
    assert answer["milestoneIndex"] == FIRST_INDEX


def test_balances_as_seen_from_a_tip_count_what_it_approves(asked: Ask, tangle: Tangle) -> None:
    base = tangle.latest(NOW).hash
    parts = {"bundle": made_up("b"), "last_index": number(1, 9), "branch": base}
    empty = "9" * TRANSACTION_TRYTES
    spend = tangle.add(
        replaced(
            empty,
            **parts,
            address=tangle.treasury,
            value=number(-9, 27),
            current_index=number(1, 9),
            trunk=base,
        )
    )
    tail = tangle.add(
        replaced(empty, **parts, address=made_up("shop"), value=number(9, 27), trunk=spend.hash)
    )
    ask, question = asked(), {"command": "getBalances", "addresses": [made_up("shop")]}
    assert ask(**question)[1]["balances"] == ["0"]
    assert ask(**question, tips=[tail.hash])[1]["balances"] == ["9"]
    assert ask(**question, tips=[made_up("no")]) == (400, {"error": f"Tip not found: {made_up('no')}"})
    assert ask(command="wereAddressesSpentFrom", addresses=[tangle.treasury, made_up("shop")])[1] == {
        "states": [True, False]
    }


@pytest.mark.parametrize(("threshold", "status"), [(0, 400), (101, 400), (100, 200)])
def test_the_old_release_wants_a_threshold(asked: Ask, threshold: int, status: int) -> None:
    old = asked("1.4.1.7")
    assert old(command="getBalances", addresses=[]) == (400, {"error": "Invalid parameters"})
    assert old(command="getBalances", addresses=[], threshold=threshold)[0] == status


def test_a_transaction_is_included_once_a_milestone_the_node_has_solid_confirms_it(
    asked: Ask, tangle: Tangle
) -> None:
    name, ask = stored(tangle, "one"), asked()
    question = {"command": "getInclusionStates", "transactions": [name, made_up("unknown")]}
    assert ask(**question) == (200, {"states": [False, False]})
    tangle.issue(Instant(NOW + 2))
    assert ask(**question) == (200, {"states": [False, False]})
    ask.now = Instant(NOW + 2)
    assert ask(**question) == (200, {"states": [True, False]})


def test_the_old_release_asks_for_tips_to_look_from(asked: Ask, tangle: Tangle) -> None:
    name, old = stored(tangle, "one"), asked("1.4.1.7")
    question = {"command": "getInclusionStates", "transactions": [name]}
    assert old(**question)[0] == 400
    assert old(**question, tips=[made_up("no")]) == (400, {"error": "One of the tips is absent"})
    assert old(**question, tips=[tangle.latest(NOW).hash]) == (200, {"states": [False]})
    assert old(**question, tips=[name]) == (200, {"states": [True]})


def test_a_node_that_lags_says_so_where_it_cannot_answer(asked: Ask) -> None:
    ask = asked()
    ask.node.suffer(fault("lag", milestones=2), NOW)
    assert ask(command="getInclusionStates", transactions=[]) == (400, NOT_SYNCED)
    assert ask(command="checkConsistency", tails=[]) == (400, NOT_SYNCED)
    assert ask(command="getTransactionsToApprove", depth=3) == (400, NOT_SYNCED)
    assert ask(command="getBalances", addresses=[])[0] == 200
    ask.node.suffer(fault("lag", milestones=1), NOW)
    assert ask(command="getInclusionStates", transactions=[])[0] == 200


def test_consistency_is_told_with_the_reason(asked: Ask, tangle: Tangle) -> None:
    ask, base, empty = asked(), tangle.latest(NOW).hash, "9" * TRANSACTION_TRYTES
    good = stored(tangle, "good")
    assert ask(command="checkConsistency", tails=[good]) == (200, {"state": True, "info": ""})
    unknown = ask(command="checkConsistency", tails=[made_up("x")])[1]
    assert unknown == {
        "state": False,
        "info": f"tails are not solid (missing a referenced tx): {made_up('x')}",
    }
    head = tangle.add(
        replaced(empty, current_index=number(1, 9), last_index=number(1, 9), trunk=base, branch=base)
    )
    assert ask(command="checkConsistency", tails=[head.hash])[0] == 400
    minting = tangle.add(replaced(empty, address=made_up("m"), value=number(5, 27), trunk=base, branch=base))
    assert "bundle is invalid" in ask(command="checkConsistency", tails=[minting.hash])[1]["info"]
    heir = tangle.add(replaced(empty, address=made_up("h"), trunk=minting.hash, branch=base))
    assert "inconsistent ledger state" in ask(command="checkConsistency", tails=[heir.hash])[1]["info"]


def test_missing_transactions_are_listed(asked: Ask, tangle: Tangle) -> None:
    tangle.add(replaced("9" * TRANSACTION_TRYTES, trunk=made_up("lost")))
    assert asked()(command="getMissingTransactions") == (200, {"hashes": [made_up("lost")]})
    assert asked()(command="getNodeInfo")[1]["transactionsToRequest"] == 1
