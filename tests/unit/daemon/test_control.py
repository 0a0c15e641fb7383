"""When a change of the registry asks for a pass."""

from __future__ import annotations

from dataclasses import replace

from nodegate.daemon.control import only_adds
from nodegate.model import Instant, Intent, Inventory, Node
from nodegate.routes import Route


def node(name: str, **fields: object) -> Node:
    return replace(Node(id=name, url=f"http://{name}.example", kind="iri"), **fields)  # type: ignore[arg-type]


def inventory(*nodes: Node, routes: tuple[Route, ...] | None = None) -> Inventory:
    return Inventory(nodes=nodes, index=1, read_at=Instant(0.0), routes=routes)


def test_new_nodes_alone_are_asked_first_and_need_no_pass_yet() -> None:
    before = inventory(node("a"), node("c"))
    assert only_adds(before, before)
    assert only_adds(before, inventory(node("a"), node("b"), node("c"), node("d")))
    assert only_adds(inventory(), inventory(node("a")))


def test_whatever_else_changes_needs_one() -> None:
    before = inventory(node("a"), node("b"), routes=())
    for after in (
        inventory(node("a"), routes=()),
        inventory(node("a"), node("c"), routes=()),
        inventory(node("a"), node("b", intent=Intent.DRAIN), routes=()),
        inventory(node("a"), node("b", failing="its check is critical"), node("c"), routes=()),
        inventory(node("a"), node("b"), routes=(Route(host="", path="/", targets=()),)),
    ):
        assert not only_adds(before, after)
