"""One request in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_lines import line, refused
from nodegate.views.access import parse_line
from nodegate.views.why import explain, termination


def test_a_served_request_says_who_what_where_and_how_long():
    found = explain(line(key="wallet", peer="198.51.100.1"))
    assert found.asked == (
        "203.0.113.5 (through the proxy 198.51.100.1) with the key wallet asked for getNodeInfo "
        "(class read, 1 unit) of the pool main at 2026-01-02T03:03:04.000Z"
    )
    assert found.outcome == "served by n1 with status 200"
    assert [(stretch.name, stretch.ms) for stretch in found.times] == [
        ("queue", 0),
        ("connect", 1),
        ("node", 7),
        ("rest", 1),
    ]
    assert found.advice == ()


def test_a_refused_request_says_rule_number_and_remedy():
    text = refused(rule="arg-value", reason="depth must be an integer from 1 to 15", status=403)
    found = explain(parse_line(text), limit="depth 1 to 15", remedy="change methods.x.args")
    assert found.outcome == "refused by the rule arg-value with status 403"
    assert (found.rule, found.limit, found.advice) == (
        "arg-value",
        "depth 1 to 15",
        ("change methods.x.args",),
    )
    assert found.reason == "depth must be an integer from 1 to 15"
    assert found.times == ()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("--", "ended as it should"),
        ("sH", "the node did not answer in time"),
        ("CD--", "the client went away before it had the whole answer"),
        ("sQ", "no node had a free place in time"),
        (
            "DH",
            "the gateway ended it because the node went down, while the gateway waited for the node's answer to begin",
        ),
        ("K-", "an operator ended it"),
        ("-D", "while the answer was on its way"),
        ("?!", "the letter '?' is not known, the letter '!' is not known"),
    ],
)
def test_termination_codes_are_words(code: str, words: str):
    assert termination(code).text == words


@given(st.text(max_size=5))
def test_any_code_has_words(code: str):
    assert termination(code).text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"verdict": "failed", "termination": "sH", "status": 504, "rule": "timeout"}, "slower than"),
        ({"verdict": "failed", "termination": "SC", "status": 503}, "is it running"),
        ({"verdict": "failed", "termination": "sQ", "status": 503, "node": "-"}, "all places were taken"),
        ({"verdict": "failed", "termination": "CD"}, "the client went away"),
        ({"retries": "+1"}, "the last one at another node"),
        ({"status": 400}, "the node's own"),
        ({"queue_ms": 4000, "total_ms": 4010}, "waited for a free place"),
        ({"response_ms": 4000, "total_ms": 4010}, "took long to answer"),
    ],
)
def test_what_went_wrong_leads_to_what_to_do(fields: dict[str, object], words: str):
    assert any(words in text for text in explain(line(**fields)).advice)
