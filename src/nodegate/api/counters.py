"""HAProxy's counters of methods, rules and clients, read for a scrape."""

from __future__ import annotations

from nodegate.api.context import ApiContext
from nodegate.errors import Malformed, Unavailable
from nodegate.policy.guard import UNLISTED
from nodegate.policy.limits import GATEWAY_RULES
from nodegate.policy.reasons import RULES
from nodegate.telemetry import Names

ALL_RULES = frozenset(RULES) | GATEWAY_RULES
"""Every rule that can refuse a request."""


async def read_counters(context: ApiContext) -> None:
    """Give the telemetry what HAProxy counts now. While that cannot be read its metrics are absent, and
    `nodegate_haproxy_up` tells why."""
    policies = context.policies
    kinds = policies.kinds()
    names = Names(
        methods={kind: frozenset({*policies.loaded(kind).policy.methods, UNLISTED}) for kind in kinds},
        rules=ALL_RULES,
        versions={kind: policies.version(kind) for kind in kinds},
        faults=len(policies.faults),
    )
    try:
        counts = await context.firewall.tables() if kinds else None
    except (Unavailable, Malformed):
        counts = None
    context.telemetry.counted(names, counts)
