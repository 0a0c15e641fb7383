"""The values that the portal keeps. Frozen; times are Instants."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from nodegate.model import Instant, Seconds

NOTHING = Seconds(0.0)
LONG_AGO = Instant(0.0)


class State(StrEnum):
    """Where a registration is on its way."""

    UNCONFIRMED = "unconfirmed"  # the mail is on its way; the address is not taken yet
    WAITING = "waiting"  # confirmed, and an operator has to approve it
    APPROVED = "approved"  # accepted; its node is written to the registry as soon as that can be
    ACTIVE = "active"  # its node is in the registry
    LEFT = "left"  # the owner took it out
    REMOVED = "removed"  # out for too long, or an operator removed the node
    REJECTED = "rejected"  # an operator did not take it
    BANNED = "banned"  # an operator banned its owner or its address


OPEN = (State.WAITING, State.APPROVED, State.ACTIVE)
"""States in which an address is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One node that somebody wants to add. `url` and `address` are where it is; `counted_as` is the address as
    limits count it. `node_id` is set once it is in the registry (at `joined_at`), `weight` is what was last written there; `paused` is
    the owner's own wish. `out_since` is when it stopped serving by its own fault, `told_at` when its owner was
    told so (before it is confirmed: when the mail with the link went out)."""

    id: str
    email: str
    url: str
    address: str
    counted_as: str
    kind: str
    pool: str
    state: State
    created_at: Instant
    reason: str = ""
    node_id: str | None = None
    confirmed_at: Instant | None = None
    joined_at: Instant | None = None
    ended_at: Instant | None = None
    paused: bool = False
    proven: Seconds = NOTHING
    weight: int | None = None
    out_since: Instant | None = None
    told_at: Instant | None = None

    @property
    def mailbox(self) -> str:
        """The e-mail address as owners are told apart by it."""
        return self.email.lower()

    @property
    def mail_domain(self) -> str:
        """Where its mails go."""
        return self.mailbox.rpartition("@")[2]


class Letter(StrEnum):
    """The mails that the portal writes; each has a template of that name."""

    CONFIRM = "confirm"
    KNOWN = "known"  # your node is registered already: here is the link to its page
    TAKEN = "taken"  # this address is registered by somebody else
    WAITING = "waiting"
    WELCOME = "welcome"
    OWNER = "owner"
    OUT = "out"
    BACK = "back"
    REMOVED = "removed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail that waits in the outbox. It is written when it goes out, so that its links live from then on."""

    letter: Letter
    recipient: str
    registration: str
    created_at: Instant
    detail: str = ""
    id: int = 0
    tries: int = 0
    next_at: Instant = LONG_AGO
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """Somebody who may not register: an e-mail address, `@domain`, or a network."""

    subject: str
    reason: str
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """What waits to be sent: how many, since when the oldest, and the last failure in words."""

    waiting: int = 0
    oldest: Instant | None = None
    error: str = ""
    given_up: tuple[Mail, ...] = field(default=())
