from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.host.neighbours.tracks import (
    BARS,
    KEPT,
    State,
    Tracks,
    cut_off,
    observed,
    removable,
    rows,
    sparkline,
    turned,
    without,
)
from nodegate.host.neighbours.values import Counters, Neighbour, Reading
from nodegate.model import Instant, Seconds

GRACE = Seconds(60.0)
LONGEST = Seconds(30.0)


def neighbour(name: str, new: int | None, **more: int) -> Neighbour:
    return Neighbour(
        uri=f"tcp://{name}:15600",
        name=name,
        address="",
        connected=True,
        relation="",
        counters=Counters(new=new, **more),
    )


def after(*readings: tuple[float, dict[str, int]], start: Tracks | None = None) -> Tracks:
    tracks = start or Tracks()
    for at, counts in readings:
        found = tuple(neighbour(name, new) for name, new in counts.items())
        tracks = observed(tracks, Reading(at=Instant(at), neighbours=found), longest=LONGEST)
    return tracks


def states(tracks: Tracks) -> dict[str, State]:
    return {row.neighbour.name: row.state for row in rows(tracks, grace=GRACE)}


def doomed(tracks: Tracks, keep: int = 0) -> list[str]:
    found = removable(rows(tracks, grace=GRACE), grace=GRACE, keep=keep)
    return [row.neighbour.name for row in found]


def test_a_first_reading_has_no_rates_and_blames_nobody() -> None:
    (row,) = rows(after((0, {"a": 5})), grace=GRACE)
    assert (row.state, row.quiet, dict(row.per_minute), row.news) == (State.LIVE, 0, {}, ())


def test_rates_are_per_minute_over_the_last_minute() -> None:
    readings = [
        (at, {"a": int(at) * 2 if at <= 100 else 200 + int(at - 100) * 4}) for at in range(0, 201, 10)
    ]
    (row,) = rows(after(*readings), grace=GRACE)
    assert row.per_minute == {"new": 240.0}
    assert row.news[-1] == 40
    assert row.news[0] == 20


def test_slow_looks_still_give_rates() -> None:
    tracks = Tracks()
    for at, new in ((0.0, 0), (300.0, 50)):
        reading = Reading(at=Instant(at), neighbours=(neighbour("a", new),))
        tracks = observed(tracks, reading, longest=Seconds(900))
    assert rows(tracks, grace=GRACE)[0].per_minute == {"new": 10.0}


def test_who_brings_nothing_new_for_the_grace_period_is_dead_and_removable() -> None:
    readings = [(at, {"a": at, "b": 7}) for at in range(0, 60, 10)]
    tracks = after(*readings)
    assert states(tracks) == {"a": State.LIVE, "b": State.QUIET}
    assert doomed(tracks) == []
    tracks = after((60, {"a": 60, "b": 7}), start=tracks)
    assert states(tracks) == {"a": State.LIVE, "b": State.DEAD}
    assert doomed(tracks) == ["b"]


def test_one_new_transaction_brings_a_neighbour_back_to_life() -> None:
    dead = after(*[(at, {"a": at, "b": 7}) for at in range(0, 70, 10)])
    back = after((70, {"a": 70, "b": 8}), start=dead)
    assert states(back)["b"] is State.LIVE
    assert doomed(back) == []
    died = turned((), rows(dead, grace=GRACE))
    assert [row.neighbour.name for row in died] == ["b"]
    returned = turned(rows(dead, grace=GRACE), rows(back, grace=GRACE))
    assert [(row.neighbour.name, row.state) for row in returned] == [("b", State.LIVE)]


def test_while_all_are_silent_nobody_is_to_blame() -> None:
    tracks = after(*[(at, {"a": 5, "b": 7}) for at in range(0, 200, 10)])
    assert set(states(tracks).values()) == {State.DEAD}
    assert cut_off(rows(tracks, grace=GRACE))
    assert doomed(tracks) == []
    # The first to speak again does not doom the other, which had no better link than it had itself.
    tracks = after((200, {"a": 6, "b": 7}), start=tracks)
    assert doomed(tracks) == []
    assert not cut_off(rows(tracks, grace=GRACE))


