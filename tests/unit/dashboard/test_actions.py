from __future__ import annotations

from dataclasses import replace

import pytest

from daemon_double import DaemonDouble, a_server, a_verdict, an_iri
from nodegate.daemon.history import History
from nodegate.dashboard import actions
from nodegate.dashboard.roles import Role
from nodegate.dashboard.sessions import Sessions
from nodegate.dashboard.source import Source
from nodegate.errors import BadDocument, Conflict, Malformed, NotFound, Refused
from nodegate.model import Intent, ServerState
from nodegate.model import Source as DeclaredBy


class Rig:
    def __init__(self) -> None:
        self.daemon = DaemonDouble()
        self.time = 0.0
        self.sessions = Sessions(idle=60, longest=600, still_true=lambda role, proof: True)
        self.source = Source(
            context=self.daemon.context(), history=History(), sessions=self.sessions, now=lambda: self.time
        )
        self.operator = self.session(Role.OPERATOR)
        self.viewer = self.session(Role.VIEWER)
        self.daemon.add(an_iri("a", weight=70), a_verdict("a"), a_server("a"))

    def intent(self) -> Intent:
        return self.daemon.registry.nodes["a"].intent

    def session(self, role: Role) -> str:
        found = self.sessions.of_cookie(self.sessions.begin(role, "", self.time), self.time)
        assert found is not None
        return found.id


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_drained_node_serves_again_by_undo(rig: Rig) -> None:
    done = await actions.change_node(rig.source, rig.operator, "a", {"intent": "drain"})
    assert "drains" in done.text
    assert rig.intent() is Intent.DRAIN
    assert rig.daemon.servers["a"].state is ServerState.DRAIN
    assert done.undo is not None
    assert "as it was" in (await done.undo()).text
    assert rig.intent() is Intent.SERVE


async def test_a_weight_is_set_and_taken_back(rig: Rig) -> None:
    done = await actions.change_node(rig.source, rig.operator, "a", {"weight": 5})
    assert rig.daemon.registry.nodes["a"].weight == 5
    assert done.undo is not None
    await done.undo()
    assert rig.daemon.registry.nodes["a"].weight == 70


async def test_a_removed_node_that_is_forgotten_comes_back_as_it_was(rig: Rig) -> None:
    before = rig.daemon.add(
        an_iri(
            "b", weight=7, maxconn=3, pool="side", tls_verify=False, address="192.0.2.77", intent=Intent.DRAIN
        )
    )
    done = await actions.change_node(rig.source, rig.operator, "b", {"intent": "remove"})
    del rig.daemon.registry.nodes["b"]
    assert done.undo is not None
    await done.undo()
    again = rig.daemon.registry.nodes["b"]
    assert again == replace(before, version=again.version)
    assert again.address == "192.0.2.77"


async def test_an_undo_does_not_overwrite_what_somebody_else_did(rig: Rig) -> None:
    done = await actions.change_node(rig.source, rig.operator, "a", {"weight": 5})
    await actions.change_node(rig.source, rig.operator, "a", {"weight": 9})
    assert done.undo is not None
    with pytest.raises(Conflict):
        await done.undo()
    assert rig.daemon.registry.nodes["a"].weight == 9


async def test_what_changes_nothing_has_no_undo(rig: Rig) -> None:
    assert (await actions.change_node(rig.source, rig.operator, "a", {"weight": 70})).undo is None


@pytest.mark.parametrize("who", ["viewer", "expired", "nobody"])
async def test_whoever_may_only_look_changes_nothing(rig: Rig, who: str) -> None:
    session = {"viewer": rig.viewer, "expired": rig.operator, "nobody": "x"}[who]
    if who == "expired":
        rig.time = 61.0
    before = dict(rig.daemon.registry.nodes)
    for job in (
        actions.change_node(rig.source, session, "a", {"intent": "drain"}),
        actions.ban(rig.source, session, "192.0.2.7", 60),
        actions.unban(rig.source, session, "192.0.2.7"),
        actions.approve(rig.source, session, "x"),
        actions.reject(rig.source, session, "x", ""),
    ):
        with pytest.raises(Refused, match=r"session has ended|look only"):
            await job
    assert rig.daemon.registry.nodes == before
    assert rig.daemon.firewall.counts.bans == ()


async def test_an_undo_needs_the_session_too(rig: Rig) -> None:
    done = await actions.change_node(rig.source, rig.operator, "a", {"weight": 5})
    rig.sessions.end(rig.operator)
    assert done.undo is not None
    with pytest.raises(Refused):
        await done.undo()
    assert rig.daemon.registry.nodes["a"].weight == 5


async def test_what_the_registry_refuses_is_refused(rig: Rig) -> None:
    rig.daemon.add(an_iri("f", source=DeclaredBy.FILE))
    with pytest.raises(Refused):
        await actions.change_node(rig.source, rig.operator, "f", {"intent": "remove"})
    with pytest.raises(NotFound):
        await actions.change_node(rig.source, rig.operator, "gone", {"weight": 5})
    with pytest.raises(BadDocument):
        await actions.change_node(rig.source, rig.operator, "a", {"weight": 900})


async def test_a_ban_is_lifted_by_undo(rig: Rig) -> None:
    done = await actions.ban(rig.source, rig.operator, " 192.0.2.7 ", 60)
    assert [ban.client for ban in rig.daemon.firewall.counts.bans] == ["192.0.2.7"]
    assert done.undo is not None
    await done.undo()
    assert rig.daemon.firewall.counts.bans == ()
    with pytest.raises(NotFound):
        await actions.unban(rig.source, rig.operator, "192.0.2.7")
    with pytest.raises(Malformed):
        await actions.ban(rig.source, rig.operator, "everybody", 60)


async def test_without_a_portal_there_is_nothing_to_approve(rig: Rig) -> None:
    with pytest.raises(Refused, match="off"):
        await actions.approve(rig.source, rig.operator, "x")
