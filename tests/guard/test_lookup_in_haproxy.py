"""Verdicts that HAProxy looks up: what it finds is what the guard says, whatever the bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.engines import HONEST, InHAProxy, in_haproxy
from guard.policies import shipped
from guard.strategies import bodies
from lookups import looked_up, near_known
from nodegate.policy import shortcuts

MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
PATHS = [b"/", b"/v1/chain/evm", b"/v1/chain/evm/", b"//", b"/?", b"/%2f"]


POLICIES = {kind: shipped(kind) for kind in ("evm", "iri")}
ENTRIES = {kind: shortcuts.entries(policy) for kind, policy in POLICIES.items()}
NEAR = {kind: near_known(policy, sorted(ENTRIES[kind])) for kind, policy in POLICIES.items()}


@pytest.fixture(scope="module", params=sorted(POLICIES))
def haproxy(request: pytest.FixtureRequest) -> Iterator[InHAProxy]:
    with (
        tempfile.TemporaryDirectory(prefix="guard-") as place,
        in_haproxy(POLICIES[request.param], Path(place)) as engine,
    ):
        yield engine


@MANY
@given(data=st.data(), path=st.sampled_from([b"/", *PATHS]))
def test_what_is_found_is_what_the_guard_says(haproxy: InHAProxy, data: st.DataObject, path: bytes) -> None:
    policy = haproxy.policy
    for body in data.draw(st.lists(st.one_of(NEAR[policy.kind], bodies), min_size=5, max_size=20)):
        fields, line = haproxy.exchange("POST", path, HONEST, body)
        known = fields.get("x-known", "")
        assert known in {"", line}
        assert known == (looked_up(policy, body, path.decode(), ENTRIES[policy.kind]) or "")


HEADS = (
    (("X-IOTA-API-Version", b"2"),),
    (("X-IOTA-API-Version", b"1"), ("X-IOTA-API-Version", b"1")),
    (*HONEST, ("Content-Encoding", b"gzip")),
    (*HONEST, ("Content-Encoding", b"identity")),
    (*HONEST, ("X-Long", b"x" * 3000)),
    (*HONEST, ("Cookie", b"x" * 1500)),
    (),
)


@pytest.mark.parametrize("headers", HEADS)
def test_no_head_that_the_guard_refuses_is_looked_up(
    haproxy: InHAProxy, headers: tuple[tuple[str, bytes], ...]
) -> None:
    key = min(ENTRIES[haproxy.policy.kind], key=len)
    body = shortcuts.FORMS[haproxy.policy.form].sample(key.split("|", 2)[2]).encode()
    fields, line = haproxy.exchange("POST", b"/", headers, body)
    assert fields.get("x-known", "") in {"", line}
    assert haproxy.exchange("POST", b"/", HONEST, body)[0]["x-known"].startswith("ok|")
