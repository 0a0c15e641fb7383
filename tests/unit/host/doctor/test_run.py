"""Several hosts together: who holds the shared address, and what one failure leaves of the others."""

from __future__ import annotations

from typing import Any

import pytest

from nodegate.errors import Unavailable
from nodegate.host.doctor.facts import Expect, State
from nodegate.host.doctor.hosts import Host
from nodegate.host.doctor.run import Request, audit, own_address, shared_holders
from nodegate.model import Instant


def gateway(*held: str, shared: tuple[str, ...] = ("192.0.2.100",)) -> dict[str, Any]:
    addresses = [{"interface": "eth0", "address": address} for address in held]
    return {"keepalived": {"value": {"addresses": list(shared)}}, "addresses": {"value": addresses}}


def test_holders_are_counted_over_all_gateways() -> None:
    known = {"a": gateway("192.0.2.1", "192.0.2.100"), "b": gateway("192.0.2.2")}
    assert shared_holders(known) == {"value": {"192.0.2.100": ["a"]}}


@pytest.mark.parametrize(
    "known", [{}, {"a": gateway("192.0.2.100")}, {"a": gateway(), "b": {"keepalived": {"value": None}}}]
)
def test_one_gateway_alone_cannot_tell(known: dict[str, Any]) -> None:
    assert "name each of them" in shared_holders(known)["unknown"]


def test_a_hosts_own_address_is_one_that_others_can_use() -> None:
    assert own_address(gateway("fe80::1", "192.0.2.1")) == "192.0.2.1"
    with pytest.raises(Unavailable):
        own_address(gateway("fe80::1"))


async def test_this_machine_and_one_that_is_not_there_are_audited_beside_each_other() -> None:
    told: list[tuple[str, str]] = []
    gone = Host(name="192.0.2.1", options=("-o", "ProxyCommand=false"))
    request = Request(hosts=(gone, Host()), stranger=None, expect=Expect(kind="none"), ask={})
    first, second = await audit(
        request, now=Instant(1.8e9), progress=lambda host, state: told.append((host, state))
    )
    assert isinstance(first.error, Unavailable)
    assert second.error is None
    found = {result.rule.id: result for result in second.results}
    assert found["memory"].state in {State.PASS, State.FAIL}
    assert sorted(told) == [
        ("192.0.2.1", "asked"),
        ("192.0.2.1", "failed"),
        ("localhost", "answered"),
        ("localhost", "asked"),
    ]
