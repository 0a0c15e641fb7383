"""Who asks which node: the same answer everywhere, few moves, and never less than safe."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.cluster.share import OWN_EVERY, Words, may_skip, owner
from nodegate.model import Instant, Seconds

GATEWAYS = st.lists(st.text("abcdefgh0123", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)
NODES = [f"node-{number}" for number in range(600)]
AGE = Seconds(4.0)


@given(gateways=GATEWAYS, data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_owner_does_not_depend_on_the_order_of_the_gateways(
    gateways: list[str], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(gateways))
    assert all(owner(node, gateways) == owner(node, shuffled) for node in NODES[:40])


@given(gateways=GATEWAYS.filter(lambda names: len(names) > 1), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_gateway_that_goes_moves_only_its_own_nodes(gateways: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(gateways))
    left = [name for name in gateways if name != gone]
    for node in NODES[:100]:
        if owner(node, gateways) != gone:
            assert owner(node, left) == owner(node, gateways)


def test_nodes_spread_evenly() -> None:
    counts = Counter(owner(node, ["a", "b", "c"]) for node in NODES)
    assert set(counts) == {"a", "b", "c"}
    assert all(150 <= count <= 250 for count in counts.values()), counts


def test_the_nodes_of_a_lost_gateway_spread_over_all_others() -> None:
    heirs = Counter(
        owner(node, ["a", "b", "d"]) for node in NODES if owner(node, ["a", "b", "c", "d"]) == "c"
    )
    assert set(heirs) == {"a", "b", "d"}
    assert min(heirs.values()) >= 25, heirs


def test_nobody_owns_a_node_when_there_is_no_gateway() -> None:
    assert owner("node", []) is None


def owned_by(name: str) -> str:
    return next(node for node in NODES if owner(node, ["a", "b"]) == name)


def skips(node: str, words: Words, *, now: float = 100.0) -> bool:
    return may_skip(node, words, Instant(now), me="a", living=("a", "b"), max_age=AGE)


GOOD = Words(heard_at=Instant(98.0), own_ok=True)


def test_a_node_of_another_gateway_is_left_to_it_while_its_word_is_fresh() -> None:
    assert skips(owned_by("b"), GOOD)


def test_an_own_node_is_never_skipped() -> None:
    assert not skips(owned_by("a"), GOOD)


def test_an_old_word_counts_for_nothing() -> None:
    assert skips(owned_by("b"), GOOD, now=98.0 + AGE)
    assert not skips(owned_by("b"), GOOD, now=98.0 + AGE + 0.01)


def test_a_node_that_was_never_asked_from_here_is_asked() -> None:
    assert not skips(owned_by("b"), Words(heard_at=Instant(99.0), own_ok=None))


def test_a_node_that_was_bad_from_here_is_asked_until_it_is_good_from_here() -> None:
    assert not skips(owned_by("b"), Words(heard_at=Instant(99.0), own_ok=False))


def test_every_gateway_asks_now_and_then_by_itself() -> None:
    last = Words(heard_at=Instant(99.0), own_ok=True, skipped=OWN_EVERY - 1)
    assert not skips(owned_by("b"), last)


def test_the_nodes_of_a_gateway_that_is_gone_are_asked() -> None:
    assert not may_skip(owned_by("b"), GOOD, Instant(100.0), me="a", living=("a",), max_age=AGE)


@given(
    heard=st.none() | st.floats(0, 100),
    own=st.none() | st.booleans(),
    skipped=st.integers(0, 10),
    living=GATEWAYS,
    node=st.sampled_from(NODES),
)
@settings(max_examples=200, deadline=None)
def test_whatever_is_skipped_has_a_fresh_good_word_of_another_living_gateway(
    heard: float | None, own: bool | None, skipped: int, living: list[str], node: str
) -> None:
    words = Words(heard_at=None if heard is None else Instant(heard), own_ok=own, skipped=skipped)
    if may_skip(node, words, Instant(100.0), me="a", living=living, max_age=AGE):
        assert own is True
        assert heard is not None
        assert 100.0 - heard <= AGE
        assert owner(node, {*living, "a"}) in set(living) - {"a"}
        assert skipped < OWN_EVERY
