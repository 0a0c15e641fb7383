"""The commonest requests with the guard's own verdict on each: they are looked up instead of judged. Pure.

An entry is made by asking the reference guard, so that it cannot say anything else. What an entry stands for is
in `nodegate.haproxy.shortcuts`: all requests whose body differs in runs of 81 trytes only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from nodegate.haproxy.shortcuts import FAST_BODY, FAST_VERSION, SPACE, STAND_IN, body_of, fast_key, shape_of
from nodegate.policy.guard import GuardRequest, guard
from nodegate.policy.values import ArgRule, Method, Policy

_HASHES = "[A-Z9]{81}"
"""The pattern under which any run of 81 trytes is as good as any other."""

_MOST = FAST_BODY // 84
"""Items of a list: each takes 81 trytes, two quotes and a comma."""

_ALSO: Mapping[str, Mapping[str, int]] = {"getBalances": {"threshold": 100}}
"""What clients' libraries send beside the list."""

_WORD = re.compile(r"[a-z0-9]*")


def entries(policy: Policy) -> dict[str, str]:
    """Key → the guard's line, for calls without arguments and calls with one list of hashes, as clients' libraries
    write them. Only headers that are part of the key may have rules; with others there are no such entries."""
    listed = set(policy.head.headers) <= {"x-iota-api-version"}
    if policy.form != "command" or not listed or policy.head.user_agents_denied:
        return {}
    return dict(_entries(policy))


def suspects(policy: Policy) -> dict[str, str]:
    """Texts that keep a body from being looked up: what stands for other things in a shape, and what a run of trytes
    may hold and the policy denies."""
    denied = [word.upper() for word in map(str.lower, policy.body.denied) if _may_be_trytes(word)]
    return dict.fromkeys([STAND_IN, SPACE, *denied], "1")


def dearest(policy: Policy) -> int:
    """The units of the dearest call that is looked up, 0 when none is."""
    return max((int(line.split("|")[4]) for line in entries(policy).values()), default=0)


def _entries(policy: Policy) -> Iterator[tuple[str, str]]:
    for shape in _shapes(policy):
        body = body_of(shape, "9")
        if len(body) >= FAST_BODY:
            continue
        headers = [("x-iota-api-version", FAST_VERSION.encode())]
        verdict = guard(policy, GuardRequest(headers=headers, body=body.encode()))
        if verdict.facts is not None:
            yield fast_key(policy.kind, shape), verdict.line()


def _shapes(policy: Policy) -> Iterator[str]:
    # A denied text of several parts could begin in one place of the body and end in another.
    alike = all(_WORD.fullmatch(word.lower()) for word in policy.body.denied)
    for name, method in policy.methods.items():
        if method.deny or method.range is not None:
            continue
        yield from _written({"command": name})
        if alike:
            for arg in _hash_lists(method):
                for count in range(_MOST + 1):
                    call = {"command": name, arg: [STAND_IN] * count}
                    yield from _written(call)
                    if name in _ALSO:
                        yield from _written({**call, **_ALSO[name]})


def _written(call: Mapping[str, object]) -> Iterator[str]:
    """As JavaScript writes it, and as Python does."""
    yield shape_of(json.dumps(call, separators=(",", ":")))
    yield shape_of(json.dumps(call))


def _hash_lists(method: Method) -> Iterator[str]:
    """Lists in which any hash is as good as any other: not those that have rules for single places."""
    looked_into = {path.partition(".")[0] for path in method.args if "." in path}
    for name, rule in method.args.items():
        if "." not in name and name not in looked_into and _is_hash_list(rule):
            yield name


def _is_hash_list(rule: ArgRule) -> bool:
    items = rule.items
    return (
        rule.type == "array"
        and rule.one_of is None
        and items is not None
        and items.type == "string"
        and items.pattern == _HASHES
    )


def _may_be_trytes(word: str) -> bool:
    return _WORD.fullmatch(word) is not None and set(word) <= set("abcdefghijklmnopqrstuvwxyz9")
