"""A node's pinned address: kept by records, and the only one that is asked and that serves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon_double import T0, SetClock
from gateway import quick_lab
from nodegate.errors import BadDocument
from nodegate.model import Inventory, Judgement, Node, Reading, Status, Verdict
from nodegate.probe.once import probe_once
from nodegate.protocols import adapters
from nodegate.registry.records import document_of, new_node, read_record, revise, write_record
from nodegate.routing.plan import desired
from nodegate.settings import ProbeSettings, Settings

NODE = Node(id="n", url="http://node.invalid:14265", kind="iri", address="8.8.8.8")


def test_a_record_keeps_it_and_one_without_it_is_as_it_always_was() -> None:
    assert read_record(write_record(NODE), node_id="n", version=3) == replace(NODE, version=3)
    assert "address" not in document_of(replace(NODE, address=None))


def test_a_new_url_does_not_keep_the_address_of_the_old_one() -> None:
    assert revise(NODE, {"weight": 3}, adapters()).address == "8.8.8.8"
    assert revise(NODE, {"url": "http://other.example:14265"}, adapters()).address is None


@pytest.mark.parametrize("address", ["node.example", "", "fe80::1%eth0", "8.8.8.8/32", "8.8.8"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadDocument, match="address"):
        new_node({"url": NODE.url, "kind": "iri", "address": address}, adapters())


async def test_a_name_that_does_not_resolve_is_asked_at_its_pinned_address() -> None:
    async with quick_lab() as lab:
        [real] = await lab.start(1)
        port = real.url.rpartition(":")[2]
        node = replace(NODE, url=f"http://node.invalid:{port}", address="127.0.0.1")
        observation = await probe_once(adapters()["iri"], node, ProbeSettings(), SetClock())
    assert isinstance(observation.outcome, Reading)
    assert observation.address == "127.0.0.1"


def test_what_serves_is_the_pinned_address_whatever_a_former_probe_proved() -> None:
    verdict = Verdict(node_id="n", status=Status.UP, since=T0, address="192.0.2.9")
    wanted = desired(
        Inventory(nodes=(NODE,), index=1, read_at=T0), Judgement(verdicts={"n": verdict}), None,
        settings=Settings(), skeleton="s", maps={},
    )  # fmt: skip
    assert [server.address for server in wanted.servers.values()] == ["8.8.8.8"]
