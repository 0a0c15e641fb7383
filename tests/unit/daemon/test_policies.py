"""Policies as the daemon holds them: loaded once, compiled for HAProxy, replaced as a whole or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nodegate.daemon.enforcement import enforce, lanes_of
from nodegate.daemon.policies import Policies
from nodegate.documents import parse
from nodegate.errors import BadDocument, Conflict, NotFound, Refused
from nodegate.haproxy.guarded import ACCOUNTS, LIMITS, UNLIMITED, Guarded, why_reload
from nodegate.haproxy.refusals import GATEWAY_ANSWERS, STATUSES, SUSPECT
from nodegate.policy.document import load_policy
from nodegate.policy.reasons import RULES
from nodegate.policy.values import Policy
from nodegate.settings import Settings


class Obedient:
    """A data plane that takes what it is given, unless told to refuse."""

    def __init__(self) -> None:
        self.given: list[Guarded] = []
        self.refuse = False

    async def set_policies(self, guarded: Guarded) -> str:
        self.given.append(guarded)
        if self.refuse and len(self.given) == 1:
            raise Refused("no")
        return ""

    async def obeys(self, kind: str, version: str) -> bool:
        return self.given[-1].policies[kind].version == version


def changed(toml: str, kind: str = "iri") -> Policy:
    return load_policy(kind, parse(f'kind = "{kind}"\n{toml}', file="own.toml")).policy


def policies(place: Path, driver: Obedient | None = None, **pools: object) -> Policies:
    found = Policies(Settings.model_validate({"pools": pools}), place / "policies", driver or Obedient())
    found.guarded({name: str(pool["kind"]) for name, pool in pools.items()})  # type: ignore[index]
    return found


def test_iri_and_evm_are_guarded_by_default_and_others_are_not(tmp_path: Path) -> None:
    found = Policies(Settings(), tmp_path, Obedient())
    guarded = found.guarded({"main": "iri", "chain": "evm", "web": "http"})
    assert guarded.kinds == {"main": "iri", "chain": "evm"}
    assert found.kinds() == ("evm", "iri")
    with pytest.raises(NotFound):
        found.loaded("http")


def test_settings_turn_a_policy_off_or_on(tmp_path: Path) -> None:
    found = policies(
        tmp_path, main={"kind": "iri", "policy": "off"}, web={"kind": "http", "policy": "default"}
    )
    assert found.kinds() == ("http",)


def test_the_document_of_the_state_directory_lies_over_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "iri.toml").write_text('kind = "iri"\n[methods.getNodeInfo]\ncost = 9\n')
    found = policies(tmp_path, main={"kind": "iri"})
    assert found.loaded("iri").policy.methods["getNodeInfo"].cost.base == 9
    assert found.operator("iri") is not None
    assert found.faults == ()


def test_a_faulty_document_is_said_and_the_shipped_policy_guards(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "iri.toml").write_text('kind = "iri"\nnonsense = 1\n')
    found = policies(tmp_path, main={"kind": "iri"})
    assert "nonsense" in found.faults[0]
    assert found.version("iri") == enforce(load_policy("iri").policy).version


async def test_what_is_applied_is_on_disk_and_in_force_and_can_be_withdrawn(tmp_path: Path) -> None:
    found = policies(tmp_path, main={"kind": "iri"})
    shipped = found.version("iri")
    applied = await found.apply(parse('kind = "iri"\n[methods.getNodeInfo]\ncost = 9\n', file="x"))
    assert (applied.before, found.version("iri")) == (shipped, applied.version)
    assert "cost = 9" in (tmp_path / "policies" / "iri.toml").read_text()
    assert policies(tmp_path, main={"kind": "iri"}).version("iri") == applied.version
    assert (await found.withdraw("iri")).version == shipped
    assert not (tmp_path / "policies" / "iri.toml").exists()


@pytest.mark.parametrize(
    "toml", ["[budget]\nper_10s = 5000\n", '[client]\ntrusted_proxies = ["10.0.0.0/8"]\n', "[classes.heavy]\nqueue_timeout = 3\n"]
)  # fmt: skip
async def test_an_apply_waits_for_what_the_guards_program_does_not_hold_too(
    tmp_path: Path, toml: str
) -> None:
    found = policies(tmp_path, main={"kind": "iri"})
    applied = await found.apply(parse(f'kind = "iri"\n{toml}', file="x"))
    assert applied.version != applied.before


async def test_of_two_applies_at_once_each_tells_what_it_changed(tmp_path: Path) -> None:
    found = policies(tmp_path, main={"kind": "iri"})
    documents = [
        parse(f'kind = "iri"\n[methods.getNodeInfo]\ncost = {cost}\n', file="x") for cost in (3, 4, 4)
    ]
    first, second, third = await asyncio.gather(*(found.apply(document) for document in documents))
    assert (second.before, third.before) == (first.version, second.version)
    assert [[change.text for change in each.changes] for each in (first, second, third)] == [
        ["cost: 3 units, was 1 unit"], ["cost: 4 units, was 3 units"], [],
    ]  # fmt: skip


async def test_a_refusal_of_the_data_plane_leaves_all_as_it_was(tmp_path: Path) -> None:
    driver = Obedient()
    driver.refuse = True
    found = policies(tmp_path, driver, main={"kind": "iri"})
    before = found.version("iri")
    with pytest.raises(Refused):
        await found.apply(parse('kind = "iri"\n[methods.getNodeInfo]\ncost = 9\n', file="x"))
    assert found.version("iri") == before
    assert driver.given[-1].policies["iri"].version == before
    assert not (tmp_path / "policies" / "iri.toml").exists()


async def test_errors_stop_an_apply_and_a_named_file_is_not_ours(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('kind = "iri"\n[methods.getNodeInfo]\ncost = 3\n')
    named = policies(tmp_path, main={"kind": "iri", "policy": str(own)})
    assert named.loaded("iri").policy.methods["getNodeInfo"].cost.base == 3
    with pytest.raises(Conflict, match=r"own\.toml"):
        await named.apply(parse('kind = "iri"\n', file="x"))
    free = policies(tmp_path, main={"kind": "iri"})
    with pytest.raises(BadDocument):
        await free.apply(parse('kind = "iri"\n[methods.addNeighbors]\ndeny = false\n', file="x"))
    with pytest.raises(NotFound):
        await free.apply(parse('kind = "evm"\n', file="x"))


def test_every_status_of_a_rule_has_an_answer() -> None:
    statuses = {status for status, _ in RULES.values()} | {
        status for status, _, _ in GATEWAY_ANSWERS.values()
    }
    assert statuses <= {*STATUSES, 503}
    for rule in GATEWAY_ANSWERS.keys() & RULES.keys():
        assert GATEWAY_ANSWERS[rule][0] == RULES[rule][0]
    assert set(SUSPECT) <= RULES.keys() | GATEWAY_ANSWERS.keys()


def test_no_limit_is_a_number_that_nobody_reaches() -> None:
    maps = enforce(changed("[budget]\nban_after = 0\nper_10s = 70\n[client]\nmax_concurrent = 7\n")).maps
    assert maps[LIMITS]["iri/ban/after"] == str(UNLIMITED)
    assert maps[ACCOUNTS]["iri"] == "7|70|18000|0"


def test_a_key_has_limits_of_its_own_and_the_others_of_its_policy() -> None:
    key = f'[keys.reader]\nhash = "{"ab" * 32}"\nper_10s = 9000\n[client]\nkey_required = true\n'
    accounts = enforce(changed(key)).maps[ACCOUNTS]
    open_to_all, of_key = (accounts[name].split("|") for name in ("iri", "iri/key/reader"))
    assert of_key[1] == "9000"
    assert (of_key[0], of_key[2], of_key[3]) == (open_to_all[0], open_to_all[2], "1")


def test_ipv6_addresses_that_hold_a_listed_ipv4_address_have_entries_of_their_own() -> None:
    maps = enforce(changed('[client]\ntrusted = ["192.0.2.0/24"]\ntrusted_proxies = ["10.0.0.0/8"]\n')).maps
    relatives = {"2002::/16": "open", "::/96": "open"}
    assert maps["networks-iri"] == relatives | {"192.0.2.0/24": "trusted"}
    assert maps["proxies-iri"] == relatives | {"10.0.0.0/8": "1"}
    assert enforce(changed('[client]\ntrusted = ["2002::/16"]\n')).maps["networks-iri"] == {
        "2002::/16": "trusted"
    }


def test_listed_networks_close_all_others() -> None:
    networks = enforce(changed('[client]\nallowed = ["192.0.2.0/24"]\n')).maps["networks-iri"]
    assert networks == {"0.0.0.0/0": "closed", "::/0": "closed", "192.0.2.0/24": "allowed"}


def test_the_widest_ceiling_on_connections_counts_for_all_kinds() -> None:
    few, many = (changed(f"[client]\nmax_connections = {n}\n", kind) for n, kind in ((3, "iri"), (9, "evm")))
    guarded = Guarded(kinds={"a": "iri", "b": "evm"}, policies={"iri": enforce(few), "evm": enforce(many)})
    assert guarded.maps()[LIMITS]["connections"] == "9"
    assert lanes_of(guarded)["a"]["getTransactionsToApprove"] == 1


@pytest.mark.parametrize(
    ("toml", "word"),
    [
        ("[methods.getNodeInfo]\nconcurrency = 2\n", "getNodeInfo"),
        ("[classes.heavy]\nqueue_timeout = 3\n", "wait"),
        ("[body]\nmax_bytes = 90000\n", "largest"),
        ('[client]\ntrusted_proxies = ["192.0.2.1/32"]\n', "proxy"),
    ],
)
def test_a_reload_has_its_reason(toml: str, word: str) -> None:
    before, after = (
        Guarded(kinds={"main": "iri"}, policies={"iri": enforce(policy)})
        for policy in (changed(""), changed(toml))
    )
    assert word in why_reload(before, after)
