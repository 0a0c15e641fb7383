"""The cluster's parts against a real Consul: what one gateway writes, the other obeys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from consul import ConsulAgent
from daemon_double import MemoryFirewall, MemoryPolicies, SetClock
from nodegate.cluster.bans import SharedBans
from nodegate.cluster.exchange import Exchange, shared_secret
from nodegate.cluster.members import Member, Registration, instance_id
from nodegate.cluster.membership import Membership
from nodegate.cluster.policies import SharedPolicies
from nodegate.cluster.signed import Telling
from nodegate.cluster.words import Words
from nodegate.consul.client import ConsulClient
from nodegate.consul.kv import KeyValues
from nodegate.documents import Document, parse
from nodegate.errors import Conflict, Refused, Unavailable
from nodegate.model import Instant, Node, Observation, Reading, Seconds
from support import free_port, until

PATIENCE = 60.0
Job = Callable[[], Awaitable[None]]


@pytest.fixture(scope="module")
def consul() -> Iterator[ConsulAgent]:
    with ConsulAgent() as agent:
        yield agent


@pytest.fixture
async def client(consul: ConsulAgent) -> AsyncIterator[ConsulClient]:
    consul.call("DELETE", "/v1/kv/nodegate/?recurse")
    async with ConsulClient((consul.url,)) as found:
        yield found


@asynccontextmanager
async def running(*jobs: Job) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(job()) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# ---- policies ------------------------------------------------------------------------------------------


def document(text: str = "[methods.getTips]\ndeny = true\n") -> Document:
    return parse(f'kind = "iri"\n{text}', file="mine.toml")


def shared(client: ConsulClient, me: str, *kinds: str) -> tuple[SharedPolicies, MemoryPolicies]:
    local = MemoryPolicies(*(kinds or ("iri",)))
    return SharedPolicies(local, KeyValues(client), me=me, clock=SetClock(), changed=lambda: None), local


async def until_has(local: MemoryPolicies, text: str | None) -> None:
    def holds() -> bool:
        own = local.documents["iri"]
        return (own.text if own is not None else None) == text

    await until(holds, within=PATIENCE, what="the document is in force")


async def test_a_document_applied_on_one_gateway_reaches_the_others(client: ConsulClient) -> None:
    (one, first), (two, second) = shared(client, "a"), shared(client, "b")
    async with running(one.follow, two.follow):
        await one.apply(document())
        await until_has(second, document().text)
        assert second.documents["iri"].file == "mine.toml"  # type: ignore[union-attr]
        await two.withdraw("iri")
        await until_has(first, None)


async def test_a_gateway_that_starts_later_takes_over_what_is_in_force(client: ConsulClient) -> None:
    one, _ = shared(client, "a")
    async with running(one.follow):
        await one.apply(document())
    late, local = shared(client, "b")
    async with running(late.follow):
        await until_has(local, document().text)


async def test_who_has_not_seen_the_others_document_cannot_replace_it(client: ConsulClient) -> None:
    (one, _), (two, second) = shared(client, "a"), shared(client, "b")
    await one.apply(document())
    with pytest.raises(Conflict, match="on gateway a"):
        await two.apply(document("[methods.getPeers]\ndeny = true\n"))
    assert second.documents["iri"].text == document().text  # type: ignore[union-attr]
    await two.apply(document("[methods.getNeighbors]\ndeny = true\n"))
    with pytest.raises(Conflict, match="on gateway b"):
        await one.withdraw("iri")


async def test_what_haproxy_refuses_reaches_nobody(client: ConsulClient) -> None:
    one, local = shared(client, "a")
    local.refusal = "no"
    with pytest.raises(Refused):
        await one.apply(document())
    assert await KeyValues(client).get("nodegate/policies/iri") is None


async def test_without_consul_nothing_is_changed_here_either() -> None:
    async with ConsulClient((f"http://127.0.0.1:{free_port()}",)) as nowhere:
        one, local = shared(nowhere, "a")
        with pytest.raises(Unavailable):
            await one.apply(document())
        assert local.documents["iri"] is None


async def test_a_gateway_that_cannot_take_over_goes_on_and_tries_again(client: ConsulClient) -> None:
    (one, _), (two, second) = shared(client, "a"), shared(client, "b")
    second.refusal = "HAProxy is not in the mood"
    async with running(two.follow):
        await one.apply(document())
        await until(lambda: two.shared_faults, within=PATIENCE, what="it says so")
        assert "mood" in two.faults[0]
        assert second.documents["iri"] is None
        second.refusal = None
        await until_has(second, document().text)
        await until(lambda: not two.shared_faults, within=PATIENCE, what="it is well again")


async def test_a_kind_that_comes_later_gets_its_policy(client: ConsulClient) -> None:
    (one, _), (two, second) = shared(client, "a"), shared(client, "b", "evm")
    async with running(two.follow):
        await one.apply(document())
        second.documents["iri"] = None
        await until_has(second, document().text)
        assert two.shared_faults == ()


async def test_a_damaged_record_is_said_and_can_be_replaced(client: ConsulClient) -> None:
    one, local = shared(client, "a")
    async with running(one.follow):
        await KeyValues(client).put("nodegate/policies/iri", b"\xff nonsense")
        await until(lambda: one.shared_faults, within=PATIENCE, what="it is said")
        await one.apply(document())
        assert one.shared_faults == ()
        assert local.documents["iri"] is not None


# ---- bans ----------------------------------------------------------------------------------------------


class Wall:
    """One gateway's bans; `boot` stands for HAProxy's incarnation."""

    def __init__(self, client: ConsulClient, me: str, clock: SetClock) -> None:
        self.local = MemoryFirewall(clock)
        self.boot = 1
        self.bans = SharedBans(
            self.local, KeyValues(client), me=me, living=lambda: ("a", "b"), incarnation=lambda: self.boot, clock=clock
        )  # fmt: skip

    def banned(self) -> set[str]:
        return {ban.client for ban in self.local.counts.bans}

    async def until_banned(self, *clients: str) -> None:
        await until(lambda: self.banned() == set(clients), within=PATIENCE, what=f"banned are {clients}")


async def test_a_ban_and_its_end_reach_the_others(client: ConsulClient) -> None:
    clock = SetClock()
    one, two = Wall(client, "a", clock), Wall(client, "b", clock)
    async with running(one.bans.follow, two.bans.follow):
        await one.bans.ban("192.0.2.7", 600)
        await one.bans.ban("2001:db8::1", 600)
        await two.until_banned("192.0.2.7", "2001:db8::")
        assert await two.bans.unban("192.0.2.7")
        await one.until_banned("2001:db8::")
        assert not await two.bans.unban("192.0.2.99")


async def test_bans_come_back_when_haproxy_lost_them_and_not_when_they_are_over(client: ConsulClient) -> None:
    clock = SetClock()
    one = Wall(client, "a", clock)
    async with running(one.bans.follow):
        await one.bans.ban("192.0.2.7", 600)
        await one.bans.ban("192.0.2.8", 60)
        clock.forward(120)
        one.local.counts = MemoryFirewall(clock).counts
        one.boot = 2
        await one.until_banned("192.0.2.7")


async def test_a_ban_holds_here_at_once_and_is_written_when_consul_is_back(consul: ConsulAgent) -> None:
    clock = SetClock()
    async with ConsulClient((consul.url,), timeout=Seconds(1.0)) as client:
        one, two = Wall(client, "a", clock), Wall(client, "b", clock)
        consul.pause()
        try:
            await one.bans.ban("192.0.2.9", 600)
            assert one.banned() == {"192.0.2.9"}
            assert "not in Consul yet" in one.bans.faults[0]
        finally:
            consul.resume()
        async with running(one.bans.follow, two.bans.follow):
            await until(lambda: "192.0.2.9" in two.banned(), within=PATIENCE, what="the other has heard")
            await until(lambda: not one.bans.faults, within=PATIENCE, what="nothing is left to write")


async def test_what_is_long_over_is_removed_from_consul(client: ConsulClient) -> None:
    clock = SetClock()
    walls = Wall(client, "a", clock), Wall(client, "b", clock)
    await walls[0].bans.ban("192.0.2.7", 60)
    clock.forward(5000)
    keys = KeyValues(client)

    async def empty() -> bool:
        return not (await keys.below("nodegate/bans/")).entries

    async with running(*(wall.bans.follow for wall in walls)):
        await until(empty, within=PATIENCE, what="the record is gone")
    assert walls[1].banned() == set()


# ---- membership ----------------------------------------------------------------------------------------


def membership(client: ConsulClient, name: str, service: str, folder: Path, **changes: Any) -> Membership:
    member = Member(id=name, address="", port=1, version="1", started_at=Instant(1.0), **changes)
    return Membership(
        client, Registration(service=service, interval=Seconds(1.0), forget_after=Seconds(3600.0)),
        describe=lambda: member, health=lambda: (True, "fine"), address="192.0.2.1",
        file=folder / f"{name}.json", clock=SetClock(), changed=lambda: None,
    )  # fmt: skip


async def until_alive(membership: Membership, *names: str) -> None:
    await until(
        lambda: {name for name, known in membership.known.items() if known.alive} == set(names),
        within=PATIENCE,
        what=f"{names} live",
    )


async def test_gateways_find_each_other_and_one_that_leaves_is_remembered_as_gone(
    client: ConsulClient, tmp_path: Path
) -> None:
    service = f"gw{free_port()}"
    one, two = (membership(client, name, service, tmp_path, peers=":7") for name in "ab")
    async with running(one.watch, one.register):
        async with running(two.watch, two.register):
            await until_alive(one, "a", "b")
            await until_alive(two, "a", "b")
            assert one.known["b"].member.peers == "192.0.2.1:7"
            await two.leave()
            await until_alive(one, "a")
        assert one.known["b"].member.why == "not registered any more"
    again = membership(client, "a", service, tmp_path)
    again.recall()
    assert set(again.known) == {"a", "b"}


async def test_a_registration_that_is_lost_is_written_again(
    client: ConsulClient, consul: ConsulAgent, tmp_path: Path
) -> None:
    service = f"gw{free_port()}"
    one = membership(client, "a", service, tmp_path)
    async with running(one.watch, one.register):
        await until_alive(one, "a")
        for _ in range(2):
            consul.deregister(instance_id(service, "a"))

            def back() -> bool:
                return bool(consul.get(f"/v1/health/service/{service}?passing"))

            await until(back, within=PATIENCE, what="it is registered again")


async def test_a_list_that_cannot_be_read_leaves_everybody_known(
    client: ConsulClient, consul: ConsulAgent, tmp_path: Path
) -> None:
    service = f"gw{free_port()}"
    one, two = (membership(client, name, service, tmp_path) for name in "ab")
    async with running(one.watch, one.register, two.watch, two.register):
        await until_alive(one, "a", "b")

        def written() -> bool:
            again = membership(client, "a", service, tmp_path)
            again.recall()
            return {name for name, known in again.known.items() if known.alive} == {"a", "b"}

        await until(written, within=PATIENCE, what="both stand in the file")
    async with ConsulClient((f"http://127.0.0.1:{free_port()}",)) as nowhere:
        broken = membership(nowhere, "a", service, tmp_path)
        broken.recall()
        async with running(broken.watch, broken.register):
            await until(lambda: len(broken.faults) == 2, within=PATIENCE, what="both halves say so")
            await until_alive(broken, "a", "b")


# ---- words ---------------------------------------------------------------------------------------------


async def test_the_first_gateway_makes_the_secret_and_all_have_the_same(
    client: ConsulClient, tmp_path: Path
) -> None:
    keys = KeyValues(client)
    made = await asyncio.gather(*(shared_secret(None, keys, tmp_path / f"s{n}") for n in range(4)))
    assert len(set(made)) == 1
    async with ConsulClient((f"http://127.0.0.1:{free_port()}",)) as nowhere:
        assert await shared_secret(None, KeyValues(nowhere), tmp_path / "s1") == made[0]
        with pytest.raises(Unavailable):
            await shared_secret(None, KeyValues(nowhere), tmp_path / "none")


async def test_a_secret_file_counts_before_consul(client: ConsulClient, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("mine\n")
    assert await shared_secret(file, KeyValues(client), tmp_path / "s") == b"mine"
    file.write_text("\n")
    with pytest.raises(Unavailable, match=r"secret_file"):
        await shared_secret(file, KeyValues(client), tmp_path / "s")


class Ear:
    """One gateway's exchange; `told` are the words it heard."""

    def __init__(self, me: str, secret: bytes, place: str, others: dict[str, str]) -> None:
        self.words = Words(me=me, living=others.keys, max_age=Seconds(1e6))
        self.heard: list[Telling] = []

        async def own() -> bytes:
            return secret

        self.exchange = Exchange(
            self.words, place=place, secret=own, places=lambda: others,
            hear=lambda name, telling: self.heard.append(telling),
            statuses=lambda: ({f"down-at-{me}": "down"}, me), clock=SetClock(),
        )  # fmt: skip

    @property
    def nodes(self) -> set[str]:
        return {word.node_id for telling in self.heard for word in telling.words}


