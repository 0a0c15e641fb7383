from __future__ import annotations

import pytest

from nodegate.lab import tangle as tangle_module
from nodegate.lab.tangle import FIRST_INDEX, HISTORY, OLD_REFERENCE, Tangle
from nodegate.lab.transaction import SUPPLY, TRANSACTION_TRYTES, Transaction, replaced
from nodegate.lab.trytes import NULL_HASH, made_up, number
from nodegate.model import Instant

NOW = Instant(1_600_000_000.0)


def trytes(
    name: str, *, trunk: str, branch: str, value: int = 0, index: int = 0, last: int = 0, bundle: str = ""
) -> str:
    return replaced(
        "9" * TRANSACTION_TRYTES,
        address=made_up(name),
        value=number(value, 27),
        current_index=number(index, 9),
        last_index=number(last, 9),
        bundle=made_up(bundle or f"bundle of {name}"),
        trunk=trunk,
        branch=branch,
        tag=name.upper().replace(" ", "9"),
    )


def newest(tangle: Tangle) -> str:
    return tangle.latest(Instant(NOW + 1e9)).hash


def transfer(tangle: Tangle, source: str, target: str, value: int, *, given: str = "") -> list[Transaction]:
    """A bundle of two: `value` from the address `source` to the one made up from `target`. Tail first."""
    base, bundle = newest(tangle), f"{source[:9]} to {target} {value}"
    spend = tangle.add(
        replaced(
            trytes("spend", trunk=base, branch=base, value=-value, index=1, last=1, bundle=bundle),
            address=source,
        )
    )
    tail = tangle.add(
        trytes(target, trunk=given or spend.hash, branch=base, value=value, index=0, last=1, bundle=bundle)
    )
    return [tail, spend]


def test_history_ends_now_at_the_first_index(tangle: Tangle) -> None:
    latest = tangle.latest(NOW)
    assert (latest.index, latest.at) == (FIRST_INDEX, NOW)
    assert tangle.latest(Instant(NOW - 2.0)).index == FIRST_INDEX - 1
    assert tangle.latest(Instant(0.0)).index == FIRST_INDEX - HISTORY + 1


def test_the_same_seed_makes_the_same_network(tangle: Tangle) -> None:
    again, other = Tangle(seed="test", now=NOW), Tangle(seed="other", now=NOW)
    assert again.latest(NOW) == tangle.latest(NOW)
    assert again.coordinator == tangle.coordinator != other.coordinator


def test_a_milestone_is_a_transaction_that_approves_the_one_before(tangle: Tangle) -> None:
    before = tangle.latest(NOW)
    issued = tangle.issue(Instant(NOW + 1))
    held = tangle.get(issued.hash)
    assert held is not None
    assert held.trunk == before.hash
    assert tangle.confirmed_at(issued.hash) == issued.index == before.index + 1


def test_a_new_milestone_is_seen_from_its_time_on_and_not_before(tangle: Tangle) -> None:
    issued = tangle.issue(Instant(NOW + 5))
    assert tangle.latest(Instant(NOW + 4.9)).index == issued.index - 1
    assert tangle.latest(Instant(NOW + 5)).index == issued.index


def test_an_unknown_milestone_has_a_made_up_hash_that_stays(tangle: Tangle) -> None:
    assert tangle.milestone(9_999_999) == tangle.milestone(9_999_999)
    assert tangle.get(tangle.milestone(9_999_999).hash) is None


def test_a_transaction_is_found_by_each_of_its_fields(tangle: Tangle) -> None:
    base = newest(tangle)
    held = tangle.add(trytes("one", trunk=base, branch=base))
    assert tangle.find("address", [made_up("one")]) == {held.hash}
    assert tangle.find("bundle", [held.bundle]) == {held.hash}
    assert tangle.find("tag", [held.tag]) == {held.hash}
    assert held.hash in tangle.find("approvee", [base])
    assert tangle.find("address", [made_up("nobody")]) == set()


def test_the_next_milestone_confirms_a_tip_and_all_it_approves(tangle: Tangle) -> None:
    base = newest(tangle)
    first = tangle.add(trytes("first", trunk=base, branch=base))
    second = tangle.add(trytes("second", trunk=first.hash, branch=base))
    assert tangle.confirmed_at(first.hash) is None
    assert first.hash not in tangle.tips()
    assert second.hash in tangle.tips()
    issued = tangle.issue(Instant(NOW + 1))
    assert tangle.confirmed_at(first.hash) == tangle.confirmed_at(second.hash) == issued.index


