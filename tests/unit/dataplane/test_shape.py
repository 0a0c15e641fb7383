from __future__ import annotations

from pathlib import Path

from nodegate.dataplane.shape import make_shape
from nodegate.haproxy.gateway import digest_in
from nodegate.haproxy.paths import Paths
from nodegate.model import Server, ServerState, Traffic
from nodegate.settings import Settings

PATHS = Paths(directory=Path("/state/haproxy"))


def a_server(name: str, **more: object) -> Server:
    values = {
        "backend": "pool_main", "name": name, "address": "192.0.2.1", "port": 1, "weight": 1,
        "state": ServerState.READY,
    }  # fmt: skip
    return Server(**(values | more))  # type: ignore[arg-type]


def test_a_shape_is_the_same_for_the_same_pools() -> None:
    one = make_shape(Settings(), ["main", "b"], {"main": Traffic(method_key="x")}, PATHS)
    two = make_shape(Settings(), ["b", "main"], {"main": Traffic(method_key="x")}, PATHS)
    assert one == two
    assert one.routing().skeleton == one.skeleton == digest_in(one.text())
    assert one.pools == ("b", "main")


def test_a_server_that_cannot_be_written_does_not_spoil_the_others() -> None:
    shape = make_shape(Settings(), ["main"], {}, PATHS)
    text = shape.text([a_server("good"), a_server("bad", tls=True), a_server("odd", address="x y")])
    assert "server good " in text
    assert "server bad " not in text
    assert "server odd " not in text
