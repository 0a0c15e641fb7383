"""Calls of IRI's API as clients' libraries write them: without arguments, or with one list of hashes. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from nodegate.haproxy.shapes import SPACE, TRYTES
from nodegate.haproxy.shortcuts import FAST_BODY
from nodegate.policy.values import ArgRule, Method, Policy

WORD = re.compile(r"[a-z0-9]*")
"""A denied text of one part: it lies in one run of trytes, or in none."""

_HASHES = "[A-Z9]{81}"
"""The pattern under which any run of 81 trytes is as good as any other."""

_MOST = FAST_BODY // 84
"""Items of a list: each takes 81 trytes, two quotes and a comma."""

_ALSO: Mapping[str, Mapping[str, int]] = {"getBalances": {"threshold": 100}}
"""What clients' libraries send beside the list."""


def calls(policy: Policy) -> Iterator[Sequence[str]]:
    """The shapes of one call after the other."""
    # A denied text of several parts could begin in one place of the body and end in another.
    alike = all(WORD.fullmatch(word.lower()) for word in policy.body.denied)
    for name, method in policy.methods.items():
        if method.deny or method.range is not None:
            continue
        yield _written({"command": name})
        if alike:
            for arg in _hash_lists(method):
                for count in range(_MOST + 1):
                    call = {"command": name, arg: [TRYTES.sign] * count}
                    yield _written(call)
                    if name in _ALSO:
                        yield _written({**call, **_ALSO[name]})


def _written(call: Mapping[str, object]) -> Sequence[str]:
    """As JavaScript writes it, and as Python does."""
    texts = (json.dumps(call, separators=(",", ":")), json.dumps(call))
    return tuple(text.replace(" ", SPACE.sign) for text in texts)


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
