"""From readings to rates, silence, and who is dead. Pure: the clock comes with each reading.

Two times count for a silent neighbour. `quiet` is how long it has brought nothing new; with that it is shown as dead.
`behind` is the part of it in which other neighbours did bring something: while all are silent the node itself is cut
off, or the network stands still, and no neighbour can be blamed. Only who is `behind` for the grace period is ever
removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

from nodegate.host.neighbours.values import Counters, Neighbour, Reading
from nodegate.model import Instant, Seconds

RATE_WINDOW = Seconds(60.0)
"""Rates are over the last minute, or over the two newest readings if these are farther apart."""
NONE = Seconds(0.0)
KEPT = 61
"""Readings kept for each neighbour: a minute at one a second, ten minutes at one in ten seconds."""
SPARKS = 20
BARS = "▁▂▃▄▅▆▇█"
GRACE = Seconds(1800.0)
"""Half an hour: the iri-playbook calls a node stuck after as long, and operators gave neighbours a restart's time."""
KEEP = 2
"""A node with fewer neighbours than two is alerted on, and is not made so by us."""


class State(StrEnum):
    """How a neighbour is."""

    LIVE = "live"  # brought something new since the last reading but one
    QUIET = "quiet"  # nothing new lately, and not for the grace period yet
    DEAD = "dead"  # nothing new for the grace period


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A neighbour's counters at one moment."""

    at: Instant
    counters: Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One neighbour over time; samples are oldest first and never empty."""

    neighbour: Neighbour
    samples: tuple[Sample, ...]
    quiet: Seconds = NONE
    behind: Seconds = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """All neighbours over time, in the order of the newest reading. `at` is None before the first."""

    at: Instant | None = None
    by_uri: Mapping[str, Track] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One neighbour as it is shown. `per_minute` has a rate for each counter, nothing after a single reading;
    `news` are the new transactions between each two of the last readings, oldest first."""

    neighbour: Neighbour
    state: State
    quiet: Seconds
    behind: Seconds
    per_minute: Mapping[str, float]
    news: tuple[int, ...]


def observed(tracks: Tracks, reading: Reading, *, longest: Seconds) -> Tracks:
    """The tracks with one more reading.

    A gap without readings counts as `longest` seconds at most: what was not seen is not held against anybody.
    A neighbour that is listed no more is forgotten. When the counters of all went back the node was started anew,
    and everybody's silence begins at zero; when one's did, that one connected again, which is no news by itself.
    """
    if tracks.at is not None and reading.at <= tracks.at:
        return tracks
    gap = Seconds(0.0 if tracks.at is None else min(reading.at - tracks.at, longest))
    before = {one.uri: tracks.by_uri[one.uri] for one in reading.neighbours if one.uri in tracks.by_uri}
    went_back = {
        one.uri
        for one in reading.neighbours
        if one.uri in before and _went_back(before[one.uri].samples[-1].counters, one.counters)
    }
    restarted = bool(went_back) and went_back == set(before)
    brought = {
        one.uri
        for one in reading.neighbours
        if one.uri in before and _news(before[one.uri].samples[-1].counters, one.counters) > 0
    }
    found: dict[str, Track] = {}
    for one in reading.neighbours:
        sample = Sample(at=reading.at, counters=one.counters)
        old = before.get(one.uri)
        if old is None or restarted:
            found[one.uri] = Track(neighbour=one, samples=(sample,))
            continue
        kept = () if one.uri in went_back else old.samples[1 - KEPT :]
        silent = one.uri not in brought
        found[one.uri] = Track(
            neighbour=one,
            samples=(*kept, sample),
            quiet=Seconds(old.quiet + gap if silent else 0.0),
            behind=Seconds(old.behind + (gap if brought else 0.0) if silent else 0.0),
        )
    return Tracks(at=reading.at, by_uri=found)


def without(tracks: Tracks, uris: Sequence[str]) -> Tracks:
    """The tracks without some neighbours, which were removed."""
    return replace(tracks, by_uri={uri: track for uri, track in tracks.by_uri.items() if uri not in uris})


def rows(tracks: Tracks, *, grace: Seconds) -> tuple[Row, ...]:
    """One row for each neighbour, in the node's order."""
    return tuple(
        Row(
            neighbour=track.neighbour,
            state=_state(track, grace),
            quiet=track.quiet,
            behind=track.behind,
            per_minute=_rates(track.samples),
            news=tuple(
                _news(earlier.counters, later.counters)
                for earlier, later in pairwise(track.samples[-SPARKS - 1 :])
            ),
        )
        for track in tracks.by_uri.values()
    )


def removable(found: Sequence[Row], *, grace: Seconds, keep: int) -> tuple[Row, ...]:
    """The neighbours to remove: silent for the grace period while others were not, the most silent first, and
    never so many that fewer than `keep` are left."""
    worst = sorted((row for row in found if row.behind >= grace), key=lambda row: -row.behind)
    return tuple(worst[: max(0, len(found) - keep)])


def cut_off(found: Sequence[Row]) -> bool:
    """Whether all neighbours are dead: then it is the node, or the network, and not they."""
    return bool(found) and all(row.state is State.DEAD for row in found)


def turned(before: Sequence[Row], after: Sequence[Row]) -> tuple[Row, ...]:
    """The neighbours that died, or came back to life, between two looks."""
    old = {row.neighbour.uri: row.state is State.DEAD for row in before}
    return tuple(row for row in after if old.get(row.neighbour.uri, False) != (row.state is State.DEAD))


def sparkline(values: Sequence[int]) -> str:
    """One bar for each value, the highest for the largest of them; nothing at all is a low line."""
    most = max(values, default=0)
    if most <= 0:
        return BARS[0] * len(values)
    return "".join(BARS[min(len(BARS) - 1, max(0, value) * (len(BARS) - 1) // most)] for value in values)


def _state(track: Track, grace: Seconds) -> State:
    if track.quiet >= grace:
        return State.DEAD
    return State.QUIET if track.quiet > 0 else State.LIVE


def _rates(samples: Sequence[Sample]) -> Mapping[str, float]:
    if len(samples) < 2:
        return {}
    last = samples[-1]
    inside = [sample for sample in samples[:-1] if last.at - sample.at <= RATE_WINDOW]
    first = inside[0] if inside else samples[-2]
    minutes = (last.at - first.at) / 60
    earlier = first.counters.known_values()
    return {
        name: max(0.0, (value - earlier[name]) / minutes)
        for name, value in last.counters.known_values().items()
        if name in earlier
    }


def _news(before: Counters, after: Counters) -> int:
    """New transactions since `before`. Software that does not tell new ones from others is taken by all."""
    earlier, later = _counted(before), _counted(after)
    return later if later < earlier else later - earlier


def _counted(counters: Counters) -> int:
    return counters.new if counters.new is not None else counters.all or 0


def _went_back(before: Counters, after: Counters) -> bool:
    later = after.known_values()
    return any(later.get(name, value) < value for name, value in before.known_values().items())