def pair(one: bytes, two: bytes) -> tuple[Ear, Ear]:
    places = {name: f"127.0.0.1:{free_port()}" for name in "ab"}
    return (
        Ear("a", one, places["a"], {"b": places["b"]}),
        Ear("b", two, places["b"], {"a": places["a"]}),
    )


def ask_all(ear: Ear) -> set[str]:
    """The nodes of which the others hear when this gateway has asked all."""
    before = ear.words.newest
    for number in range(1, 20):
        node = Node(id=f"n{number}", url=f"http://192.0.2.{number}:1", kind="iri")
        seen = Observation(
            node_id=node.id, at=SetClock().now(), duration=Seconds(0.1), outcome=Reading(height=number)
        )
        ear.words.asked(node, seen)
    assert ear.words.newest > before
    return {word.node_id for word in ear.words.telling("", SetClock().now(), None).words}


async def test_two_gateways_hear_each_other() -> None:
    one, two = pair(b"s", b"s")
    async with running(one.exchange.serve, one.exchange.listen, two.exchange.serve, two.exchange.listen):
        told = ask_all(one)
        await until(lambda: two.nodes == told, within=PATIENCE, what="all words are heard")
        told_back = ask_all(two)
        await until(lambda: one.nodes == told_back, within=PATIENCE, what="and back")
        assert told | told_back == {f"n{number}" for number in range(1, 20)}
        assert two.heard[0].others == {"down-at-a": "down"}
        assert all(telling.others is None for telling in two.heard[1:])


async def test_a_gateway_with_another_secret_is_not_heard_and_it_is_said() -> None:
    one, two = pair(b"s", b"other")
    async with running(one.exchange.serve, one.exchange.listen, two.exchange.serve, two.exchange.listen):
        ask_all(one)
        for ear, other in ((one, "b"), (two, "a")):
            await until(
                lambda e=ear, o=other: "secret" in e.exchange.errors.get(o, ""),
                within=PATIENCE,
                what="both say so",
            )
        assert (one.heard, two.heard) == ([], [])


async def test_a_gateway_that_is_away_is_heard_again_when_it_is_back() -> None:
    one, two = pair(b"s", b"s")
    async with running(two.exchange.listen):
        await until(lambda: "a" in two.exchange.errors, within=PATIENCE, what="it is not heard")
        async with running(one.exchange.serve):
            told = ask_all(one)
            await until(lambda: two.nodes == told, within=PATIENCE, what="its words are heard")
            assert two.exchange.errors == {}