def test_many_tips_are_all_confirmed_after_as_many_milestones(tangle: Tangle) -> None:
    base = newest(tangle)
    held = [
        tangle.add(trytes(f"tip {place}".translate(str.maketrans("0123", "ABCD")), trunk=base, branch=base))
        for place in range(4)
    ]
    for step in range(5):
        tangle.issue(Instant(NOW + 1 + step))
    assert all(tangle.confirmed_at(each.hash) for each in held)


def test_iotas_move_when_a_bundle_is_confirmed_and_none_are_made_or_lost(tangle: Tangle) -> None:
    before = tangle.latest(NOW).index
    transfer(tangle, tangle.treasury, "shop", 1000)
    assert tangle.balance(made_up("shop"), before) == 0
    after = tangle.issue(Instant(NOW + 1)).index
    assert tangle.balance(made_up("shop"), after) == 1000
    assert tangle.balance(tangle.treasury, after) == SUPPLY - 1000
    assert tangle.balance(tangle.treasury, before) == SUPPLY  # as a node that lags sees it
    assert tangle.was_spent(tangle.treasury)
    assert not tangle.was_spent(made_up("shop"))


def test_a_bundle_that_spends_what_is_not_there_is_never_confirmed(tangle: Tangle) -> None:
    tail, _ = transfer(tangle, made_up("poor"), "thief", 5)
    assert not tangle.is_consistent([tail.hash])
    for step in range(3):
        tangle.issue(Instant(NOW + 1 + step))
    assert tangle.confirmed_at(tail.hash) is None
    assert tangle.balance(made_up("thief"), tangle.latest(Instant(NOW + 9)).index) == 0


def test_a_bundle_with_a_missing_part_is_not_whole(tangle: Tangle) -> None:
    tail, _ = transfer(tangle, tangle.treasury, "shop", 5, given=made_up("elsewhere"))
    assert tangle.bundle_of(tail) == []
    assert not tangle.is_solid(tail.hash)
    assert tangle.missing() == [made_up("elsewhere")]
    assert tangle.counts()[1] == 1


def test_storing_a_missing_transaction_ends_its_missing(tangle: Tangle) -> None:
    base = newest(tangle)
    wanted = Tangle(seed="test", now=NOW).add(trytes("late", trunk=base, branch=base))
    early = tangle.add(trytes("early", trunk=wanted.hash, branch=base))
    assert tangle.missing() == [wanted.hash]
    tangle.add(wanted.trytes)
    assert tangle.missing() == []
    assert tangle.is_solid(early.hash)
    assert wanted.hash not in tangle.tips()


def test_storing_twice_changes_nothing(tangle: Tangle) -> None:
    base = newest(tangle)
    text = trytes("twice", trunk=base, branch=base)
    tangle.add(text)
    counts = tangle.counts()
    tangle.add(text)
    assert tangle.counts() == counts
    assert len(tangle.find("address", [made_up("twice")])) == 1


def test_ages_tell_old_references_from_pending_and_unknown_ones(tangle: Tangle) -> None:
    base = newest(tangle)
    pending = tangle.add(trytes("pending", trunk=base, branch=base))
    assert tangle.age_of(base) == FIRST_INDEX
    assert tangle.age_of(pending.hash) == 0
    assert tangle.age_of(made_up("unknown")) is None
    assert tangle.age_of(OLD_REFERENCE) == 1


def test_memory_is_bounded_and_the_newest_survive(tangle: Tangle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tangle_module, "KEPT_TRANSACTIONS", 20)
    oldest = tangle.milestone(FIRST_INDEX - HISTORY + 1).hash
    issued = tangle.issue(Instant(NOW + 1))
    assert tangle.get(oldest) is None
    assert tangle.get(issued.hash) is not None
    assert tangle.get(NULL_HASH) is not None
    assert tangle.age_of(oldest) == 1  # pruned counts as very old, not as unknown
    assert tangle.is_solid(issued.hash)
    assert tangle.missing() == []
    assert "transactions=20" in repr(tangle)
