"""The compiled policy: versioned entries that fit HAProxy's maps, lanes and limits."""

from __future__ import annotations

import json

import pytest

from nodegate.documents import parse
from nodegate.policy.clients import key_hash
from nodegate.policy.compile import compile_policy, guard_entries
from nodegate.policy.document import KINDS, load_policy
from nodegate.policy.values import Policy


def policy(text: str = "") -> Policy:
    return load_policy("iri", parse(text, file="own.toml")).policy


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_is_one_line_of_json_that_fits_a_command(kind: str) -> None:
    entries = guard_entries(load_policy(kind).policy)
    version, count = entries.pop(kind).split()
    assert set(entries) == {f"{kind}/{version}/{number}" for number in range(int(count))}
    for text in entries.values():
        assert text.isprintable()
        assert "\\" not in text
        assert len(text) < 12_000
        json.loads(text)


def test_the_version_is_the_content() -> None:
    same = guard_entries(policy("[methods.getNodeInfo]\ntimeout = 5"))
    assert same == guard_entries(policy())
    assert guard_entries(policy("[methods.getNodeInfo]\ntimeout = 6"))["iri"] != same["iri"]


def test_lanes_are_classes_and_methods_with_a_concurrency_of_their_own() -> None:
    lanes = compile_policy(policy("[methods.attachToTangle]\ndeny = false")).lanes
    assert {name: lane.concurrency for name, lane in lanes.items()} == {
        "attachToTangle": 1,
        "getTransactionsToApprove": 1,
        "heavy": 3,
        "read": 20,
        "write": 5,
    }


def test_networks_keys_and_limits_are_maps_of_their_own() -> None:
    text = f"""
[client]
denied = ["192.0.2.0/24"]
trusted = ["10.0.0.0/8"]
trusted_proxies = ["127.0.0.1/32"]
[budget]
per_10s = 700
[keys.reader]
hash = "{key_hash(b"secret")}"
per_10s = 9000
methods = ["getNodeInfo"]
"""
    maps = compile_policy(policy(text)).maps
    assert maps["networks"] == {"192.0.2.0/24": "denied", "10.0.0.0/8": "trusted"}
    assert maps["proxies"] == {"127.0.0.1/32": "1"}
    assert maps["keys"] == {key_hash(b"secret"): "reader"}
    assert maps["key_methods"] == {"reader": "1", "reader/getNodeInfo": "1"}
    assert maps["limits"]["budget/10s"] == "700"
    assert maps["limits"]["budget/reader/10s"] == "9000"
    assert maps["limits"]["budget/reader/1m"] == maps["limits"]["budget/1m"]


def test_the_buffer_holds_the_largest_head_and_body_together() -> None:
    compiled = compile_policy(policy())
    assert compiled.buffer > policy().body.max_bytes + policy().head.max_bytes
