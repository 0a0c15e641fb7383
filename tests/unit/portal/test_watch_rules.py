"""What becomes of a registered node: weight, outages, removal. Pure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.model import Instant, Intent, Node, Seconds, Status, Verdict
from nodegate.portal.probation import probation_weight, proven_after
from nodegate.portal.records import Letter, Registration, State
from nodegate.portal.watch import LONGEST_GAP, Seen, next_state
from nodegate.settings import PortalSettings

NOW = Instant(1_700_000_000.0)
PORTAL = PortalSettings(tell_after=100, remove_after=1000, probation=1000)
ACTIVE = Registration(
    id="r1", email="o@example.org", url="http://8.8.8.8:14265", address="8.8.8.8", counted_as="8.8.8.8", kind="iri",
    pool="main", state=State.ACTIVE, created_at=NOW, node_id="n", weight=10, joined_at=NOW,
)  # fmt: skip


def seen(status: Status | None, intent: Intent = Intent.SERVE, *, fleet_up: bool = True) -> Seen:
    node = Node(id="n", url=ACTIVE.url, kind="iri", intent=intent)
    verdict = (
        None if status is None else Verdict(node_id="n", status=status, since=NOW, reasons=("it is ill",))
    )
    return Seen(node=node, verdict=verdict, fleet_up=fleet_up)


def after(registration: Registration, what: Seen, at: float = 0.0, elapsed: float = 2.0):  # type: ignore[no-untyped-def]
    return next_state(registration, what, Instant(NOW + at), Seconds(elapsed), PORTAL)


@given(st.floats(0, 1e7), st.floats(0, 1e7), st.floats(0, 1e6), st.floats(0.01, 1), st.integers(1, 256))
@settings(max_examples=200, deadline=None)
def test_the_weight_never_falls_with_proven_time_never_is_zero_and_ends_at_the_whole(
    one: float, other: float, probation: float, first: float, whole: int
) -> None:
    portal = PortalSettings(probation=probation, first_weight=first, weight=whole)
    less, more = sorted((one, other))
    assert 1 <= probation_weight(Seconds(less), portal) <= probation_weight(Seconds(more), portal) <= whole
    assert probation_weight(Seconds(probation), portal) == whole


def test_the_weight_is_written_a_few_times_only() -> None:
    weights = [probation_weight(Seconds(second), PORTAL) for second in range(1001)]
    assert weights[0] == 10
    assert len(set(weights)) == 11


def test_a_gap_in_which_nobody_looked_proves_little() -> None:
    assert proven_after(Seconds(5), Seconds(86_400), serves=True, longest=LONGEST_GAP) == 5 + LONGEST_GAP
    assert proven_after(Seconds(5), Seconds(2), serves=False, longest=LONGEST_GAP) == 5
    assert proven_after(Seconds(5), Seconds(-2), serves=True, longest=LONGEST_GAP) == 5


@pytest.mark.parametrize("status", [Status.UP, Status.DEGRADED])
def test_time_in_service_is_proven(status: Status) -> None:
    found, mail = after(ACTIVE, seen(status))
    assert (found.proven, mail) == (2, None)


@pytest.mark.parametrize("what", [seen(Status.UP, Intent.DRAIN), seen(None), seen(Status.DOWN)])
def test_no_other_time_is(what: Seen) -> None:
    found, mail = after(ACTIVE, what)
    assert (found.proven, mail) == (0, None)


def test_an_outage_is_told_once_and_its_end_once() -> None:
    first, mail = after(ACTIVE, seen(Status.DOWN))
    assert (first.out_since, mail) == (NOW, None)
    assert after(first, seen(Status.DOWN), 99)[1] is None
    told, mail = after(first, seen(Status.DOWN), 100)
    assert mail is not None
    assert (mail.letter, mail.detail, mail.recipient) == (Letter.OUT, "it is ill", "o@example.org")
    assert after(told, seen(Status.DOWN), 500)[1] is None
    back, mail = after(told, seen(Status.UP), 600)
    assert mail is not None
    assert (mail.letter, back.out_since, back.told_at) == (Letter.BACK, None, None)
    assert after(first, seen(Status.UP), 50)[1] is None  # a short one is not worth a mail


def test_a_node_that_stays_out_is_removed_but_not_while_the_whole_fleet_is_out() -> None:
    out = replace(ACTIVE, out_since=NOW, told_at=NOW)
    kept, mail = after(out, seen(Status.DOWN, fleet_up=False), 5000)
    assert (kept.state, mail) == (State.ACTIVE, None)
    gone, mail = after(out, seen(Status.DOWN), 1000)
    assert mail is not None
    assert (gone.state, mail.letter) == (State.REMOVED, Letter.REMOVED)
    assert "it is ill" in gone.reason


def test_a_node_of_which_nothing_is_known_is_neither_out_nor_back_nor_removed() -> None:
    out = replace(ACTIVE, out_since=NOW, told_at=NOW)
    assert after(out, seen(Status.UNKNOWN), 1e6) == (out, None)
    assert after(ACTIVE, seen(Status.UNKNOWN), 1e6) == (ACTIVE, None)


@pytest.mark.parametrize("tell_after", [100.0, 5000.0])
def test_whoever_was_not_told_in_time_is_told_before_the_node_is_removed(tell_after: float) -> None:
    """As after a gateway that stood still for weeks."""
    portal = PORTAL.model_copy(update={"tell_after": tell_after})
    lead = min(tell_after, 1000.0)
    out = replace(ACTIVE, out_since=NOW)
    told, mail = next_state(out, seen(Status.DOWN), Instant(NOW + 1e6), Seconds(2.0), portal)
    assert mail is not None
    assert (told.state, mail.letter) == (State.ACTIVE, Letter.OUT)
    kept, mail = next_state(told, seen(Status.DOWN), Instant(NOW + 1e6 + lead - 1), Seconds(2.0), portal)
    assert (kept.state, mail) == (State.ACTIVE, None)
    gone, _ = next_state(told, seen(Status.DOWN), Instant(NOW + 1e6 + lead), Seconds(2.0), portal)
    assert gone.state is State.REMOVED


@pytest.mark.parametrize(
    "what", [seen(Status.UP, Intent.REMOVE), Seen(node=None, verdict=None, fleet_up=True)]
)
def test_a_node_that_an_operator_removes_is_told_to_its_owner(what: Seen) -> None:
    gone, mail = after(ACTIVE, what)
    assert mail is not None
    assert (gone.state, mail.letter) == (State.REMOVED, Letter.REMOVED)
