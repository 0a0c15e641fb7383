"""`nodegate policy`: no daemon is needed to look, check, compare, try and replay."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from access_lines import raw, refused
from daemon_double import Command, DaemonDouble
from nodegate.cli import load
from nodegate.documents import parse
from nodegate.policy.document import load_policy
from nodegate.policy.limits import GATEWAY_RULES
from nodegate.policy.values import Policy
from support import free_port

HONEST = [
    '{"command":"getNodeInfo"}',
    '{ "command" : "getTips" }',
    '{"command":"getBalances","addresses":["' + "A" * 81 + '"],"threshold":100}',
    '{"command":"getTransactionsToApprove","depth":3}',
]
ATTACKS = {
    '{"command":"getTransactionsToApprove","depth":9999}': "arg-value",
    '{"command":"getTransactionsToApprove","depth":3,"reference":"' + "9" * 80 + '"}': "arg-value",
    '{"depth":3,"command":"addNeighbors","uris":[]}': "method-denied",
    '{"command":"get\\u004eodeInfo"}': "json-escape",
    '{"command":"getNodeInfo","command":"addNeighbors"}': "json-duplicate",
    '{"command":"GETNODEINFO"}': "method-unknown",
    '{"command":"getNodeInfo"} x': "json-trailing",
    "{command:getNodeInfo}": "json-syntax",
    "[" * 50: "json-depth",
    "": "body-empty",
}


def words(text: str) -> str:
    """The text with single spaces."""
    return " ".join(text.split())


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.toml"
    file.write_text('kind = "iri"\n\n[methods.getTips]\ndeny = true\n')
    return file


@pytest.mark.parametrize("body", HONEST)
def test_honest_bodies_are_allowed_with_their_price(command: Command, body: str):
    done = command("policy", "try", "--kind", "iri", "--body", body, "--json")
    document = json.loads(done.out)
    assert (done.code, document["verdict"]) == (0, "allow")
    assert document["cost"] >= 1
    assert document["lane"]
    assert document["budget"]["10s"]["units"] == 6000
    assert document["budget"]["10s"]["share"] == round(document["cost"] / 6000, 4)


@pytest.mark.parametrize(("body", "rule"), ATTACKS.items())
def test_attacks_are_refused_by_name(command: Command, body: str, rule: str):
    document = json.loads(command("policy", "try", "--kind", "iri", "--body", body, "--json").out)
    assert (document["verdict"], document["rule"]) == ("refuse", rule)
    assert document["reason"]


def test_headers_that_every_client_sends_are_assumed_unless_bare(command: Command):
    body = ("policy", "try", "--kind", "iri", "--body", HONEST[0], "--json")
    assert json.loads(command(*body).out)["assumed"] == {"X-IOTA-API-Version": "1"}
    assert json.loads(command(*body, "--bare").out)["rule"] == "header-required"
    given = json.loads(command(*body, "--header", "x-iota-api-version: 1").out)
    assert (given["assumed"], given["verdict"]) == ({}, "allow")
    malformed = json.loads(command(*body, "--header", "X-IOTA-API-Version: 1;").out)
    assert malformed["rule"] == "header-malformed"


def test_a_trial_by_a_document_knows_networks_and_keys(command: Command, tmp_path: Path):
    digest = hashlib.sha256(b"sesame").hexdigest()
    file = tmp_path / "own.toml"
    file.write_text(
        'kind = "iri"\n[client]\ndenied = ["2001:db8::/32"]\ntrusted = ["192.0.2.0/24"]\n'
        f'[keys.bob]\nhash = "{digest}"\nper_10s = 10\n'
    )
    tips = ("policy", "try", "--policy", str(file), "--body", HONEST[1], "--json")
    assert json.loads(command(*tips, "--from", "2001:db8::1").out)["rule"] == "network-denied"
    trusted = json.loads(command(*tips, "--from", "192.0.2.4").out)
    assert (trusted["client"]["trusted"], trusted["budget"]) == (True, {})
    keyed = json.loads(command(*tips, "--header", "X-Api-Key: sesame").out)
    assert keyed["client"]["key"] == "bob"
    assert keyed["budget"]["10s"] == {"units": 10, "share": 5.0, "requests": 0}
    assert json.loads(command(*tips, "--header", "X-Api-Key: guess").out)["rule"] == "key-unknown"


def test_an_open_range_needs_a_head(command: Command):
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [{"fromBlock": "0x64", "toBlock": "latest"}]}  # fmt: skip
    trial = ("policy", "try", "--kind", "evm", "--body", json.dumps(call), "--json")
    assert json.loads(command(*trial).out)["rule"] == "range-open"
    assert json.loads(command(*trial, "--height", "150").out)["verdict"] == "allow"
    assert json.loads(command(*trial, "--height", "99999").out)["rule"] == "range-size"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--body", "{}"), "--kind iri"),
        (("--kind", "iri", "--header", "no colon"), "NAME: VALUE"),
        (("--kind", "iri", "--from", "here"), "not an IP address"),
        (("--kind", "iri", "--body", "@/no/such/file"), "cannot be read"),
    ],
)
def test_a_trial_that_cannot_be_made_says_why(command: Command, arguments: tuple[str, ...], why: str):
    done = command("policy", "try", *arguments)
    assert (done.code, why in done.err) == (3, True)


def test_a_script_can_demand_a_verdict(command: Command):
    trial = ("policy", "try", "--kind", "iri", "--body", HONEST[0], "--expect")
    assert command(*trial, "allow").code == 0
    assert command(*trial, "refuse").code == 1


def test_a_body_may_come_from_a_file_with_any_bytes(command: Command, tmp_path: Path):
    (tmp_path / "body").write_bytes(b'{"command":"\xff"}')
    done = command("policy", "try", "--kind", "iri", "--body", f"@{tmp_path / 'body'}", "--json")
    assert json.loads(done.out)["rule"] == "body-utf8"


def test_a_body_may_come_from_standard_input(command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b'{"command":"getNeighbors"}')))
    done = command("policy", "try", "--kind", "iri", "--body", "@-", "--json")
    assert json.loads(done.out)["rule"] == "method-denied"


def test_show_tells_every_method_in_words_and_in_json(command: Command):
    text = command("policy", "show", "--kind", "iri")
    assert text.code == 0
    row = next(line for line in text.out.splitlines() if line.startswith("getTransactionsToApprove"))
    assert (
        words(row)
        == "getTransactionsToApprove yes heavy 200 + 20 times depth 10 in 10 s, 30 in 1 min - 20 s "
        "getTransactionsToApprove (1 a node)"
    )
    assert "addNeighbors" in text.out
    assert "no gateway runs here" in text.out
    document = json.loads(command("policy", "show", "--json").out)
    assert [each["kind"] for each in document["policies"]] == ["evm", "http", "iri"]
    assert Policy.model_validate(document["policies"][2]["policy"]) == load_policy("iri").policy
    allowed = {row["method"]: row["allowed"] for row in document["policies"][2]["methods"]}
    assert (allowed["getNodeInfo"], allowed["addNeighbors"]) == (True, False)


def test_show_can_preview_a_document(command: Command, own: Path):
    document = json.loads(command("policy", "show", "--file", str(own), "--json").out)["policies"][0]
    assert next(row for row in document["methods"] if row["method"] == "getTips")["allowed"] is False


def test_check_names_file_line_and_key_and_only_errors_fail(command: Command, tmp_path: Path, own: Path):
    assert command("policy", "check", str(own)).code == 0
    bad = tmp_path / "bad.toml"
    bad.write_text('kind = "iri"\n\n[methods.getTips]\ncosst = 3\n')
    done = command("policy", "check", str(bad))
    assert done.code == 3
    assert f"{bad}:4: error: methods.getTips.cosst: unknown key" in done.out
    findings = json.loads(command("policy", "check", str(bad), "--json").out)["findings"]
    assert [(row["level"], row["line"], row["key"]) for row in findings] == [
        ("error", 4, "methods.getTips.cosst")
    ]
    warned = tmp_path / "warned.toml"
    warned.write_text('kind = "iri"\ndefault = "allow"\n')
    soft = command("policy", "check", str(warned))
    assert soft.code == 0
    assert f"{warned}:2: warning: default" in soft.out
    nothing = command("policy", "check", str(tmp_path / "none.toml"), "--json")
    assert (nothing.code, json.loads(nothing.out)["ok"]) == (3, False)


def test_diff_says_in_words_what_would_change(command: Command, own: Path):
    done = command("policy", "diff", str(own))
    assert (done.code, words(done.out)) == (0, "methods.getTips closes closed, was open")
    same = command("policy", "diff", str(own), "--against", str(own))
    assert (same.out, "nothing changes" in same.err) == ("", True)


def test_keygen_shows_a_key_once_and_the_line_for_the_policy(command: Command):
    done = command("policy", "keygen", "wallet")
    secret, toml = done.out.split("\n", 1)
    loaded = load_policy("iri", parse(toml, file="own.toml"))
    assert loaded.policy.keys["wallet"].hash == hashlib.sha256(secret.encode()).hexdigest()
    assert len(secret) >= 40
    assert command("policy", "keygen", "wallet").out.split("\n")[0] != secret
    dotted = command("policy", "keygen", "a.b").out.split("\n", 1)[1]
    assert "a.b" in load_policy("iri", parse(dotted, file="own.toml")).policy.keys
    assert command("policy", "keygen", "no such name").code == 3


def test_replay_streams_a_log_and_counts_what_it_cannot_judge(command: Command, own: Path, tmp_path: Path):
    log = tmp_path / "access.log"
    lines = [
        raw(0),
        raw(1, method="getTips", cost=50, **{"class": "heavy"}),
        b"broken",
        refused(2, rule="json-syntax"),
        raw(3, kind="evm"),
    ]
    log.write_bytes(b"\n".join(lines) + b"\n")
    done = command("policy", "replay", str(log), str(own), "--json")
    document = json.loads(done.out)
    assert (document["requests"], document["now_refused"], document["malformed"]) == (3, 1, 1)
    assert (document["other_kinds"], document["agrees"]) == (1, 3)
    assert document["first"] == "2026-01-02T03:03:04.000+00:00"
    assert list(document["methods"]) == ["getTips"]
    text = command("policy", "replay", str(log), str(own)).out
    assert "now refused" in text
    assert "method-denied 1" in text
    assert "1 lines could not be read" in text


def test_replay_of_what_is_no_log_fails(command: Command, own: Path, tmp_path: Path):
    assert command("policy", "replay", str(tmp_path / "none"), str(own)).code == 4
    wrong = command("policy", "replay", str(own), str(own))
    assert (wrong.code, "no access log" in wrong.err) == (8, True)


def test_the_shipped_policy_can_be_asked_for_although_a_gateway_left_its_address(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "admin").write_text(f"http://127.0.0.1:{free_port()}\n")
    (tmp_path / "token").write_text("t\n")
    monkeypatch.setenv("NODEGATE_STATE", str(tmp_path))
    trial = ("policy", "try", "--kind", "iri", "--body", HONEST[0])
    assert command(*trial).code == 4
    assert command(*trial, "--policy", "shipped").code == 0


# ---- the task page -------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[3] / "docs" / "firewall.md").read_text(encoding="utf-8")


BLOCKS = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize("text", re.findall(r"^nodegate (.+?)(?:\s+#.*)?$", BLOCKS, re.MULTILINE))
def test_every_command_of_the_page_exists_with_its_options(text: str):
    words = shlex.split(text)
    found: Any = load(words[0])
    rest = words[1:]
    while rest and rest[0] in getattr(found, "commands", {}):
        found, rest = found.commands[rest[0]], rest[1:]
    assert not getattr(found, "no_args_is_help", False) or rest, "a group alone shows its help"
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_the_page_names_every_rule_that_is_not_the_guards():
    assert [rule for rule in sorted(GATEWAY_RULES - {"connections"}) if f"`{rule}`" not in PAGE] == []


# ---- with a gateway ------------------------------------------------------------------------------------


def test_apply_says_what_changes_and_the_version_in_force(
    command: Command, daemon: DaemonDouble, state: Path, own: Path
):
    done = command("policy", "apply", str(own))
    assert done.code == 0, done.err
    assert words(done.out) == "methods.getTips closes closed, was open"
    assert f"version {daemon.policies.version('iri')} is in force, without a reload" in done.err
    assert "nothing changes" in command("policy", "diff", str(own)).err
    shown = json.loads(command("policy", "show", "--json").out)["policies"]
    assert [(each["kind"], each["version"]) for each in shown] == [("iri", daemon.policies.version("iri"))]
    trial = command("policy", "try", "--kind", "iri", "--body", HONEST[1], "--json")
    assert json.loads(trial.out)["rule"] == "method-denied"
    assert command("policy", "reset", "iri").code == 0
    assert daemon.policies.operator("iri") is None


def test_a_document_without_its_kind_is_applied_to_the_one_that_is_named(
    command: Command, daemon: DaemonDouble, state: Path, tmp_path: Path
):
    bare = tmp_path / "bare.toml"
    bare.write_text("[methods.getTips]\ndeny = true\n")
    assert command("policy", "apply", str(bare)).code == 3
    assert command("policy", "apply", str(bare), "--kind", "iri").code == 0
    assert daemon.policies.loaded("iri").policy.methods["getTips"].deny


def test_errors_stop_an_apply_with_their_lines(
    command: Command, daemon: DaemonDouble, state: Path, tmp_path: Path
):
    before = daemon.policies.version("iri")
    bad = tmp_path / "bad.toml"
    bad.write_text('kind = "iri"\n[budget]\nper_10s = 1\n')
    done = command("policy", "apply", str(bad))
    assert done.code == 3
    assert "methods.getTips.cost" in done.err
    assert daemon.policies.version("iri") == before
    daemon.policies.refusal = "HAProxy did not take the map"
    bad.write_text('kind = "iri"\n[budget]\nban_after = 1\n')
    refusal = command("policy", "apply", str(bad))
    assert (refusal.code, "did not take" in refusal.err) == (5, True)


@pytest.mark.parametrize(
    "arguments", [("try", "--policy", "shipped", "--kind", "iro"), ("show", "--kind", "iro")]
)
def test_a_kind_that_no_node_has_is_said_and_gets_no_other_kinds_policy(
    command: Command, arguments: tuple[str, ...]
):
    done = command("policy", *arguments)
    assert done.code == 3
    assert "--kind: there are no nodes of kind 'iro'; known are evm, http, iri" in words(done.err)


def test_a_document_for_a_kind_that_no_node_has_is_a_finding(command: Command, tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text('# mine\nkind = "iro"\n')
    done = command("policy", "check", str(file), "--json")
    (finding,) = json.loads(done.out)["findings"]
    assert (done.code, finding["line"], finding["key"], finding["level"]) == (3, 2, "kind", "error")
