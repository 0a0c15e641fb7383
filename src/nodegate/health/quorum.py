"""What a pool's nodes together support, and what that says against one of them.

The quorum height is the largest height that a majority of the voters has reached, and it is sticky: it
moves only as far as a majority forces it, up or down. With three voters or more, one liar is never part of
what decides: the height stays between the lowest and the highest honest one. docs/health.md has the
theory and what pools of one, two and three can know.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from nodegate.health.rules import plausible_height
from nodegate.model import (
    Criteria,
    Failure,
    Instant,
    Intent,
    Judgement,
    Node,
    Observation,
    PoolView,
    Reading,
    Seconds,
    Verdict,
)

UNLEARNED_STEP = Seconds(0.1)
"""Until a pool's step is known, heights may have moved this fast between two readings: about the fastest
chains known. A node that lags by more than that explains is still found at its first probe."""

HASTE = 2.0
"""Between two readings a chain may have moved at this many times its usual pace before it counts as a
difference: block times scatter, and the step is an estimate."""

STALL_STEPS = 5
"""A height that stands for this many usual steps while the pool moved on is frozen: the pool is the witness."""

STALL_HEIGHTS = 2
"""How far the pool must have moved on: one height is the block that is on its way just now."""

STALL_FLOOR = Seconds(10.0)
"""No stall is shorter than this, however fast the chain: a few probes must have a chance to see it move."""

LEARN_FROM = 4
"""Advances that must have been timed before the step is believed, besides two for each height that honest
nodes may be apart: over so many a liar can hurry the quorum, by siding with the slowest and then the fastest."""

USUAL_SPREAD = 5
"""Heights that honest nodes may be apart where no `max_lag` says so."""

MEMORY = 10
"""The step is a running mean over about this many advances, so that it follows a chain that changes pace."""

OUTLIER = 3.0
"""An advance counts at most this many times longer or shorter than the step: a halt is not a pace."""

FAR_BEHIND = 10
"""Heights behind its own tip from which on a node is catching up, rather than waiting for the newest block."""

SHORTEST_STEP = Seconds(0.001)
"""Keeps arithmetic finite; no chain is faster."""

FULL_QUORUM = 3
"""From three on a majority shows who is wrong; two only show that somebody is."""


class Voice(NamedTuple):
    """One voter: the height it serves, what it knows of (its tip; None if it admits not to know), and when
    it said so."""

    node_id: str
    height: int
    tip: int | None
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """What the voters of one pool support now.

    `view.height` is None until enough have been heard once; later it stays known. `ceiling` is the largest height that a majority does
    not contradict (None: nobody could), `informed` how many voters that rests on, `oldest` the time of the
    oldest voice. `split` says in words that the pool is on several chains with no majority.
    """

    view: PoolView
    voices: Mapping[str, Voice]
    believed_after: int
    ceiling: int | None = None
    informed: int = 0
    oldest: Instant | None = None
    split: str | None = None

    @property
    def step(self) -> Seconds | None:
        """The pool's usual seconds for one height, None until it can be believed."""
        return self.view.step if self.view.advances >= self.believed_after else None

    def drift(self, span: float) -> int:
        """How many heights readings may differ that were taken `span` seconds apart."""
        return math.ceil(HASTE * max(0.0, span) / (self.step or UNLEARNED_STEP))

    def stall_limit(self, steps: int, criteria: Criteria) -> float | None:
        """Seconds a height may stand still, None while that is not known."""
        if criteria.max_stall is not None:
            return criteria.max_stall
        return None if self.step is None else max(STALL_FLOOR, steps * self.step)


def quorum_of(
    pool: str,
    nodes: Sequence[Node],
    observations: Mapping[str, Observation],
    before: Judgement,
    now: Instant,
    *,
    criteria: Criteria,
    max_age: Seconds,
) -> Quorum:
    """The quorum of `pool` from its nodes' latest readings that are not older than `max_age` seconds."""
    spread = USUAL_SPREAD if criteria.max_lag is None else criteria.max_lag
    last = Quorum(
        view=before.pools.get(pool) or PoolView(pool=pool), voices={}, believed_after=LEARN_FROM + 2 * spread
    )
    readings: list[tuple[Node, Instant, Reading]] = []
    electors, unheard = 0, 0
    for node in nodes:
        if node.intent is Intent.REMOVE:
            continue
        electors += 1
        observation = observations.get(node.id)
        if observation is None:
            unheard += 1
        elif not isinstance(observation.outcome, Failure) and now - observation.at <= max_age:
            readings.append((node, observation.at, observation.outcome))
    if last.view.height is not None:
        unheard = 0  # the pool is known already; newcomers may not unsettle it
    chain, split = _chain(last.view, readings, unheard, criteria)
    voices = {} if split else _voices(readings, chain, criteria, last, before.verdicts)
    view = replace(last.view, voters=len(voices), chain=chain)
    known = replace(last, view=view if view != last.view else last.view, voices=voices, split=split)
    return _counted(known, electors, unheard)


