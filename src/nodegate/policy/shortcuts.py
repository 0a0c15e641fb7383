"""The commonest requests with the guard's own verdict on each: they are looked up instead of judged. Pure.

An entry is made by asking the reference guard, so that it cannot say anything else. What an entry stands for is
in `nodegate.haproxy.shapes`: all requests whose body differs in nothing but what stands behind a mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nodegate.haproxy.shapes import COMMAND, JSON_RPC, Form
from nodegate.haproxy.shortcuts import FAST_BODY, FAST_HEAD, fast_key
from nodegate.policy import commandcalls, rpccalls
from nodegate.policy.guard import GuardRequest, guard
from nodegate.policy.values import Policy

FORMS = {"command": COMMAND, "jsonrpc": JSON_RPC}
"""The forms of bodies that have shapes, by a policy's `form`."""

_WRITERS = {"command": commandcalls.calls, "jsonrpc": rpccalls.calls}

_LITERAL_PATH = re.compile(r"[A-Za-z0-9/._-]+")


def entries(policy: Policy) -> dict[str, str]:
    """Key → the guard's line, for calls as clients' libraries write them."""
    form = FORMS.get(policy.form)
    paths = [path for path in policy.head.paths if _LITERAL_PATH.fullmatch(path)]
    if form is None or not paths or not _seen_whole(policy, form):
        return {}
    return dict(_entries(policy, form, paths))


def suspects(policy: Policy) -> dict[str, str]:
    """Denied texts that may stand behind a mark, where a shape would not show them."""
    denied = [word.upper() for word in map(str.lower, policy.body.denied) if _may_be_trytes(word)]
    return dict.fromkeys(denied, "1")


def _seen_whole(policy: Policy, form: Form) -> bool:
    """Whether the guard looks at nothing that the look-up does not see: at no other headers, and at no size that a
    request which is looked up can reach."""
    return (
        set(policy.head.headers) <= {name for name, _ in form.headers}
        and not policy.head.user_agents_denied
        and policy.head.max_bytes >= FAST_HEAD
        and policy.body.max_bytes >= FAST_BODY
    )


def _entries(policy: Policy, form: Form, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    headers = [(name, value.encode()) for name, value in form.headers]
    for shapes in _WRITERS[policy.form](policy):
        verdict = None
        for shape in shapes:
            body = form.sample(shape).encode()
            if len(body) >= FAST_BODY:
                continue
            if verdict is None:
                verdict = guard(policy, GuardRequest(target=paths[0].encode(), headers=headers, body=body))
            if verdict.facts is not None:
                yield from ((fast_key(policy.kind, path, shape), verdict.line()) for path in paths)


def _may_be_trytes(word: str) -> bool:
    return commandcalls.WORD.fullmatch(word) is not None and set(word) <= set("abcdefghijklmnopqrstuvwxyz9")
