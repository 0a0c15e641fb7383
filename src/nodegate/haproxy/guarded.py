"""The pools under a policy, and what the gateway has to know of each policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodegate.haproxy import replies
from nodegate.haproxy.conditions import if_found, is_kind
from nodegate.haproxy.config import Words
from nodegate.haproxy.paths import map_reference
from nodegate.haproxy.peers import Sharing
from nodegate.haproxy.shapes import Form

GUARD = "guard"

LIMITS = "limits"

MAIN_LANE = "read"
"""The lane whose backend is the pool's own; without a policy it is the only one."""

UPGRADE_LANE = "upgrade"
"""The lane of WebSockets, which have no cost."""

ACCOUNTS = "accounts"
"""The numbers of an account in one text, and LIMITS those that stand alone."""

KEY_METHODS = "key_methods"

TRIVIAL = "trivial"

SUSPECTS = "suspects"
"""Texts in a body that keep it from being looked up: the guard has to look at it."""

TEXTS = "texts"
SHARED_MAPS = (GUARD, LIMITS, ACCOUNTS, KEY_METHODS, TRIVIAL, SUSPECTS, TEXTS)
"""Maps of all kinds together; those of one kind are named by `own_map`."""

OWN_MAPS = ("networks", "proxies", "keys", "cors")

ROOM_OPEN, ROOM_10S, ROOM_1M = ROOM_MAPS = ("room_open", "room_10s", "room_1m")
"""Maps that only the short way (`nodegate.haproxy.express`) reads: ranges of what an account may have used."""

LOOKUP_MAPS = (TRIVIAL, SUSPECTS)
"""Maps that are read only where some policy has calls that are looked up."""

PROXY = "1"
"""What the map of trusted proxies says of one. Other values are of addresses that HAProxy would mistake for one."""

UNMAPPED = r'regsub("^::ffff:([0-9.]+)$","\1")'
"""The converter that makes an IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`) that IPv4 address, as text."""

UNLIMITED = 2_000_000_000
"""No limit, in numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneShape:
    """A bulkhead as a backend of its own: requests at once per node (None: as many as the node takes) and
    seconds to wait for a place."""

    concurrency: int | None
    queue_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforcement:
    """What the gateway has to know of one kind's compiled policy.

    `maps` are named as in HAProxy. `proxied` says whether any proxy is trusted, `form` how bodies have shapes by
    which verdicts are looked up (None: none are), `buffer` is the least tune.bufsize in bytes. All but the maps is part of the skeleton.
    """

    kind: str
    style: replies.Style
    version: str
    lanes: Mapping[str, LaneShape]
    maps: Mapping[str, Mapping[str, str]]
    buffer: int
    proxied: bool = False
    form: Form | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The pools under a policy. `kinds` is by pool; pools it lacks are not guarded. `program` is the guard's
    file, relative to the configuration."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, Enforcement] = field(default_factory=dict)
    program: str = "guard.lua"
    crowded: frozenset[str] = frozenset()
    """Pools of so many nodes that all classes share the pool's one backend."""
    everywhere: bool = False
    """All pools of the gateway have a policy."""
    uniform: bool = False
    """All pools of the gateway have one and the same policy, so that no rule has to ask which one."""
    express: bool = False
    """Plain requests take the short way through the rules (`nodegate.haproxy.express`)."""
    mapped: bool = False
    """A listener takes IPv6, and with it IPv4 clients as `::ffff:192.0.2.1`, which no IPv4 network holds."""
    sharing: Sharing = field(default_factory=Sharing)
    """With which other gateways bans and counters are shared."""

    @property
    def proxied(self) -> bool:
        """Whether any policy trusts a proxy: each request may come from another client then."""
        return any(policy.proxied for policy in self.used)

    @property
    def client(self) -> str:
        """The variable that has the client's address: the connection's own, or what trusted proxies say."""
        return "txn.client" if self.proxied else "sess.client"

    @property
    def source(self) -> str:
        """The sample that has the connection's address."""
        return "var(sess.client)" if self.mapped else "src"

    @property
    def who(self) -> str:
        """The variable that has how the client is counted."""
        return "txn.who" if self.proxied else "sess.who"

    @property
    def used(self) -> tuple[Enforcement, ...]:
        """The policies of at least one pool, in order of kind."""
        return tuple(self.policies[kind] for kind in sorted(set(self.kinds.values())))

    def of(self, pool: str) -> Enforcement | None:
        """The policy of a pool, None when it has none."""
        kind = self.kinds.get(pool)
        return None if kind is None else self.policies[kind]

    def lanes(self, pool: str) -> Mapping[str, LaneShape]:
        """The lanes of a pool: those of its policy, none in a crowded pool or one without a policy."""
        policy = self.of(pool)
        return {} if policy is None or pool in self.crowded else policy.lanes

    def maps(self) -> dict[str, dict[str, str]]:
        """All maps that the rules refer to, by name."""
        if not self.used:
            return {}
        maps: dict[str, dict[str, str]] = {name: {} for name in SHARED_MAPS}
        for policy in self.used:
            maps |= {own_map(name, policy.kind): {} for name in OWN_MAPS}
            for name, entries in policy.maps.items():
                maps[name] = {**maps.get(name, {}), **entries}
        for name in self._unread():
            maps.pop(name, None)
        bounds = [int(policy.maps[LIMITS]["connections"]) for policy in self.used]
        maps[LIMITS]["connections"] = str(max(bounds))
        return {name: dict(sorted(entries.items())) for name, entries in maps.items()}

    def _unread(self) -> tuple[str, ...]:
        """Maps that no rule refers to; HAProxy would not know them."""
        rooms = [own_map(name, policy.kind) for policy in self.used for name in ROOM_MAPS]
        known = any(policy.form is not None for policy in self.used)
        return (*(() if self.express else rooms), *(() if known else LOOKUP_MAPS))


def why_reload(before: Guarded, after: Guarded) -> str:
    """What of a changed policy no running HAProxy can take on, in words."""
    reasons = []
    for policy in after.used:
        old = before.policies.get(policy.kind)
        if old is None:
            reasons.append(f"{policy.kind} had no policy so far")
            continue
        if lanes := sorted(set(policy.lanes) ^ set(old.lanes)):
            reasons.append(f"the lanes of {policy.kind} change: {', '.join(lanes)}")
        elif _waits(policy) != _waits(old):
            reasons.append(f"the time to wait for a place in a lane of {policy.kind} changes")
        if policy.buffer != old.buffer:
            reasons.append(f"the largest request of {policy.kind} changes")
        if policy.proxied != old.proxied:
            reasons.append(f"{policy.kind} gets its first trusted proxy or loses its last one")
    return "; ".join(reasons) or "the shape of the gateway changes"


def _waits(policy: Enforcement) -> dict[str, float]:
    return {name: lane.queue_timeout for name, lane in policy.lanes.items()}


def own_map(name: str, kind: str) -> str:
    """The map `name` of one kind."""
    return f"{name}-{kind}"


def limit(key: str, spent: str = "", *, default: int = UNLIMITED) -> str:
    """A number from the map of limits, less what is spent of it."""
    less = f",sub({spent})" if spent else ""
    return f"{key},map_str_int({map_reference(LIMITS)},{default}){less}"


def only(guarded: Guarded, policy: Enforcement) -> Words:
    """The condition that a request is under this policy; nothing where all are."""
    return () if guarded.uniform else is_kind(policy.kind)


def guarded_only(guarded: Guarded) -> Words:
    """The condition that a request is under any policy; nothing where all are."""
    return () if guarded.uniform else if_found("txn.kind")
