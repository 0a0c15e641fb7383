"""Records and services of Consul's as nodes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.catalog import Check, Instance
from nodegate.consul.kv import Entry
from nodegate.errors import Malformed
from nodegate.model import Intent, Node, Source
from nodegate.registry.consulnodes import (
    MARKER,
    NODES,
    RECORD,
    Assembled,
    Before,
    Records,
    Stored,
    assemble,
    places_of,
    read_records,
    read_stored,
    write_stored,
)
from nodegate.settings import FabioSettings

OWN = Node(id="own", url="http://10.0.0.1:1", kind="iri", version=7)
PASSING = Check(id="c", name="c", status="passing", service_id="their")
CRITICAL = Check(id="c", name="c", status="critical", service_id="their")
LOST = Check(id="serfHealth", name="serf", status="critical")


def instance(name: str = "their", **changes: Any) -> Instance:
    fields: dict[str, Any] = {
        "service": "iri", "id": name, "node": "n", "address": "10.0.0.2", "port": 14265, "checks": (PASSING,),
        "meta": {"nodegate-kind": "iri"},
    }  # fmt: skip
    return Instance(**{**fields, **changes})


def records(*nodes: Node) -> Records:
    return Records(stored={node.id: Stored(node=node, agent="n") for node in nodes})


def assembled(instances: list[Instance], *nodes: Node, **options: Any) -> Assembled:
    return assemble(records(*nodes), instances, FabioSettings(**options))


def entry(value: bytes, node_id: str = "own", version: int = 7) -> Entry:
    return Entry(key=NODES + node_id, value=value, version=version)


def test_a_record_comes_back_with_its_agent_and_without_what_is_not_stored() -> None:
    node = Node(id="own", url="http://10.0.0.1:1", kind="iri", options={"ü": 1}, failing="now", weight=3)
    found = read_stored(entry(write_stored(node, "agent-1")))
    assert found == Stored(node=Node(**{**_fields(node), "failing": "", "version": 7}), agent="agent-1")


def _fields(node: Node) -> dict[str, Any]:
    return {name: getattr(node, name) for name in Node.__dataclass_fields__}


@pytest.mark.parametrize("value", [b"", b"x", b"[]", b"{}", b'{"agent": "a"}', b'{"format": 9}', b"\xff"])
def test_a_record_that_cannot_be_understood_is_a_fault_that_names_it(value: bytes) -> None:
    with pytest.raises(Malformed, match="own"):
        read_stored(entry(value))
    found = read_records({NODES + "own": entry(value)}, {})
    assert found.stored == {}
    assert len(found.faults) == 1
    assert found.faults[0].endswith("; mend Consul's key nodegate/nodes/own, or delete it")


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_no_bytes_of_a_record_do_any_harm(value: bytes) -> None:
    good = entry(write_stored(OWN, "n"))
    found = read_records({NODES + "bad": entry(value, "bad"), good.key: good}, {})
    assert found.stored["own"].node == OWN


def test_the_marker_is_no_node_and_an_unchanged_record_is_not_read_again() -> None:
    good = entry(write_stored(OWN, "n"))
    first = read_records({MARKER: Entry(key=MARKER, value=b"{}", version=1), good.key: good}, {})
    assert list(first.stored) == ["own"]
    again = read_records({good.key: good}, {good.key: (good, first.stored["own"])})
    assert again.stored["own"] is first.stored["own"]


def test_meta_makes_a_node_of_a_service() -> None:
    meta = {
        "nodegate-kind": "evm", "nodegate-pool": "eth", "nodegate-scheme": "https", "nodegate-path": "/rpc",
        "nodegate-tls_verify": "false", "nodegate-maxconn": "9", "nodegate-chain_id": "1", "nodegate-note": "01",
        "nodegate-flag": "true", "other": "x",
    }  # fmt: skip
    (node,) = assembled([instance("a/b", meta=meta, weights_passing=500)]).nodes
    assert node == Node(
        id="a-b", url="https://10.0.0.2:14265/rpc", kind="evm", pool="eth", tls_verify=False, maxconn=9, weight=256,
        source=Source.SERVICE, options={"chain_id": 1, "note": "01", "flag": True},
    )  # fmt: skip


def test_what_did_not_change_stays_the_same_object_whatever_it_is_made_of() -> None:
    before = Before()
    drained = Node(
        id="b", url="http://x:1", kind="iri", intent=Intent.DRAIN, source=Source.SERVICE, version=3
    )
    stored = records(OWN, drained)
    picture = instance("nodegate-own", meta={"nodegate-record": "own", "nodegate-kind": "iri"})
    tagged = instance("t", meta={}, tags=("urlprefix-/t",))
    first = assemble(stored, [picture, instance("a"), instance("b"), tagged], FabioSettings(), before)
    a_now = instance("a", checks=(CRITICAL,))
    again = assemble(stored, [picture, a_now, instance("b"), tagged], FabioSettings(), before)
    assert [node.id for node in again.nodes] == ["a", "b", "own", "t"]
    same = [now is was for now, was in zip(again.nodes, first.nodes, strict=True)]
    assert same == [False, True, True, True]
    assert again == assemble(stored, [picture, a_now, instance("b"), tagged], FabioSettings())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_working_on_from_what_was_known_gives_what_a_fresh_look_would(data: st.DataObject) -> None:
    before = Before()
    checks = st.sampled_from([(), (PASSING,), (CRITICAL,)])
    metas = st.sampled_from(
        [{"nodegate-kind": "iri"}, {"nodegate-kind": "a b"}, {"nodegate-record": "own"}, {}]
    )
    for _ in range(data.draw(st.integers(1, 4))):
        found = [
            instance(name, node=node, checks=data.draw(checks), meta=data.draw(metas), port=data.draw(st.integers(0, 2)))
            for name in ("a", "own")
            for node in ("n", "m")
            if data.draw(st.booleans())
        ]  # fmt: skip
        intent = data.draw(st.sampled_from(Intent))
        service = Node(id="a", url="http://x:1", kind="iri", intent=intent, source=Source.SERVICE, version=4)
        stored = records(*data.draw(st.sampled_from([(), (OWN,), (service,), (OWN, service)])))
        assert assemble(stored, found, FabioSettings(), before) == assemble(stored, found, FabioSettings())


def test_services_without_a_kind_and_without_tags_are_left_alone() -> None:
    assert assembled([instance(meta={"x": "y"}), instance("b", meta={}, tags=("web",))]) == assembled([])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"meta": {"nodegate-kind": "iri", "nodegate-scheme": "ftp"}}, "nodegate-scheme"),
        ({"meta": {"nodegate-kind": "iri", "nodegate-weight": "300"}}, "nodegate-weight"),
        ({"meta": {"nodegate-kind": "iri", "nodegate-pool": "a b"}}, "nodegate-pool"),
        ({"port": 0}, "URL"),
        ({"address": "no host"}, "host"),
    ],
)
def test_a_service_that_cannot_be_meant_so_is_a_fault_and_touches_no_other(
    changes: dict[str, Any], words: str
) -> None:
    found = assembled([instance("bad", **changes), instance("good")])
    assert [node.id for node in found.nodes] == ["good"]
    (fault,) = found.faults
    assert "'bad'" in fault
    assert words in fault


def test_instances_of_one_name_on_two_consul_nodes_are_two_nodes() -> None:
    found = assembled([instance("a"), instance("a", node="m", port=2)])
    assert {node.id: node.url for node in found.nodes} == {
        "a": "http://10.0.0.2:2",
        "a-n": "http://10.0.0.2:14265",
    }
    assert places_of(found.nodes, [instance("a"), instance("a", node="m", port=2)], "n") == {"a-n": "a"}
    assert places_of(found.nodes, [instance("a"), instance("a", node="m", port=2)], "m") == {"a": "a"}


def test_a_critical_check_speaks_against_a_node_and_maintenance_drains_it() -> None:
    (node,) = assembled([instance(checks=(CRITICAL,))]).nodes
    assert "critical" in node.failing
    maintenance = Check(id="_service_maintenance:their", name="m", status="critical", service_id="their")
    (node,) = assembled([instance(checks=(PASSING, maintenance))]).nodes
    assert (node.intent, node.failing) == (Intent.DRAIN, "")


def test_a_verdict_of_nodegate_does_not_confirm_itself() -> None:
    verdict = Check(id="_nodegate_verdict:their", name="v", status="critical", service_id="their")
    (node,) = assembled([instance(checks=(PASSING, verdict))]).nodes
    assert node.failing == ""


def test_the_key_of_a_service_holds_its_intent_and_nothing_else() -> None:
    kept = Node(
        id="their",
        url="http://old:1",
        kind="http",
        intent=Intent.DRAIN,
        source=Source.SERVICE,
        version=9,
        weight=1,
    )
    (node,) = assembled([instance()], kept).nodes
    assert (node.intent, node.version, node.url, node.kind) == (
        Intent.DRAIN,
        9,
        "http://10.0.0.2:14265",
        "iri",
    )
    assert assembled([], kept).nodes == ()


def test_a_record_wins_over_a_service_of_the_same_id_and_it_is_said() -> None:
    found = assembled([instance("own")], OWN)
    assert found.nodes == (OWN,)
    assert "'own'" in found.faults[0]


def test_the_service_of_a_record_is_no_second_node_but_its_checks_count() -> None:
    failing = replace(CRITICAL, output="connection refused")
    picture = instance("nodegate-own", meta={RECORD: "own", "nodegate-kind": "iri"}, checks=(failing,))
    (node,) = assembled([picture], OWN).nodes
    assert node.id == "own"
    assert "critical" in node.failing


def test_a_check_that_has_not_run_yet_says_nothing_about_a_node_that_nodegate_registered() -> None:
    picture = instance("nodegate-own", meta={RECORD: "own"}, checks=(CRITICAL,))
    assert assembled([picture], OWN).nodes == (OWN,)


def test_a_lost_agent_says_nothing_about_the_nodes_that_were_registered_on_it() -> None:
    picture = instance("nodegate-own", meta={RECORD: "own"}, checks=(CRITICAL,), node_checks=(LOST,))
    assert assembled([picture], OWN).nodes == (OWN,)


def test_a_service_whose_record_is_gone_is_no_node() -> None:
    assert assembled([instance("nodegate-own", meta={RECORD: "own", "nodegate-kind": "iri"})]).nodes == ()


def test_tags_make_nodes_too() -> None:
    found = assembled([instance("web", tags=("urlprefix-/web",), meta={}), instance("plain")])
    assert [(node.id, node.kind, node.source) for node in found.nodes] == [
        ("plain", "iri", Source.SERVICE), ("web", "http", Source.SERVICE),
    ]  # fmt: skip
    assert len(found.routes) == 1


def test_what_is_stored_is_plain_json() -> None:
    assert json.loads(write_stored(OWN, "n"))["agent"] == "n"
