"""Verdicts that are looked up: never another one than the guard's."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from lookups import judged, looked_up, near_known
from nodegate.documents import parse
from nodegate.haproxy.shapes import COMMAND, TRYTES
from nodegate.haproxy.shortcuts import METHOD_FIELD, PLAIN_LANE, PLAIN_MAIN, TOLD_FIELD, entry, fast_key
from nodegate.policy import shortcuts
from nodegate.policy.document import load_policy
from nodegate.policy.values import Policy

STALL = "GFCCGTGSUEVBZYFK9QNAHOVHXUMEATUFLGBZLDKMOGWCXVUZDVEJVCLLCJJ9NQOIMOLMUMFMGZSI99999"


def changed(toml: str = "") -> Policy:
    return load_policy("iri", parse(f'kind = "iri"\n{toml}', file="changed.toml")).policy


POLICY = changed()
ENTRIES = shortcuts.entries(POLICY)


@pytest.mark.parametrize("toml", ["", "[methods.getNodeInfo]\ncost = 7\n", "[body]\nmax_values = 16\n"])
def test_what_is_looked_up_is_what_the_guard_would_say(toml: str) -> None:
    policy = changed(toml)
    entries = shortcuts.entries(policy)
    assert entries
    for key, line in entries.items():
        kind, path, shape = key.split("|", 2)
        assert (kind, path) == ("iri", "/")
        assert judged(policy, COMMAND.sample(shape).replace("9" * 81, "K" * 81).encode()) == line


@settings(max_examples=300, deadline=None)
@given(body=near_known(POLICY, sorted(ENTRIES)))
def test_no_body_is_looked_up_as_what_the_guard_would_not_say(body: bytes) -> None:
    line = looked_up(POLICY, body, entries=ENTRIES)
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


def test_a_mark_for_a_space_is_no_space() -> None:
    body = b'{"command":~"getNodeInfo"}'
    assert looked_up(POLICY, body) is None
    assert judged(POLICY, body).startswith("no|json-syntax")


def test_a_mark_of_the_client_and_a_zero_byte_do_not_pass_for_a_hash() -> None:
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
    assert not any("getTrytes" in key and TRYTES.sign in key for key in shortcuts.entries(changed(toml)))


@pytest.mark.parametrize(
    "toml",
    [
        '[head]\nuser_agents_denied = ["*bot*"]\n',
        "[head.headers.x-extra]\nrequired = true\n",
        "[head]\nmax_bytes = 1024\n",
        "[body]\nmax_bytes = 1000\n",
        '[head]\npaths = ["/api/{version}", "/more/**"]\n',
    ],
)
def test_rules_that_the_lookup_cannot_see_switch_it_off(toml: str) -> None:
    assert shortcuts.entries(changed(toml)) == {}


def test_a_denied_method_is_never_looked_up() -> None:
    entries = shortcuts.entries(changed("[methods.getNodeInfo]\ndeny = true\n"))
    assert not any("getNodeInfo" in key for key in entries)


def line_of_info(toml: str = "") -> tuple[str, str]:
    key = fast_key("iri", "/", '{"command":"getNodeInfo"}')
    return key, shortcuts.entries(changed(toml))[key]


def test_a_line_says_what_else_is_known_of_the_call() -> None:
    key, line = line_of_info()
    parts = entry(key, line, key_required=False).split("|")
    assert "|".join(parts[:13]) == line
    assert parts[METHOD_FIELD] == "iri/getNodeInfo"
    assert json.loads("{" + parts[TOLD_FIELD] + "}") == {
        "path": "/", "method": "getNodeInfo", "class": "read", "lane": "read", "cost": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("toml", "required", "ending"),
    [
        ("", False, PLAIN_MAIN),
        ("", True, None),
        ("[methods.getNodeInfo]\nrate = { per_10s = 5 }\n", False, None),
        ('[methods.getNodeInfo]\nclass = "heavy"\n', False, PLAIN_LANE),
        ('[methods.getNodeInfo]\nclass = "heavy"\n', True, None),
    ],
)
def test_a_call_that_needs_no_further_rule_is_marked_as_plain(
    toml: str, required: bool, ending: str | None
) -> None:
    found = entry(*line_of_info(toml), key_required=required)
    assert [end for end in (PLAIN_MAIN, PLAIN_LANE) if found.endswith(end)] == ([ending] if ending else [])


def test_a_policy_for_rest_has_nothing_to_look_up() -> None:
    rest = load_policy("http", parse('kind = "http"\n', file="x.toml")).policy
    assert shortcuts.entries(rest) == {}
