"""How much traffic a new node gets, and what is due for a node that is out. Pure."""

from __future__ import annotations

from nodegate.model import Seconds
from nodegate.settings.portal import PortalSettings

STEPS = 10
"""Weights on the way from the first to the whole one: a registry is written that often for a node, not at
every pass."""


def probation_weight(proven: Seconds, settings: PortalSettings) -> int:
    """The weight of a node that has been up for `proven` seconds, all together: it grows in equal steps from
    the first weight to the whole one, and is never 0, which would mean no traffic and so nothing to prove."""
    whole = settings.weight
    if proven >= settings.probation:
        return whole
    share = int(STEPS * max(0.0, proven) / settings.probation) / STEPS
    first = settings.first_weight
    return max(1, round(whole * (first + (1.0 - first) * share)))


def proven_after(proven: Seconds, elapsed: Seconds, *, serves: bool, longest: Seconds) -> Seconds:
    """Proven time after `elapsed` seconds more. Only time in service counts, and of a gap in which nobody
    looked (a stopped gateway) no more than `longest`."""
    return Seconds(proven + (min(max(0.0, elapsed), longest) if serves else 0.0))
