"""Verdicts that are looked up: never another one than the guard's."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.documents import parse
from nodegate.haproxy.shortcuts import (
    FAST_BODY,
    IS_PLAIN,
    METHOD_FIELD,
    SPACE,
    STAND_IN,
    TOLD_FIELD,
    body_of,
    entry,
    fast_key,
)
from nodegate.policy import shortcuts
from nodegate.policy.document import load_policy
from nodegate.policy.guard import GuardRequest, guard
from nodegate.policy.values import Policy

STALL = "GFCCGTGSUEVBZYFK9QNAHOVHXUMEATUFLGBZLDKMOGWCXVUZDVEJVCLLCJJ9NQOIMOLMUMFMGZSI99999"
TRYTES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ9"


def changed(toml: str = "") -> Policy:
    return load_policy("iri", parse(f'kind = "iri"\n{toml}', file="changed.toml")).policy


POLICY = changed()
ENTRIES = shortcuts.entries(POLICY)


def looked_up(policy: Policy, body: bytes) -> str | None:
    """What HAProxy's rules would find for this body, read as HAProxy reads it."""
    entries = ENTRIES if policy is POLICY else shortcuts.entries(policy)
    suspects = shortcuts.suspects(policy)
    if len(body) >= FAST_BODY or any(word.encode() in body for word in suspects):
        return None
    seen = body.partition(b"\0")[0]
    shape = re.sub(rb"[A-Z9]{81}", STAND_IN.encode(), seen).replace(b" ", SPACE.encode()).decode("latin-1")
    return entries.get(f"{policy.kind}|{len(body)}|{shape}")


def judged(policy: Policy, body: bytes) -> str:
    return guard(policy, GuardRequest(headers=[("x-iota-api-version", b"1")], body=body)).line()


@pytest.mark.parametrize("toml", ["", "[methods.getNodeInfo]\ncost = 7\n", "[body]\nmax_bytes = 64\n"])
def test_what_is_looked_up_is_what_the_guard_would_say(toml: str) -> None:
    policy = changed(toml)
    entries = shortcuts.entries(policy)
    assert entries
    for key, line in entries.items():
        kind, length, shape = key.split("|", 2)
        body = body_of(shape, "K").encode()
        assert (kind, len(body)) == ("iri", int(length))
        assert judged(policy, body) == line


@settings(max_examples=200, deadline=None)
@given(
    key=st.sampled_from(sorted(ENTRIES)),
    runs=st.lists(st.text(TRYTES, min_size=80, max_size=82), max_size=3),
    junk=st.binary(max_size=90),
    at=st.integers(min_value=0, max_value=1100),
    data=st.sampled_from([b"\0", b"@", b"~", b" ", b'"', b"9", b""]),
)
def test_no_body_is_looked_up_as_what_the_guard_would_not_say(
    key: str, runs: list[str], junk: bytes, at: int, data: bytes
) -> None:
    body = key.split("|", 2)[2].replace(SPACE, " ").encode()
    for run in runs:
        body = body.replace(STAND_IN.encode(), run.encode(), 1)
    body = body[:at] + data + body[at:] + (b"\0" + junk if junk else b"")
    line = looked_up(POLICY, body)
    assert line is None or line == judged(POLICY, body)


def test_a_call_of_a_wallet_is_looked_up() -> None:
    address = "NODEGATE9BENCH".ljust(81, "9")
    for body in (
        '{"command":"getNodeInfo"}',
        f'{{"command":"getBalances","addresses":["{address}"],"threshold":100}}',
        f'{{"command":"findTransactions","addresses":["{address}","{address}"]}}',
        f'{{"command":"getTrytes","hashes":["{address}"]}}',
    ):
        assert looked_up(POLICY, body.encode()) == judged(POLICY, body.encode())
        spaced = json.dumps(json.loads(body)).encode()
        assert looked_up(POLICY, spaced) == judged(POLICY, spaced)


def test_a_denied_text_is_judged_by_the_guard() -> None:
    body = f'{{"command":"getTrytes","hashes":["{STALL}"]}}'.encode()
    assert looked_up(POLICY, body) is None
    assert judged(POLICY, body).startswith("no|body-pattern")


def test_a_stand_in_for_a_space_is_no_space() -> None:
    body = b'{"command":~"getNodeInfo"}'
    assert looked_up(POLICY, body) is None
    assert judged(POLICY, body).startswith("no|json-syntax")


def test_a_stand_in_of_the_client_and_a_zero_byte_do_not_pass_for_a_hash() -> None:
    body = b'{"command":"getTrytes","hashes":["@"]}'
    assert looked_up(POLICY, body) is None
    assert looked_up(POLICY, body + b"\0" + b"x" * 79) is None


@pytest.mark.parametrize(
    "toml",
    [
        '[body]\ndenied = ["two*parts"]\n',
        '[methods.getTrytes.args]\nhashes = { type = "array", items = { type = "string", pattern = "[A-Z]{81}" } }\n',
    ],
)
def test_rules_that_look_into_a_hash_leave_it_to_the_guard(toml: str) -> None:
    assert not any("getTrytes" in key and STAND_IN in key for key in shortcuts.entries(changed(toml)))


@pytest.mark.parametrize(
    "toml", ['[head]\nuser_agents_denied = ["*bot*"]\n', "[head.headers.x-extra]\nrequired = true\n"]
)
def test_rules_that_the_lookup_cannot_see_switch_it_off(toml: str) -> None:
    assert shortcuts.entries(changed(toml)) == {}


def test_a_denied_method_is_never_looked_up() -> None:
    entries = shortcuts.entries(changed("[methods.getNodeInfo]\ndeny = true\n"))
    assert not any("getNodeInfo" in key for key in entries)


def test_a_line_says_what_else_is_known_of_the_call() -> None:
    line = ENTRIES[fast_key("iri", '{"command":"getNodeInfo"}')]
    parts = entry("iri", line, key_required=False).split("|")
    assert "|".join(parts[:13]) == line
    assert parts[METHOD_FIELD] == "iri/getNodeInfo"
    assert json.loads("{" + parts[TOLD_FIELD] + "}") == {
        "method": "getNodeInfo", "class": "read", "lane": "read", "cost": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("toml", "required", "plain"),
    [
        ("", False, True),
        ("", True, False),
        ("[methods.getNodeInfo]\nrate = { per_10s = 5 }\n", False, False),
        ('[methods.getNodeInfo]\nclass = "heavy"\n', False, False),
    ],
)
def test_only_a_call_that_needs_no_further_rule_is_plain(toml: str, required: bool, plain: bool) -> None:
    line = shortcuts.entries(changed(toml))[fast_key("iri", '{"command":"getNodeInfo"}')]
    assert entry("iri", line, key_required=required).endswith(IS_PLAIN) is plain


def test_the_dearest_call_bounds_what_may_pass_without_a_look_at_its_cost() -> None:
    costs = [int(line.split("|")[4]) for line in ENTRIES.values()]
    assert shortcuts.dearest(POLICY) == max(costs) > min(costs)
    assert shortcuts.dearest(changed('[head]\nuser_agents_denied = ["*bot*"]\n')) == 0
