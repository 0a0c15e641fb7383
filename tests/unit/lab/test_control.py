from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from nodegate.errors import Unavailable
from nodegate.lab.control import Control
from nodegate.lab.faults import FaultName
from nodegate.lab.lab import Lab


@pytest.fixture
async def control(lab: Lab) -> AsyncIterator[str]:
    await lab.start(2)
    port = Control(lab)
    yield await port.start()
    await port.stop()


async def call(method: str, url: str, **more: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, url, **more) as response:
        return response.status, await response.json() if response.status != 204 else None


async def test_nodes_are_shown_with_their_counters(control: str) -> None:
    status, document = await call("GET", f"{control}/nodes")
    assert status == 200
    assert [node["id"] for node in document["nodes"]] == ["iri-1", "iri-2"]
    assert set(document["nodes"][0]) == {
        "id", "url", "kind", "fault", "height", "requests", "open", "max_open", "accepted",
    }  # fmt: skip
    assert (await call("GET", f"{control}/nodes/iri-2"))[1]["id"] == "iri-2"


async def test_a_fault_is_switched_on_and_off(control: str, lab: Lab) -> None:
    status, node = await call("PUT", f"{control}/nodes/iri-2/fault", json={"fault": "lag", "milestones": 20})
    assert (status, node["fault"]) == (200, {"fault": "lag", "milestones": 20})
    assert lab.node("iri-2").fault is not None
    status, node = await call("DELETE", f"{control}/nodes/iri-2/fault")
    assert (status, node["fault"]) == (200, None)
    assert lab.node("iri-2").fault is None


async def test_nodes_are_added_and_removed(control: str, lab: Lab) -> None:
    status, node = await call("POST", f"{control}/nodes", json={"kind": "evm"})
    assert (status, node["kind"], len(lab.nodes)) == (201, "evm", 3)
    assert (await call("DELETE", f"{control}/nodes/{node['id']}"))[0] == 204
    assert len(lab.nodes) == 2


async def test_all_faults_are_listed(control: str) -> None:
    _, document = await call("GET", f"{control}/faults")
    assert set(document["faults"]) == set(FaultName)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "word"),
    [
        ("GET", "/nodes/x", None, 404, "no node 'x'"),
        ("PUT", "/nodes/x/fault", {"fault": "lag"}, 404, "no node 'x'"),
        ("PUT", "/nodes/iri-1/fault", {"fault": "melt"}, 422, "not one of"),
        ("PUT", "/nodes/iri-1/fault", {"fault": "lag", "status": 500}, 422, "does not take"),
        ("PUT", "/nodes/iri-1/fault", [], 422, ""),
        ("POST", "/nodes", {"kind": "moon"}, 422, "iri, evm"),
        ("POST", "/nodes", {"kind": ["iri"]}, 422, "iri, evm"),
        ("POST", "/nodes", {"colour": 1}, 422, "iri, evm"),
        ("DELETE", "/nodes/x/fault", None, 404, "no node"),
        ("GET", "/nowhere", None, 404, ""),
        ("PATCH", "/nodes", None, 405, ""),
    ],
)
async def test_a_bad_request_is_told_why(
    control: str, lab: Lab, method: str, path: str, body: object, status: int, word: str
) -> None:
    answered, document = await call(method, control + path, json=body)
    assert (answered, document["error"]["code"]) == (status, status)
    assert word in document["error"]["message"]
    assert all(node.fault is None for node in lab.nodes)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 403),
        ({"Content-Type": "application/json", "Host": "evil.example:1"}, 403),
        ({"Content-Type": "application/json"}, 422),
    ],
)
async def test_foreign_pages_and_what_is_not_json_are_refused(
    control: str, headers: dict[str, str], status: int
) -> None:
    answered, _ = await call("PUT", f"{control}/nodes/iri-1/fault", data=b"{not json", headers=headers)
    assert answered == status


async def test_a_taken_port_is_named(control: str, lab: Lab) -> None:
    port = int(control.rpartition(":")[2])
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}.*--control"):
        await Control(lab).start(port)
