"""A policy as map entries for HAProxy: what guard.lua reads, and what HAProxy's own rules look up.

The guard's program is a set of JSON texts, one per map entry, under keys that carry the version (the digest
of all of them). A map transaction makes all visible at once; a reader that meets a version whose entries it
cannot all find keeps the one it has. Texts of the policy (patterns, sentences) are in hex, so that no entry
needs an escape.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nodegate.model import Seconds
from nodegate.policy.clients import networks_of
from nodegate.policy.guard import UNLISTED, milliseconds
from nodegate.policy.patterns import Atom, Segment, parse_path, parse_pattern
from nodegate.policy.reasons import RULES, about_any, about_arg, about_range
from nodegate.policy.values import CLASS_ORDER, ArgRule, ClassLimits, ItemRule, Method, Policy, Rate

NONE = "0"
HEIGHT = "height/"
"""What the entries of the `guard` map begin with that tell heads, not programs."""
"""No limit, in the maps that hold limits."""

MAX_HEAD_RESERVE = 2048
"""Bytes of HAProxy's buffer beyond head and body: its rewrite reserve and the request line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A bulkhead: requests at once per node (None: the node's maxconn), and the wait for a place."""

    concurrency: int | None
    queue_timeout: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """`maps` by map name, all changeable at run time; `lanes` by name, which need backends of their own
    (a new lane is a reload, its numbers are not). `buffer` is the least tune.bufsize in bytes: with less,
    a body could be judged that is not whole."""

    version: str
    maps: Mapping[str, Mapping[str, str]]
    lanes: Mapping[str, Lane]
    buffer: int


def compile_policy(policy: Policy) -> Compiled:
    """All that the data plane needs of one policy.

    Maps: `guard` (guard.lua's program), `networks` (CIDR → denied, trusted or allowed, for map_ip),
    `proxies` (CIDR → 1), `keys` (SHA-256 in lower-case hex → key name), `key_methods` (KEY/METHOD → 1, and
    KEY → 1 for keys that are limited to some), `limits` (name → number: see `_limits`).
    """
    entries = guard_entries(policy)
    return Compiled(
        version=entries[policy.kind].split(" ")[0],
        maps={
            "guard": entries,
            "networks": {network: word for word, texts in networks_of(policy) for network in texts},
            "proxies": dict.fromkeys(policy.client.trusted_proxies, "1"),
            "keys": {key.hash: name for name, key in policy.keys.items() if not key.disabled},
            "key_methods": _key_methods(policy),
            "limits": _limits(policy),
        },
        lanes=lanes(policy),
        buffer=policy.body.max_bytes + policy.head.max_bytes + MAX_HEAD_RESERVE,
    )


def guard_entries(policy: Policy) -> dict[str, str]:
    """The program: KIND → `VERSION COUNT`, and KIND/VERSION/0 to COUNT-1 → JSON texts. Whoever obeys a version obeys
    all of the policy: it is the digest of limits and lists, too, which the program does not hold."""
    texts = [json.dumps(part, separators=(",", ":")) for part in _parts(policy)]
    version = hashlib.sha256("\n".join([*texts, policy.model_dump_json()]).encode()).hexdigest()[:16]
    entries = {f"{policy.kind}/{version}/{number}": text for number, text in enumerate(texts)}
    return {policy.kind: f"{version} {len(texts)}", **entries}


def height_entry(pool: str, height: int) -> tuple[str, str]:
    """The `guard` map's entry that tells the guard a pool's head, for open block ranges."""
    return f"{HEIGHT}{pool}", str(height)


def lanes(policy: Policy) -> dict[str, Lane]:
    """The bulkheads that the policy's methods use, by name."""
    found: dict[str, Lane] = {}
    listed = policy.methods.items()
    unlisted = [(UNLISTED, policy.unlisted)] if policy.default == "allow" else []
    for name, method in (*listed, *unlisted):
        if method.deny:
            continue
        wait = policy.classes.get(method.class_, ClassLimits()).queue_timeout
        lane = Lane(concurrency=policy.lane_concurrency(method), queue_timeout=Seconds(wait))
        found.setdefault(policy.lane(name, method), lane)
    return dict(sorted(found.items()))


def _limits(policy: Policy) -> dict[str, str]:
    """`budget/10s`, `budget/1m` and `budget/KEY/…` in units, `connections`, `concurrent`, `ban/after`
    (refusals in a minute), `ban/seconds`, `key/required`; 0 is none."""
    limits: dict[str, int | None] = {
        "budget/10s": policy.budget.per_10s,
        "budget/1m": policy.budget.per_1m,
        "connections": policy.client.max_connections,
        "concurrent": policy.client.max_concurrent,
        "ban/after": policy.budget.ban_after,
        "ban/seconds": policy.budget.ban_seconds,
        "key/required": int(policy.client.key_required),
    }
    for name, key in policy.keys.items():
        limits[f"budget/{name}/10s"] = key.per_10s or policy.budget.per_10s
        limits[f"budget/{name}/1m"] = key.per_1m or policy.budget.per_1m
    return {name: NONE if value is None else str(value) for name, value in limits.items()}


def _key_methods(policy: Policy) -> dict[str, str]:
    entries: dict[str, str] = {}
    for name, key in policy.keys.items():
        if key.methods is not None and not key.disabled:
            entries[name] = "1"
            entries.update({f"{name}/{method}": "1" for method in key.methods})
    return entries


def _parts(policy: Policy) -> Iterable[dict[str, Any]]:
    head = policy.head
    yield {
        "t": "base",
        "form": policy.form,
        "allow": policy.default == "allow",
        "cors": policy.cors is not None,
        "http": list(head.http),
        "paths": [_path(path) for path in head.paths],
        "query": head.query,
        "head_bytes": head.max_bytes,
        "websocket": head.websocket,
        "agents": [_glob(pattern) for pattern in head.user_agents_denied],
        "body_bytes": policy.body.max_bytes,
        "depth": policy.body.max_depth,
        "values": policy.body.max_values,
        "denied": [_glob(pattern) for pattern in policy.body.denied],
        "named": policy.body.named_params,
        "batch": policy.body.max_batch,
        "cost": policy.body.max_cost,
    }
    for rule, (status, text) in RULES.items():
        yield {"t": "text", "rule": rule, "status": status, "say": _hex(text)}
    for name, header in head.headers.items():
        yield {
            "t": "header",
            "name": name,
            "required": header.required,
            "forbidden": header.forbidden,
            "except": list(header.except_methods),
            "bytes": header.max_length,
            "atoms": _atoms(header.pattern),
        }
    for name, method in policy.methods.items():
        yield {"t": "method", **_method(policy, name, method)}
    yield {"t": "unlisted", **_method(policy, UNLISTED, policy.unlisted)}


def _method(policy: Policy, name: str, method: Method) -> dict[str, Any]:
    part: dict[str, Any] = {
        "name": name,
        "deny": method.deny,
        "class": method.class_,
        "rank": CLASS_ORDER.index(method.class_),
        "lane": policy.lane(name, method),
        "idem": method.idempotent,
        "ms": milliseconds(method.timeout),
        "cache": method.cache,
        "rates": _rates(method.rate) + _rates(method.rate_overall),
        "batch": method.batchable,
        "cost": method.cost.base,
        "items": [[path.split("."), units] for path, units in method.cost.per_item.items()],
        "prices": [[path.split("."), units] for path, units in method.cost.per_value.items()],
        "any": [path.split(".") for path in method.any_of],
        "any_say": _hex(about_any(name, method.any_of)),
        "open": method.unknown_args == "allow",
        "known": sorted({path.partition(".")[0] for path in method.args}),
        "args": [_arg(name, path, rule) for path, rule in method.args.items()],
        "range": None,
        "rest": None,
    }
    if method.range is not None:
        part["range"] = {
            "start": method.range.start.split("."),
            "end": method.range.end.split("."),
            "unless": method.range.unless.split(".") if method.range.unless is not None else None,
            "max": method.range.max,
            "units": method.cost.per_blocks,
            "say": _hex(about_range(name, method.range.max)),
        }
    if method.path is not None:
        part["rest"] = {"http": list(method.http), "query": method.query, **_path(method.path)}
    return part


def _arg(method: str, path: str, rule: ArgRule) -> dict[str, Any]:
    return {
        "path": path.split("."),
        "name": path,
        "say": _hex(about_arg(method, path, rule)),
        "required": rule.required,
        "forbidden": rule.forbidden,
        "min": rule.min,
        "max": rule.max,
        "one_of": [_hex(option) for option in rule.one_of] if rule.one_of is not None else None,
        "min_items": rule.min_items,
        "max_items": rule.max_items,
        "single": rule.single,
        "items": _item(rule.items) if rule.items is not None else None,
        **_item(rule),
    }


def _item(rule: ItemRule) -> dict[str, Any]:
    return {
        "type": rule.type,
        "shortest": rule.min_length,
        "longest": rule.max_length,
        "atoms": _atoms(rule.pattern),
    }


def _rates(rate: Rate) -> list[int]:
    return [rate.per_10s or 0, rate.per_1m or 0]


def _path(text: str) -> dict[str, Any]:
    rule = parse_path(text)
    return {
        "segments": [_segment(segment) for segment in rule.segments],
        "rest": rule.rest,
        "exact": rule.literal,
    }


def _segment(segment: Segment) -> dict[str, Any]:
    if segment.literal is not None:
        return {"is": _hex(segment.literal)}
    return {"atoms": [_atom(atom) for atom in segment.atoms] if segment.atoms is not None else None}


def _atoms(pattern: str | None) -> list[Any] | None:
    return None if pattern is None else [_atom(atom) for atom in parse_pattern(pattern)]


def _atom(atom: Atom) -> list[Any]:
    return [bytes(sorted(atom.chars)).hex(), atom.least, atom.most]


def _glob(pattern: str) -> list[str]:
    return [_hex(part) for part in pattern.lower().split("*")]


def _hex(text: str) -> str:
    return text.encode().hex()
