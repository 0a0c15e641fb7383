"""What owners ask, and how it can end."""

from __future__ import annotations

from dataclasses import dataclass

from nodegate.errors import Refused
from nodegate.model import Seconds
from nodegate.portal.check import Examined
from nodegate.portal.tokens import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What the form said. `client` is the address it came from."""

    email: str
    place: str
    kind: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """All is well, a mail is on its way, or as far as anybody can see it is."""

    email: str
    examined: Examined | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What is wrong with the form, by field."""

    faults: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """Too many. `seconds` until one more is taken."""

    what: str
    seconds: Seconds


class AskedTooOften(Refused):
    """A node was checked too often. `seconds` until it may be checked again."""

    def __init__(self, seconds: Seconds) -> None:
        super().__init__("this node was checked many times")
        self.seconds = seconds


class LinkOver(Refused):
    """A link was good once. `token` says for whom."""

    def __init__(self, message: str, token: Token) -> None:
        super().__init__(message)
        self.token = token
