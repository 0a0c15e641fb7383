"""`nodegate registrations` against an operator's side that says what a test wants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon_double import Command, DaemonDouble
from nodegate.errors import NotFound
from nodegate.views.registrations import (
    MailsView,
    RegistrationBanRow,
    RegistrationBansDocument,
    RegistrationRow,
    RegistrationsDocument,
    RegistrationsEnded,
)

ROW = RegistrationRow(
    id="r1", state="waiting", email="o@example.org", url="http://192.0.2.1:14265", address="192.0.2.1", kind="iri",
    pool="main", node=None, reason="", created_at="2026-01-01T00:00:00.000Z", confirmed_at=None, ended_at=None,
    proven_seconds=0, weight=None, paused=False,
)  # fmt: skip
BAN = RegistrationBanRow(subject="@example.org", reason="[red]noise", at=None)


class Operator:
    """The contract of `nodegate.api.context.Registrations`, with one registration and one ban."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []

    async def listed(self, state: str | None = None) -> RegistrationsDocument:
        mails = MailsView(waiting=2, oldest_seconds=5, error="no server", given_up=("confirm to x: 550",))
        rows = (ROW,) if state in {None, "waiting"} else ()
        return RegistrationsDocument(registrations=rows, mails=mails)

    async def approve(self, registration_id: str) -> RegistrationRow:
        if registration_id != "r1":
            raise NotFound(f"there is no registration {registration_id!r}")
        return ROW.model_copy(update={"node": "n1", "state": "active"})

    async def reject(self, registration_id: str, reason: str) -> RegistrationRow:
        self.said.append((registration_id, reason))
        return ROW

    async def bans(self) -> RegistrationBansDocument:
        return RegistrationBansDocument(bans=(BAN,))

    async def ban(self, subject: str, reason: str) -> RegistrationsEnded:
        self.said.append((subject, reason))
        return RegistrationsEnded(ban=BAN, ended=("r1",))

    async def unban(self, subject: str) -> RegistrationBanRow:
        self.said.append((subject,))
        return BAN


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
def daemon(operator: Operator, request: pytest.FixtureRequest) -> DaemonDouble:
    return DaemonDouble(registrations=getattr(request, "param", operator))


def test_the_list_shows_registrations_and_how_mails_go(command: Command, state: Path) -> None:
    done = command("registrations", "list")
    assert "o@example.org" in done.out
    assert done.err == "2 mails wait to be sent: no server\ngiven up: confirm to x: 550\n"
    assert json.loads(command("registrations", "list", "--json").out)["registrations"][0]["id"] == "r1"
    assert "no registration is left" in command("registrations", "list", "--only", "left").err


def test_an_operator_decides(command: Command, operator: Operator, state: Path) -> None:
    assert "joins as n1" in command("registrations", "approve", "r1").err
    assert command("registrations", "approve", "r2").code == NotFound.exit_code
    assert command("registrations", "reject", "r1", "--reason", "members only").code == 0
    assert "1 registrations ended" in command("registrations", "ban", "192.0.2.0/24").err
    assert command("registrations", "unban", "192.0.2.0/24").code == 0
    assert operator.said == [("r1", "members only"), ("192.0.2.0/24", ""), ("192.0.2.0/24",)]
    assert "[red]noise" in command("registrations", "bans").out


@pytest.mark.parametrize("daemon", [None], indirect=True)
def test_without_a_portal_the_command_says_what_to_set(command: Command, state: Path) -> None:
    done = command("registrations", "list")
    assert (done.code, "portal.listen" in done.err) == (5, True)
