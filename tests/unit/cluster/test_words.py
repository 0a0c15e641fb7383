"""What other gateways say counts only where it saves a probe and costs no truth."""

from __future__ import annotations

from typing import Any

import pytest

from nodegate.cluster.share import OWN_EVERY, owner
from nodegate.cluster.signed import Word, fingerprint, word_of
from nodegate.cluster.words import Words, is_shareable
from nodegate.model import Failure, FailureKind, Instant, Node, Observation, Reading, Seconds

NODES = {
    f"n{number}": Node(id=f"n{number}", url=f"http://192.0.2.{number}:1", kind="iri")
    for number in range(1, 40)
}
MINE = next(node for node in NODES.values() if owner(node.id, ["a", "b"]) == "a")
THEIRS = next(node for node in NODES.values() if owner(node.id, ["a", "b"]) == "b")
AGE = Seconds(4.0)


def words(me: str = "a", *others: str) -> Words:
    return Words(me=me, living=lambda: others or ("b",), max_age=AGE)


def seen(node: Node, at: float, *, ok: bool = True) -> Observation:
    outcome = Reading(height=1) if ok else Failure(kind=FailureKind.REFUSED, text="refused")
    return Observation(node_id=node.id, at=Instant(at), duration=Seconds(0.1), outcome=outcome)


def word(node: Node, *, age: float = 0.5, ok: bool = True, **changes: Any) -> Word:
    made = word_of(fingerprint(node), seen(node, 0.0, ok=ok), Instant(age))
    return Word(**({name: getattr(made, name) for name in Word.__slots__} | changes))


def after_own_probe(node: Node = THEIRS, *, ok: bool = True) -> Words:
    known = words()
    known.asked(node, seen(node, 90.0, ok=ok))
    return known


def test_a_fresh_good_word_is_taken_over_and_saves_the_next_probe() -> None:
    known = after_own_probe()
    assert not known.may_skip(THEIRS, Instant(99.0))
    taken, asked = known.heard([word(THEIRS)], NODES, Instant(100.0))
    assert ([item.at for item in taken], asked) == ([99.5], [])
    assert known.may_skip(THEIRS, Instant(100.0))
    assert known.skipped == 1


def test_a_bad_word_is_not_believed_but_makes_this_gateway_ask() -> None:
    taken, asked = after_own_probe().heard([word(THEIRS, ok=False)], NODES, Instant(100.0))
    assert (taken, asked) == ([], [THEIRS.id])


def test_no_word_counts_while_the_own_probe_is_bad() -> None:
    known = after_own_probe(ok=False)
    assert known.heard([word(THEIRS)], NODES, Instant(100.0)) == ([], [])
    assert not known.may_skip(THEIRS, Instant(100.0))


def test_no_word_counts_before_the_first_own_probe() -> None:
    assert words().heard([word(THEIRS)], NODES, Instant(100.0)) == ([], [])


@pytest.mark.parametrize("changes", [{"age": Seconds(AGE + 0.1)}, {"print": "other"}, {"node_id": "nobody"}])
def test_an_old_word_or_one_on_another_node_counts_for_nothing(changes: dict[str, Any]) -> None:
    assert after_own_probe().heard([word(THEIRS, **changes)], NODES, Instant(100.0)) == ([], [])


def test_a_word_that_is_older_than_the_own_probe_is_not_taken_over() -> None:
    known = words()
    known.asked(THEIRS, seen(THEIRS, 99.8))
    assert known.heard([word(THEIRS)], NODES, Instant(100.0)) == ([], [])


def test_every_fifth_probe_is_an_own_one() -> None:
    known = after_own_probe()
    known.heard([word(THEIRS)], NODES, Instant(100.0))
    skips = [known.may_skip(THEIRS, Instant(100.0)) for _ in range(OWN_EVERY)]
    assert skips == [True] * (OWN_EVERY - 1) + [False]


def test_only_own_nodes_are_told_and_only_what_is_new() -> None:
    known = words()
    known.asked(MINE, seen(MINE, 99.0))
    known.asked(THEIRS, seen(THEIRS, 99.0))
    first = known.telling("", Instant(100.0), None)
    assert [item.node_id for item in first.words] == [MINE.id]
    assert known.telling(first.cursor, Instant(100.0), None).words == ()
    known.asked(MINE, seen(MINE, 101.0))
    assert [item.age for item in known.telling(first.cursor, Instant(102.0), None).words] == [1.0]


def test_a_cursor_of_a_former_life_starts_anew() -> None:
    known = words()
    known.asked(MINE, seen(MINE, 99.0))
    assert len(known.telling("otherlife:999", Instant(100.0), None).words) == 1


def test_what_is_too_old_to_be_believed_is_not_told() -> None:
    known = words()
    known.asked(MINE, seen(MINE, 90.0))
    assert known.telling("", Instant(100.0), None).words == ()


def test_a_gateway_that_lost_the_others_asks_everything() -> None:
    known = Words(me="a", living=tuple, max_age=AGE)
    known.asked(THEIRS, seen(THEIRS, 90.0))
    known.heard([word(THEIRS)], NODES, Instant(100.0))
    assert not known.may_skip(THEIRS, Instant(100.0))


def test_a_node_with_a_name_is_asked_by_every_gateway() -> None:
    named = Node(id="x", url="https://node.example.org", kind="iri")
    assert not is_shareable(named)
    assert is_shareable(Node(id="y", url="http://[2001:db8::1]:14265", kind="iri"))


def test_nodes_that_are_gone_are_forgotten() -> None:
    known = after_own_probe(MINE)
    known.keep([])
    assert known.telling("", Instant(91.0), None).words == ()
    assert known.heard([word(MINE)], NODES, Instant(100.0)) == ([], [])
