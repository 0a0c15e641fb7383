"""From a compiled policy to what the gateway enforces: lanes, maps, and the size of a buffer. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nodegate.haproxy.guarded import (
    ACCOUNTS,
    GUARD,
    KEY_METHODS,
    LIMITS,
    ROOM_1M,
    ROOM_10S,
    ROOM_OPEN,
    SUSPECTS,
    TEXTS,
    TRIVIAL,
    UNLIMITED,
    UPGRADE_LANE,
    Enforcement,
    Guarded,
    LaneShape,
    own_map,
)
from nodegate.haproxy.replies import Style
from nodegate.haproxy.shortcuts import entry
from nodegate.policy import shortcuts
from nodegate.policy.compile import NONE, Compiled, compile_policy
from nodegate.policy.values import Cors, Policy


def enforce(policy: Policy) -> Enforcement:
    """A policy as lanes, maps and a buffer size for HAProxy."""
    compiled = compile_policy(policy)
    return Enforcement(
        kind=policy.kind,
        style=Style.JSON_RPC if policy.form == "jsonrpc" else Style.PLAIN,
        version=compiled.version,
        lanes=_lanes(policy, compiled),
        maps=_maps(policy, compiled),
        buffer=compiled.buffer,
        proxied=bool(policy.client.trusted_proxies),
        form=shortcuts.FORMS.get(policy.form),
    )


def _lanes(policy: Policy, compiled: Compiled) -> dict[str, LaneShape]:
    lanes = {
        name: LaneShape(concurrency=lane.concurrency, queue_timeout=float(lane.queue_timeout))
        for name, lane in compiled.lanes.items()
    }
    if policy.head.websocket:
        # A WebSocket stays for hours: it must not hold a place that reads need.
        lanes[UPGRADE_LANE] = LaneShape(concurrency=None, queue_timeout=5.0)
    return lanes


def _maps(policy: Policy, compiled: Compiled) -> dict[str, dict[str, str]]:
    kind, maps = policy.kind, compiled.maps
    required = policy.client.key_required
    entries = shortcuts.entries(policy)
    known = {key: entry(key, line, key_required=required) for key, line in entries.items()}
    dearest = max((int(line.split("|")[4]) for line in entries.values()), default=0)
    return {
        GUARD: dict(maps["guard"]),
        LIMITS: _limits(kind, maps["limits"]),
        ACCOUNTS: _accounts(kind, maps["limits"]),
        KEY_METHODS: {f"{kind}/{name}": value for name, value in maps["key_methods"].items()},
        TRIVIAL: known,
        SUSPECTS: shortcuts.suspects(policy),
        TEXTS: _cors_texts(policy),
        own_map("networks", kind): _networks(policy, maps["networks"]),
        own_map("proxies", kind): {**_no_relatives(maps["proxies"]), **maps["proxies"]},
        own_map("keys", kind): dict(maps["keys"]),
        own_map("cors", kind): _cors_origins(policy.cors),
        **{own_map(name, kind): entries for name, entries in _room(dearest, maps["limits"]).items()},
    }


def _limits(kind: str, numbers: Mapping[str, str]) -> dict[str, str]:
    """The limits that are looked up one by one."""
    bans = {f"{kind}/ban/{name}": _bound(numbers[f"ban/{name}"]) for name in ("after", "seconds")}
    return {**bans, "connections": _bound(numbers["connections"])}


def _accounts(kind: str, numbers: Mapping[str, str]) -> dict[str, str]:
    """`KIND`, and `KIND/key/NAME` for each key → what every request needs, looked up at once: requests at once,
    units in 10 s and in 1 m, and 1 when a key is needed."""

    def line(budget: str) -> str:
        bounds = (numbers["concurrent"], numbers[f"{budget}/10s"], numbers[f"{budget}/1m"])
        return "|".join([*map(_bound, bounds), numbers["key/required"]])

    keys = {name.split("/")[1] for name in numbers if name.startswith("budget/") and name.count("/") == 2}
    return {kind: line("budget"), **{f"{kind}/key/{key}": line(f"budget/{key}") for key in sorted(keys)}}


def _room(dearest: int, numbers: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """For each limit of a client without a key the range of what it may have used, so that any call that is looked
    up, the dearest for `dearest` units, is still within the limit. Where there is no such range, the exact rules decide."""
    most = {
        ROOM_OPEN: int(_bound(numbers["concurrent"])),
        ROOM_10S: int(_bound(numbers["budget/10s"])) - dearest,
        ROOM_1M: int(_bound(numbers["budget/1m"])) - dearest,
    }
    return {name: {f"0:{bound}": "1"} if bound >= 0 else {} for name, bound in most.items()}


def _bound(number: str) -> str:
    return str(UNLIMITED) if number == NONE else number


def _networks(policy: Policy, listed: Mapping[str, str]) -> dict[str, str]:
    """The networks' standing; when only listed ones are served, all others are closed."""
    others = (
        dict.fromkeys(("0.0.0.0/0", "::/0"), "closed") if policy.client.allowed else _no_relatives(listed)
    )
    return {**others, **listed}


def _no_relatives(listed: Mapping[str, str]) -> dict[str, str]:
    """Entries that keep IPv6 addresses from being taken for IPv4 ones. What HAProxy finds in no IPv6 network it looks
    up again by the IPv4 address within, as which 6to4 (RFC 3056) and compatible addresses (RFC 4291) count too."""
    return dict.fromkeys(("2002::/16", "::/96"), "open") if any("." in network for network in listed) else {}


def _cors_texts(policy: Policy) -> dict[str, str]:
    if policy.cors is None:
        return {}
    methods = ",".join(sorted(verb.upper() for verb in policy.head.http))
    return {
        f"{policy.kind}/cors/methods": methods,
        f"{policy.kind}/cors/headers": ",".join(policy.cors.headers) or "content-type",
        f"{policy.kind}/cors/age": str(policy.cors.max_age),
    }


def _cors_origins(cors: Cors | None) -> dict[str, str]:
    """Patterns of origins: `*` for everybody, `\\0` for those that are told their own name."""
    if cors is None:
        return {}
    if "*" in cors.origins:
        return {".": "*"}
    return {f"^{'.*'.join(re.escape(part) for part in glob.split('*'))}$": "\\0" for glob in cors.origins}


def lanes_of(guarded: Guarded) -> dict[str, dict[str, int | None]]:
    """By pool and lane: requests at once per node."""
    return {
        pool: {name: lane.concurrency for name, lane in guarded.lanes(pool).items()} for pool in guarded.kinds
    }
