"""The catalogue of attacks: each has teeth for a bare node, and none passes the shipped policy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from nodegate.cli.lab import lab
from nodegate.errors import Malformed
from nodegate.lab.attack_scripts import Aim, Script
from nodegate.lab.attacks import ATTACKS, Attack
from nodegate.lab.gson import request_map
from nodegate.lab.http1 import Request, RequestReader
from nodegate.lab.tangle import OLD_REFERENCE
from nodegate.policy.document import load_policy
from nodegate.policy.guard import GuardRequest, guard

AIM = Aim(host="127.0.0.1:14265", reference="UNLISTED9".ljust(81, "9"))
POLICY = load_policy("iri").policy
BY_NAME = {attack.name: attack for attack in ATTACKS}
STALL = "getTransactionsToApprove"


def requests(script: Script) -> tuple[list[Request], Malformed | None]:
    """What a node reads of a script, and why it stops reading."""
    reader = RequestReader()
    found = [request for piece in script.pieces for request in reader.feed(piece)]
    return found, reader.malformed


def allowed(request: Request) -> bool:
    """Whether the shipped policy lets it through to a node."""
    verdict = guard(
        POLICY,
        GuardRequest(
            method=request.method,
            target=request.target.encode(),
            headers=[(name, value.encode("latin-1")) for name, value in request.headers.items()],
            body=request.body,
        ),
    )
    return verdict.allowed


def command(request: Request) -> object:
    """The command that a node's lenient parser sees, None when it cannot read the body."""
    try:
        params = request_map(request.body.decode("utf-8", "replace"))
    except Malformed:
        return None
    return None if params is None else params.get("command")


def scripts(name: str) -> tuple[Script, ...]:
    return BY_NAME[name].scripts(AIM)


def test_names_are_unique_and_every_attack_is_bounded() -> None:
    assert len(BY_NAME) == len(ATTACKS)
    for attack in ATTACKS:
        assert attack.scripts(AIM)
        assert 0 < attack.rate <= 500
        assert 1 <= attack.crowd <= 10
        assert attack.words


@pytest.mark.parametrize("attack", [each for each in ATTACKS if each.forbidden], ids=lambda each: each.name)
def test_no_forbidden_request_passes_the_shipped_policy(attack: Attack) -> None:
    for script in attack.scripts(AIM):
        read, malformed = requests(script)
        assert read or malformed
        assert not [request for request in read if allowed(request)]


@pytest.mark.parametrize(
    "name", ["stall", "stall-unlisted", "padding", "key-order", "lenient", "pairs", "chunks"]
)
def test_every_disguise_is_the_stalling_call_to_a_bare_node(name: str) -> None:
    for script in scripts(name):
        read, _ = requests(script)
        assert [command(request) for request in read] == [STALL]


@pytest.mark.parametrize(
    ("name", "at_least"),
    [("escapes", 3), ("duplicates", 1), ("case", 1), ("smuggling", 2), ("encodings", 1)],
)
def test_some_of_these_disguises_are_the_stalling_call_to_a_bare_node(name: str, at_least: int) -> None:
    seen = [command(request) for script in scripts(name) for request in requests(script)[0]]
    assert seen.count(STALL) >= at_least


def test_the_known_stall_has_the_reference_of_2018_and_the_unlisted_one_has_not() -> None:
    (known,), (unlisted,) = scripts("stall"), scripts("stall-unlisted")
    assert json.loads(requests(known)[0][0].body)["reference"] == OLD_REFERENCE
    assert json.loads(requests(unlisted)[0][0].body)["reference"] == AIM.reference


def test_the_unlisted_stall_is_what_wallets_send_too() -> None:
    (script,) = scripts("stall-unlisted")
    assert allowed(requests(script)[0][0])


def test_padding_is_longer_than_haproxys_usual_buffer() -> None:
    assert all(len(script.pieces[0]) > 16_384 for script in scripts("padding"))


@pytest.mark.parametrize("name", ["slow-headers", "slow-body", "connections"])
def test_slow_clients_never_send_a_whole_request(name: str) -> None:
    for script in scripts(name):
        assert requests(script) == ([], None)


def test_the_page_about_attacks_names_them_all_in_their_order_and_every_option() -> None:
    page = (Path(__file__).parents[3] / "docs" / "attacks.md").read_text()
    rows = re.findall(r"^\| `([a-z][a-z-]+)` \|", page, re.MULTILINE)
    assert rows == [attack.name for attack in ATTACKS]
    group: Any = typer.main.get_command(lab)
    options = {option for each in group.commands["attack"].params for option in each.opts if "--" in option}
    documented = set(re.findall(r"^\| `(--[a-z]+)` \|", page, re.MULTILINE))
    assert documented == options - {"--help"}