def test_a_gap_without_readings_is_held_against_nobody() -> None:
    tracks = after((0, {"a": 1, "b": 7}), (10, {"a": 2, "b": 7}), (100_000, {"a": 3, "b": 7}))
    assert states(tracks)["b"] is State.QUIET
    assert rows(tracks, grace=GRACE)[1].quiet == 10 + LONGEST


def test_a_restarted_node_begins_everybodys_silence_anew() -> None:
    tracks = after(*[(at, {"a": 100 + at, "b": 70}) for at in range(0, 60, 10)])
    tracks = after((60, {"a": 3, "b": 0}), start=tracks)
    assert [row.quiet for row in rows(tracks, grace=GRACE)] == [0, 0]
    assert all(row.news == () for row in rows(tracks, grace=GRACE))


def test_connecting_again_is_no_news() -> None:
    tracks = after(*[(at, {"a": 100 + at, "b": 70, "c": at}) for at in range(0, 60, 10)])
    tracks = after((60, {"a": 160, "b": 0, "c": 60}), start=tracks)
    assert states(tracks)["b"] is State.DEAD
    assert doomed(tracks) == ["b"]


def test_some_neighbours_are_always_kept_and_the_most_silent_goes_first() -> None:
    tracks = after((0, {"a": 0, "b": 0, "c": 0}), (10, {"a": 1, "b": 1, "c": 0}))
    tracks = after(*[(at, {"a": at, "b": 1, "c": 0}) for at in range(20, 100, 10)], start=tracks)
    assert doomed(tracks) == ["c", "b"]
    assert doomed(tracks, keep=2) == ["c"]
    assert doomed(tracks, keep=3) == []


def test_who_is_listed_no_more_is_forgotten() -> None:
    tracks = after((0, {"a": 0, "b": 0}), (10, {"b": 1}))
    assert list(states(tracks)) == ["b"]
    assert not without(tracks, ["tcp://b:15600"]).by_uri


def test_a_clock_that_does_not_move_changes_nothing() -> None:
    tracks = after((10, {"a": 1}))
    assert after((10, {"a": 5}), start=tracks) is tracks


def test_software_that_does_not_count_news_is_taken_by_all_it_brought() -> None:
    tracks = Tracks()
    for at, many in ((0.0, 1), (10.0, 9)):
        one = replace(neighbour("a", None), counters=Counters(all=many))
        tracks = observed(tracks, Reading(at=Instant(at), neighbours=(one,)), longest=LONGEST)
    assert rows(tracks, grace=GRACE)[0].news == (8,)


def test_a_sparkline_has_a_bar_for_each_value() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([0, 4, 8]) == "▁▄█"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0.1, max_value=500),
            st.dictionaries(st.sampled_from("abcd"), st.integers(min_value=0, max_value=50)),
        ),
        max_size=30,
    ),
    st.integers(min_value=0, max_value=4),
)
def test_whatever_a_node_says_the_tracks_keep_their_promises(
    steps: list[tuple[float, dict[str, int]]], keep: int
) -> None:
    tracks, at = Tracks(), 0.0
    for gap, counts in steps:
        at += gap
        tracks = after((at, counts), start=tracks)
        found = rows(tracks, grace=GRACE)
        gone = removable(found, grace=GRACE, keep=keep)
        assert [row.neighbour.name for row in found] == list(counts)
        assert all(0 <= row.behind <= row.quiet <= at for row in found)
        assert all(rate >= 0 for row in found for rate in row.per_minute.values())
        assert all(set(sparkline(row.news)) <= set(BARS) for row in found)
        assert all(row.state is State.DEAD for row in gone)
        assert len(found) - len(gone) >= min(keep, len(found))
        assert all(len(track.samples) <= KEPT for track in tracks.by_uri.values())
