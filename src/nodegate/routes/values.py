"""What a route is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

Matcher = Literal["prefix", "iprefix", "glob"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """An answer 3xx. `url` may hold `$host` and `$path`, each once."""

    code: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What is done to a request of a route, in the order of the fields; empty and None: nothing.

    `closed` says why nobody may use the route: its access rules could not be understood. `allow` and `deny`
    are networks in CIDR form, of which one at most is given. `auth` names a scheme of the settings. `host` is
    the Host header towards the node. `strip` and `prepend` are path prefixes.
    """

    closed: str = ""
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    auth: str = ""
    redirect: Redirect | None = None
    strip: str = ""
    prepend: str = ""
    host: str = ""

    @property
    def id(self) -> str:
        """A short name that only depends on what is done, "" for nothing."""
        if self == _NOTHING:
            return ""
        parts = (
            "closed" if self.closed else "", " ".join(sorted(self.allow)), " ".join(sorted(self.deny)), self.auth,
            f"{self.redirect.code} {self.redirect.url}" if self.redirect else "", self.strip, self.prepend, self.host,
        )  # fmt: skip
        return "t" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]


_NOTHING = Treatment()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One node that a route leads to. `weight` is its fixed share of the route's requests (0: what the fixed
    ones leave over is shared, in proportion to `part`). `pool` is the node's own pool, `kind` its kind.
    `service`, `url`, `options` and `tags` are as they were registered, for whoever lists routes."""

    node_id: str
    pool: str
    kind: str
    weight: float = 0.0
    part: int = 1
    treatment: Treatment = field(default_factory=Treatment)
    service: str = ""
    url: str = ""
    options: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Requests for `host` (empty: any; may be a glob and may have a port) below `path`, and their targets."""

    host: str
    path: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A share (0 to 1) of a route's requests that go to one pool and are treated alike."""

    pool: str
    share: float = 1.0
    treatment: Treatment = field(default_factory=Treatment)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRoute:
    """A route whose targets have become pools of the gateway."""

    host: str
    path: str
    variants: tuple[Variant, ...]
