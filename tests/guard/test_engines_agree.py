"""One guard, two engines: the same line for any bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.engines import HONEST, Engine, InHAProxy, PlainLua, Reference, in_haproxy
from guard.policies import varied
from guard.strategies import bodies, heads, heights

POLICIES = varied()
Pair = tuple[Engine, Engine]
MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", params=sorted(POLICIES))
def plain(request: pytest.FixtureRequest) -> Pair:
    pytest.importorskip("lupa", reason="needs the Lua 5.4 that the lupa package brings")
    policy = POLICIES[request.param]
    return Reference(policy), PlainLua(policy)


@pytest.fixture(scope="module", params=["evm", "open iri", "rest"])
def in_proxy(request: pytest.FixtureRequest) -> Iterator[tuple[Reference, InHAProxy]]:
    policy = POLICIES[request.param]
    with tempfile.TemporaryDirectory(prefix="guard-") as place, in_haproxy(policy, Path(place)) as engine:
        yield Reference(policy), engine


@MANY
@given(body=bodies, height=heights)
def test_any_body_gets_the_same_line_in_plain_lua(plain: Pair, body: bytes, height: int | None) -> None:
    reference, lua = plain
    assert lua.body(body, height) == reference.body(body, height)


@MANY
@given(head=heads)
def test_any_head_gets_the_same_line_in_plain_lua(
    plain: Pair, head: tuple[str, bytes, list[tuple[str, bytes]]]
) -> None:
    reference, lua = plain
    assert lua.head(*head) == reference.head(*head)


@FEW
@given(batch=st.lists(bodies, min_size=5, max_size=20), height=st.sampled_from([1, 5000]))
def test_any_body_gets_the_same_line_in_haproxy(
    in_proxy: tuple[Reference, InHAProxy], batch: list[bytes], height: int
) -> None:
    reference, haproxy = in_proxy
    haproxy.set_height(height)
    lines = [haproxy.body(body) for body in batch]
    assert lines == [reference.whole("POST", b"/", HONEST, body, height) for body in batch]


@FEW
@given(head=heads, body=bodies)
def test_any_request_that_haproxy_takes_gets_the_same_line(
    in_proxy: tuple[Reference, InHAProxy], head: tuple[str, bytes, list[tuple[str, bytes]]], body: bytes
) -> None:
    reference, haproxy = in_proxy
    method, target, headers = head
    # HAProxy drops an Upgrade that no Connection header announces; test_in_haproxy has the announced ones.
    headers = [(name, value) for name, value in headers if name != "Upgrade"]
    body = body if method == "POST" else b""
    if method == "POST":
        headers = [*headers, ("content-length", b"%d" % len(body))]
    fields, line = haproxy.exchange(method, target or b"/", headers, body)
    if fields["status"] == "200":
        assert line == reference.whole(method, target or b"/", headers, body)
