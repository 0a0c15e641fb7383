"""Findings: what cannot be met, contradicts, hides another rule, or leaves a door open."""

from __future__ import annotations

import pytest

from nodegate.documents import parse
from nodegate.errors import BadDocument
from nodegate.policy.check import Level, check, require_sound
from nodegate.policy.document import KINDS, load_policy

HASH = "a" * 64

ERRORS = [
    (
        "iri",
        "[methods.x.args]\na = { required = true, forbidden = true }",
        "methods.x.args.a",
        "nobody could",
    ),
    (
        "iri",
        "[methods.x.args]\na = { type = 'integer', min = 3, max = 2 }",
        "methods.x.args.a.min",
        "over max",
    ),
    (
        "iri",
        "[methods.x.args]\na = { type = 'string', max = 2 }",
        "methods.x.args.a.type",
        "need type integer",
    ),
    (
        "iri",
        "[methods.x.args]\na = { type = 'string', max_items = 2 }",
        "methods.x.args.a.type",
        "type array",
    ),
    ("iri", "[methods.x.args]\na = { type = 'integer', pattern = 'a' }", "methods.x.args.a.type", "a string"),
    ("iri", "[methods.addNeighbors]\ndeny = false", "methods.addNeighbors", "an admin method is open"),
    ("iri", "[methods.x]\nclass = 'pow'\nconcurrency = 1", "methods.x.rate_overall", "all clients together"),
    ("iri", "[methods.x]\ncost = 99999", "methods.x.cost", "never allowed"),
    ("iri", "[budget]\nper_10s = 100", "methods.getTransactionsToApprove.cost", "the budget of 100"),
    ("iri", "[client]\ntrusted_proxies = ['0.0.0.0/0']", "client.trusted_proxies", "every client"),
    ("iri", "[client]\ntrusted = ['::/0']", "client.trusted", "everybody"),
    (
        "iri",
        "[client]\ndenied = ['10.0.0.0/8']\ntrusted = ['10.0.0.0/8']",
        "client.trusted",
        "in denied already",
    ),
    ("iri", "[client]\nkey_required = true", "client.key_required", "there is none"),
    ("iri", f"[keys.a]\nhash = '{HASH}'\n[keys.b]\nhash = '{HASH}'", "keys.b.hash", "the same key as a"),
    ("iri", "[cors]\norigins = ['https://a.example https://b.example']", "cors.origins", "has a space"),
    ("iri", "[head]\nuser_agents_denied = ['*']", "head.user_agents_denied", "everybody"),
    (
        "http",
        "[methods.a]\npath = '/api/**'\n[methods.b]\npath = '/api/{x}'",
        "methods.b.path",
        "never reached: a",
    ),
]

WARNINGS = [
    ("iri", "default = 'allow'", "default", "let through"),
    ("iri", "[methods.x.args]\na = { type = 'array' }", "methods.x.args.a", "no max_items"),
    ("iri", "[methods.GetNodeInfo]\ncost = 1", "methods.GetNodeInfo", "only by case"),
    ("iri", f"[keys.a]\nhash = '{HASH}'\nmethods = ['nope']", "keys.a.methods", "is not served"),
    ("evm", "[head]\nwebsocket = true", "head.websocket", "unseen"),
    ("evm", "[methods.x]\nrate = '5/1m'\nbatch = true", "methods.x.batch", "counts once"),
    ("iri", "[methods.x]\ncost = 0", "methods.x.cost", "may cost nothing"),
    *(
        (
            "iri",
            f"[methods.x]\ncost = {{ per_value = {{ a = 2 }} }}\n[methods.x.args]\n{rule}",
            "methods.x.cost.per_value.a",
            "may be something else than a number",
        )
        for rule in ("a = {}", "a = { type = 'string' }", "a = { type = 'block', max = 5 }", "b = {}")
    ),
    ("evm", "[methods.x]\nrate = '5/1m'\nrate_overall = '3/1m'", "methods.x.rate", "never reached"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_shipped_policy_has_no_findings(kind: str) -> None:
    assert check(load_policy(kind)) == ()


@pytest.mark.parametrize(
    ("level", "kind", "text", "key", "words"),
    [(Level.ERROR, *case) for case in ERRORS] + [(Level.WARNING, *case) for case in WARNINGS],
)
def test_a_finding_names_level_key_and_line(level: Level, kind: str, text: str, key: str, words: str) -> None:
    found = check(load_policy(kind, parse(text, file="own.toml")))
    matching = [each for each in found if each.fault.key == key and words in each.fault.message]
    assert [each.level for each in matching] == [level], [str(each) for each in found]
    assert matching[0].fault.line is not None


def test_errors_stop_and_warnings_do_not() -> None:
    assert len(require_sound(load_policy("iri", parse("default = 'allow'", file="own.toml")))) == 1
    with pytest.raises(BadDocument, match="admin method is open"):
        require_sound(load_policy("iri", parse("[methods.addNeighbors]\ndeny = false", file="own.toml")))


def test_an_admin_method_may_be_open_to_the_keys_that_name_it() -> None:
    text = f"""
[client]
key_required = true
[keys.ops]
hash = "{HASH}"
methods = ["getNeighbors"]
[methods.getNeighbors]
deny = false
"""
    assert check(load_policy("iri", parse(text, file="own.toml"))) == ()


@pytest.mark.parametrize("rule", ["type = 'integer'", "type = 'quantity'", "max = 1024", "min = 0"])
def test_a_price_by_value_is_sound_where_only_numbers_are_let_through(rule: str) -> None:
    text = f"[methods.x]\ncost = {{ per_value = {{ a = 2 }} }}\n[methods.x.args]\na = {{ {rule} }}"
    assert check(load_policy("iri", parse(text, file="own.toml"))) == ()
