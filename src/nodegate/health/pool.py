"""The rules of the pool: what a quorum says against one of its nodes.

A majority of at least three takes a node out (DOWN); fewer can only make it the second choice (DEGRADED).
"""

from __future__ import annotations

from typing import NamedTuple

from nodegate.health.quorum import FULL_QUORUM, STALL_HEIGHTS, STALL_STEPS, Quorum
from nodegate.health.rules import CHAIN, Finding, degraded, down
from nodegate.health.words import number, quoted, seconds
from nodegate.model import Criteria, Instant, Reading, Status

AHEAD_SLACK = 10
"""Heights by which a node may be ahead of what the quorum knows: the best connected node of a pool sees
new blocks first. A small lead does no harm, as it moves neither the quorum nor anybody's lag."""

HALT_STEPS = 10
"""A height that stands for this many steps together with the pool. Twice the patience, as there is no
witness: where blocks come at random (exponential gaps) one gap in 20,000 is that long."""


class Sample(NamedTuple):
    """One reading to compare: whose, its height, when it was taken, and since when the height stands."""

    node_id: str
    reading: Reading
    height: int | None
    at: Instant
    since: Instant


def pool_findings(sample: Sample, quorum: Quorum, criteria: Criteria) -> tuple[Finding, ...]:
    """What the pool says against one reading, in the order of its rules."""
    chain = _chain(sample.reading, quorum, criteria)
    if chain is not None:
        return (chain,)
    height = sample.height
    if height is None or quorum.view.height is None:
        return ()
    votes = sample.node_id in quorum.voices
    certain = _full(len(quorum.voices), votes)
    found: tuple[Finding | None, ...]
    if votes and len(quorum.voices) == FULL_QUORUM - 1:
        found = (_disagreement(sample, height, quorum, criteria),)
    else:
        informed = _full(quorum.informed, votes)
        found = (
            _behind(height, sample.at, quorum, criteria, certain=certain),
            _ahead(height, sample.at, quorum, criteria, certain=informed),
        )
    found = (*found, _standing(sample, height, quorum, criteria, certain=certain))
    return tuple(finding for finding in found if finding is not None) if any(found) else ()


def _chain(reading: Reading, quorum: Quorum, criteria: Criteria) -> Finding | None:
    """Against what the majority is on, or against everybody while there is none."""
    chain = quorum.view.chain
    if reading.chain is None or criteria.chain is not None:
        return None
    if quorum.split is not None:
        return degraded("chains", quorum.split)
    if chain is None or reading.chain == chain:
        return None
    return down(CHAIN, f"on chain {quoted(reading.chain)}, the pool's majority is on {quoted(chain)}")


def _full(voters: int, votes: bool) -> bool:
    """Whether the voters, and the node itself if it has no vote, are enough to say who is wrong."""
    return voters + (not votes) >= FULL_QUORUM


def _behind(height: int, at: Instant, quorum: Quorum, criteria: Criteria, *, certain: bool) -> Finding | None:
    """Lag. A node that was asked before the quorum got where it is may be behind by what the chain moved."""
    reached, reached_at = quorum.view.height, quorum.view.height_at
    if (
        criteria.max_lag is None
        or reached is None
        or reached_at is None
        or reached - height <= criteria.max_lag
    ):
        return None
    if reached - height <= criteria.max_lag + quorum.drift(reached_at - at):
        return None
    text = (
        f"{number(reached - height)} heights behind the pool's {number(reached)} (at most {criteria.max_lag})"
    )
    return _by(certain, "lag", text)


def _ahead(height: int, at: Instant, quorum: Quorum, criteria: Criteria, *, certain: bool) -> Finding | None:
    """A lead that a majority contradicts. While the pool stands still the majority may be what is frozen."""
    ceiling, slack = quorum.ceiling, AHEAD_SLACK + (criteria.max_lag or 0)
    if ceiling is None or quorum.oldest is None or height - ceiling <= slack:
        return None
    if height - ceiling <= slack + quorum.drift(at - quorum.oldest):
        return None
    text = f"{number(height - ceiling)} heights ahead of {number(ceiling)}, all that a majority of the pool knows of"
    limit = quorum.stall_limit(HALT_STEPS, criteria)
    moving = limit is None or quorum.view.height_at is None or at - quorum.view.height_at <= limit
    return _by(certain and moving, "ahead", text)


def _disagreement(sample: Sample, height: int, quorum: Quorum, criteria: Criteria) -> Finding | None:
    """Two voters: that they differ is visible, who is right is not. One who admits to be behind (its tip is
    what it knows of) does not disagree."""
    mine = quorum.voices[sample.node_id]
    other = next(voice for voice in quorum.voices.values() if voice is not mine)
    if criteria.max_lag is None or mine.tip is None or other.tip is None:
        return None
    if abs(mine.tip - other.tip) <= criteria.max_lag + quorum.drift(abs(mine.at - other.at)):
        return None
    text = f"at {number(height)}, the only other node to compare at {number(other.height)}: who is right cannot be known"
    return degraded("disagreement", text)


def _standing(
    sample: Sample, height: int, quorum: Quorum, criteria: Criteria, *, certain: bool
) -> Finding | None:
    """Freshness: frozen while the pool moves on, or standing still together with it."""
    reached, stood = quorum.view.height, sample.at - sample.since
    if reached is None:
        return None
    left_behind = reached - height >= STALL_HEIGHTS
    limit = quorum.stall_limit(STALL_STEPS if left_behind else HALT_STEPS, criteria)
    if limit is None or stood <= limit:
        return None
    stands = f"stands at {number(height)} for {seconds(stood)} (at most {seconds(limit)})"
    if left_behind:
        return _by(certain, "stall", f"{stands} while the pool moved on to {number(reached)}")
    return degraded(
        "halt", f"{stands} like the whole pool: a network halt and frozen nodes cannot be told apart"
    )


def _by(certain: bool, rule: str, text: str) -> Finding:
    """DOWN when a majority of at least three is behind it, else DEGRADED."""
    return Finding(severity=Status.DOWN if certain else Status.DEGRADED, text=text, rule=rule)
