"""Registrations of the portal as documents of the admin API."""

from __future__ import annotations

from pydantic import Field

from nodegate.views.models import View


class RegistrationRow(View):
    """One node that its owner registered."""

    id: str
    state: str = Field(
        description="unconfirmed, waiting (for approval), approved, active, left, removed, rejected or banned"
    )
    email: str
    url: str
    address: str = Field(description="IP address that was checked, and the only one that is asked")
    kind: str
    pool: str
    node: str | None = Field(description="id of the node, once it is in the registry")
    reason: str = Field(description="why it ended")
    created_at: str | None
    confirmed_at: str | None
    ended_at: str | None
    proven_seconds: float = Field(description="how long it has served, all together, for its probation")
    weight: int | None = Field(description="the weight that the portal last gave it")
    paused: bool = Field(description="its owner has paused it")


class MailsView(View):
    """How the portal's mails go."""

    waiting: int = Field(description="mails that the server has not taken yet")
    oldest_seconds: float | None = Field(description="how long the oldest has waited")
    error: str = Field(description="the last failure in words, empty when all is well")
    given_up: tuple[str, ...] = Field(description="mails that the server will never take, one sentence each")


class RegistrationsDocument(View):
    """All registrations in order of their making."""

    registrations: tuple[RegistrationRow, ...]
    mails: MailsView


class RegistrationBanRow(View):
    """Somebody who may not register."""

    subject: str = Field(description="e-mail address, @domain, or network")
    reason: str
    at: str | None


class RegistrationBansDocument(View):
    """All bans of the portal."""

    bans: tuple[RegistrationBanRow, ...]


class RegistrationsEnded(View):
    """The registrations that a ban ended, by id."""

    ban: RegistrationBanRow
    ended: tuple[str, ...]