def _chain(
    view: PoolView, readings: Sequence[tuple[Node, Instant, Reading]], unheard: int, criteria: Criteria
) -> tuple[str | None, str | None]:
    """The pool's chain, and a sentence when its nodes are on several and nobody knows the right one.

    A majority of at least three that the unheard cannot overturn teaches it; once known it stays until
    another majority says otherwise.
    """
    if criteria.chain is not None:
        return criteria.chain, None
    claims = Counter(reading.chain for _, _, reading in readings if reading.chain is not None)
    total = claims.total()
    if claims:
        chain, count = claims.most_common(1)[0]
        if total >= FULL_QUORUM and 2 * count > total + unheard:
            return chain, None
    if view.chain is None and len(claims) > 1 and not unheard:
        return (
            None,
            f"the pool's {total} nodes report {len(claims)} chains, and no majority of at least three agrees",
        )
    return view.chain, None


def _voices(
    readings: Sequence[tuple[Node, Instant, Reading]],
    chain: str | None,
    criteria: Criteria,
    last: Quorum,
    verdicts: Mapping[str, Verdict],
) -> dict[str, Voice]:
    """Those who have a vote: on the right chain, with a height that can be one, and not frozen."""
    voices: dict[str, Voice] = {}
    limit = last.stall_limit(STALL_STEPS, criteria)
    reached = last.view.height
    for node, at, reading in readings:
        height = plausible_height(reading.height)
        if height is None:
            continue
        if chain is not None and reading.chain != chain and (reading.chain or criteria.chain):
            continue
        if limit is not None and reached is not None and reached - height >= STALL_HEIGHTS:
            old = verdicts.get(node.id)
            if at - stands_since(old, height, at) > limit:
                continue
        voices[node.id] = Voice(node.id, height, _tip(reading, height), at)
    return voices


def stands_since(old: Verdict | None, height: int, at: Instant) -> Instant:
    """When a node that is at `height` now was first seen there."""
    if old is None or old.height != height or old.height_at is None:
        return at
    return old.height_at


def _tip(reading: Reading, height: int) -> int | None:
    """The largest height a node knows of; None when it is still syncing and does not say towards what."""
    tip = plausible_height(reading.claimed_tip)
    if tip is not None and tip > height:
        return tip
    return None if reading.syncing else height


def _counted(known: Quorum, electors: int, unheard: int) -> Quorum:
    """The votes counted. Without a majority of voters the last known height stays in force.

    Voters who are a minority of the pool may raise the height (the others may be dead for good), but not
    lower it: what a majority has once reached is not undone by the few that are left.
    """
    view, voices = known.view, known.voices
    count = len(voices)
    majority = (count + unheard) // 2 + 1
    if majority > count or (unheard and count < FULL_QUORUM):
        return known
    heights = sorted(voice.height for voice in voices.values())
    times = [voice.at for voice in voices.values()]
    tips = sorted(voice.tip for voice in voices.values() if voice.tip is not None)
    informed_majority = (len(tips) + unheard) // 2 + 1
    height = heights[count - majority]
    if view.height is not None:
        highest = heights[majority - 1] if 2 * count > electors else view.height
        height = max(height, min(view.height, highest))
    return replace(
        known,
        view=_advanced(view, height, max(times), catching_up=_catching_up(voices)),
        ceiling=tips[informed_majority - 1] if informed_majority <= len(tips) else None,
        informed=len(tips),
        oldest=min(times),
    )


def _catching_up(voices: Mapping[str, Voice]) -> bool:
    """Whether most voters say themselves that they are far behind."""
    behind = sum(voice.tip is None or voice.tip - voice.height > FAR_BEHIND for voice in voices.values())
    return 2 * behind > len(voices)


def _advanced(view: PoolView, height: int, at: Instant, *, catching_up: bool) -> PoolView:
    """The view with the quorum at `height`, and what its step teaches.

    Only new peaks are timed: a liar can push the quorum to and fro between the lowest and the highest honest
    height, but not beyond. The first advance is not timed, as nobody knows when the height before it had
    begun, and nothing is learned while most voters are catching up: their pace is not the chain's.
    """
    if height == view.height:
        return view
    at = Instant(max(at, view.height_at or at))
    moved = replace(view, height=height, height_at=at)
    if view.peak is None or view.peak_at is None:
        return replace(moved, peak=height, peak_at=at)
    if height <= view.peak:
        return moved
    span, heights = at - view.peak_at, height - view.peak
    moved = replace(moved, peak=height, peak_at=at)
    if span <= 0 or catching_up:
        return moved
    if view.advances == 0:
        return replace(moved, advances=1)
    sample = span / heights
    if view.step is None:
        step = sample
    else:
        sample = min(max(sample, view.step / OUTLIER), view.step * OUTLIER)
        step = view.step + (sample - view.step) / min(view.advances, MEMORY)
    return replace(moved, step=Seconds(max(step, SHORTEST_STEP)), advances=view.advances + 1)
