"""What the event log is told of registrations, whoever does it, once each."""

from __future__ import annotations

import re

import pytest

from nodegate.model import Instant, Status
from nodegate.portal.news import changed
from nodegate.portal.records import Registration, State
from nodegate.portal.rows import listed
from nodegate.telemetry.kinds import KINDS


def path_in(mail) -> str:  # type: ignore[no-untyped-def]
    """The path of the link in a mail."""
    found = re.search(r"https?://[^/\s]+(/confirm/\S+)", mail.get_content())
    assert found is not None
    return found[1]


def told(rig) -> list[tuple[str, object]]:  # type: ignore[no-untyped-def]
    """Kind and state of what was told since the last time."""
    found = [(event.kind.value, event.data["state"]) for event in rig.events]
    rig.events.clear()
    return found


async def test_a_confirmed_node_is_told_and_a_form_alone_is_not(rig, browser):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url)
    [mail] = await rig.post()
    assert rig.events == []
    await browser.press(path_in(mail))
    [event] = rig.events
    [row] = await rig.service.store.transact(listed)
    assert (event.kind.value, event.subject, event.at) == (
        "registered",
        f"registration/{row.id}",
        rig.clock.now(),
    )
    assert event.text == f"{rig.node.url} is registered and may join the pool main"
    assert (event.data["url"], event.data["pool"], event.data["state"]) == (rig.node.url, "main", "approved")
    assert "owner@example.org" not in repr(event)
    await browser.press(path_in(mail))
    assert len(rig.events) == 1


@pytest.mark.parametrize("rig", [{"approval": True}], indirect=True)
async def test_approving_is_told_once_and_rejecting_with_its_reason(rig, browser):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url)
    await browser.press(path_in((await rig.post())[0]))
    assert "waits for approval" in rig.events[0].text
    assert told(rig) == [("registered", "waiting")]
    [row] = await rig.service.store.transact(listed)
    await rig.service.operator.approve(row.id)
    assert told(rig) == [("registration", "approved")]
    await rig.service.operator.reject(row.id, "members only")
    assert rig.events[0].text == f"the registration of {rig.node.url} is rejected: members only"
    assert told(rig) == [("registration", "rejected")]


async def test_a_ban_an_owner_who_leaves_and_a_node_that_stays_out_are_told(rig, browser):  # type: ignore[no-untyped-def]
    async def join() -> str:
        rig.registry.nodes.clear()
        await browser.register(rig.node.url)
        await browser.press(path_in((await rig.post())[-1]))
        [name] = rig.registry.nodes
        rig.statuses = {name: Status.UP, "other": Status.UP}
        await rig.service.watch.look()
        assert told(rig) == [("registered", "approved")]
        return name

    await join()
    [row] = await rig.service.store.transact(lambda db: listed(db, (State.ACTIVE,)))
    await browser.get("/mine")
    await browser.send(f"/mine/{row.id}/leave")
    assert told(rig) == [("registration", "left")]
    name = await join()
    rig.statuses[name] = Status.DOWN
    for _ in range(2):
        await rig.service.watch.look()
        rig.clock.forward(8 * 86_400.0)
    await rig.service.watch.look()
    assert "out for too long: it is ill" in rig.events[0].text
    assert told(rig) == [("registration", "removed")]
    await join()
    await rig.service.operator.ban("@example.org", "noise")
    assert told(rig) == [("registration", "banned")]


async def test_a_ban_of_an_unconfirmed_form_is_no_event(rig, browser):  # type: ignore[no-untyped-def]
    await browser.register(rig.node.url)
    await rig.service.operator.ban("@example.org", "noise")
    assert rig.events == []


@pytest.mark.parametrize("state", [State.APPROVED, State.REJECTED, State.BANNED, State.LEFT, State.REMOVED])
def test_hostile_words_are_data_and_not_a_pattern(state: State) -> None:
    registration = Registration(
        id="1", email="o@example.org", url="http://{kind}.example/{0}", address="192.0.2.1", counted_as="192.0.2.1",
        kind="iri", pool="main", state=state, created_at=Instant(0.0), reason="{url}<b>",
    )  # fmt: skip
    event = changed(registration, Instant(1.0))
    assert "http://{kind}.example/{0}" in event.text
    assert event.severity is KINDS[event.kind].severity
