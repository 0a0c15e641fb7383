"""What Consul says all at once is checked against what it said before. Pure.

Two things look like a disaster and are none: an agent that starts again brings its checks back as critical until
each has run once, and an agent that lost its state brings no services at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from nodegate.catalog import CRITICAL, Check
from nodegate.model import Instant, Seconds

Key = TypeVar("Key")
Value = TypeVar("Value")

FEWEST = 3
"""Fewer things than these may vanish together without anybody wondering."""

OUTSPOKEN = frozenset({"http", "tcp", "grpc"})
"""Checks that always say what they saw. Scripts may fail without a word, and whoever keeps a TTL check may, too."""

Place = tuple[str, str]
"""Consul node and check id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Things that vanished together, kept until a time."""

    until: Instant | None = None
    kept: frozenset[object] = frozenset()


def hold_vanished(
    before: Mapping[Key, Value],
    after: Mapping[Key, Value],
    held: Held,
    now: Instant,
    *,
    share: float,
    hold: Seconds,
) -> tuple[dict[Key, Value], Held]:
    """`after`, and with it what vanished from `before` when that was more than `share` of it and at least
    `FEWEST`: for `hold` seconds, unless it returns."""
    gone = before.keys() - after.keys()
    if held.until is not None and now >= held.until:
        gone, held = gone - held.kept, Held()
    fresh = gone - held.kept
    still = gone & held.kept
    if fresh and len(gone) >= FEWEST and len(gone) > share * len(before) and hold > 0:
        held = Held(until=held.until or Instant(now + hold), kept=frozenset(gone))
    else:
        held = Held(until=held.until, kept=frozenset(still)) if still else Held()
    return {**after, **{key: before[key] for key in before if key in held.kept}}, held


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """Consul nodes whose agent has just started again: until when its checks have time to run, and what they said
    before."""

    until: Mapping[str, Instant] = field(default_factory=dict)
    former: Mapping[Place, Check] = field(default_factory=dict)


def hold_restarted(
    before: Mapping[Place, Check],
    after: Mapping[Place, Check],
    restarts: Restarts,
    now: Instant,
    *,
    hold: Seconds,
) -> tuple[dict[Place, Check], Restarts]:
    """`after`, with the former status of checks that an agent's restart has reset and that have not run since.

    A restart is taken for one when, on one Consul node, a check of `OUTSPOKEN` turns critical with an empty output,
    or at least two checks of whatever kind and more than half of those that were not critical.
    """
    until = {node: end for node, end in restarts.until.items() if now < end}
    for node in _restarted(before, after):
        until.setdefault(node, Instant(now + hold))
    if not until:
        return dict(after), Restarts()
    former = {}
    for place, check in after.items():
        if place[0] in until and _unrun(check):
            last = restarts.former.get(place) or before.get(place)
            if last is not None and not _unrun(last):
                former[place] = last
    shown = {place: replace(check, status=former[place].status, output=former[place].output) if place in former else check
             for place, check in after.items()}  # fmt: skip
    return shown, Restarts(until=until, former=former)


def _unrun(check: Check) -> bool:
    return bool(check.service_id) and check.status == CRITICAL and not check.output


def _restarted(before: Mapping[Place, Check], after: Mapping[Place, Check]) -> Iterable[str]:
    well: Counter[str] = Counter()
    reset: Counter[str] = Counter()
    certain = set()
    for place, check in before.items():
        if check.service_id and check.status != CRITICAL:
            node = place[0]
            well[node] += 1
            now = after.get(place)
            if now is not None and now is not check and _unrun(now):
                reset[node] += 1
                if now.kind in OUTSPOKEN:
                    certain.add(node)
    return [
        node for node, count in reset.items() if node in certain or (count >= 2 and 2 * count > well[node])
    ]
