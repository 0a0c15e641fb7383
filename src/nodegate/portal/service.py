"""The portal put together: what the daemon runs, and what its admin API is given."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from nodegate.alerting.smtp import send
from nodegate.errors import Unavailable
from nodegate.model import Snapshot
from nodegate.portal.app import Portal
from nodegate.portal.badges import Badges
from nodegate.portal.check import Examiner, Resolve
from nodegate.portal.desk import Desk
from nodegate.portal.nodes import Nodes
from nodegate.portal.operator import Operator
from nodegate.portal.outbox import Send, Sender
from nodegate.portal.owners import Owners
from nodegate.portal.pages import Pages
from nodegate.portal.store import Store
from nodegate.portal.tokens import Signer
from nodegate.portal.watch import Watch
from nodegate.portal.web import Forms
from nodegate.ports import Adapter, Clock, Registry
from nodegate.probe.addresses import resolve
from nodegate.probe.exchange import Upstream
from nodegate.settings import Settings
from nodegate.systemfile.private import write_private
from nodegate.telemetry.kinds import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalParts:
    """What the portal works with; chosen in `nodegate.wiring`. `mailed` is told `sent`, `put off` or `given up`
    for each try to send a mail, `counted` how many registrations there are by state and how many mails wait, `tell`
    what became of registrations."""

    settings: Settings
    registry: Registry
    adapters: Mapping[str, Adapter]
    upstreams: Mapping[str, Upstream]
    clock: Clock
    snapshot: Callable[[], Snapshot]
    wake: Callable[[], None]
    directory: Path
    mailed: Callable[[str], None] = lambda outcome: None
    counted: Callable[[Counter[str], int], None] = lambda states, waiting: None
    tell: Callable[[Event], None] = lambda event: None
    send: Send | None = None
    look_up: Resolve = resolve


class PortalService:
    """One portal: its application, its two jobs, and the operator's side of it."""

    def __init__(self, parts: PortalParts) -> None:
        """Makes the key in the state directory at the first start. Raises Unavailable when it cannot be read."""
        settings, portal, clock = parts.settings, parts.settings.portal, parts.clock
        self.store = Store(parts.directory / "portal.db")
        signer = Signer(_key(parts.directory / "portal.key"))
        pages = Pages(settings)
        secure = pages.public_url.startswith("https:")
        nodes = Nodes(parts.registry, parts.adapters, settings, parts.wake)
        examiner = Examiner(
            settings, parts.adapters, parts.upstreams, clock, parts.snapshot, look_up=parts.look_up
        )
        self.sender = Sender(
            settings=settings, store=self.store, signer=signer, pages=pages, clock=clock,
            send=parts.send or (lambda message: send(message, settings.mail)), counted=parts.mailed,
        )  # fmt: skip
        post = self.sender.post
        self.desk = Desk(
            settings=settings, store=self.store, nodes=nodes, signer=signer, examiner=examiner,
            kinds=kinds_of(settings), clock=clock, post=post, tell=parts.tell,
        )  # fmt: skip
        self.owners = Owners(
            settings=portal, desk=self.desk, store=self.store, nodes=nodes, signer=signer, clock=clock, post=post,
            tell=parts.tell,
        )  # fmt: skip
        self.operator = Operator(
            desk=self.desk, store=self.store, nodes=nodes, clock=clock, post=post, tell=parts.tell
        )
        self.watch = Watch(
            settings=portal, desk=self.desk, store=self.store, nodes=nodes, examiner=examiner, clock=clock,
            snapshot=parts.snapshot, post=post, counted=parts.counted, tell=parts.tell,
        )  # fmt: skip
        forms = Forms(signer, base=pages.base, secure=secure)
        badges = Badges(settings=portal, store=self.store, snapshot=parts.snapshot)
        site = Portal(
            settings=portal, desk=self.desk, owners=self.owners, pages=pages, forms=forms, badges=badges, clock=clock,
            snapshot=parts.snapshot,
        )  # fmt: skip
        self.app: ASGIApp = site.app(base=pages.base, secure=secure)

    async def close(self) -> None:
        """Close the store."""
        await self.store.close()


def kinds_of(settings: Settings) -> dict[str, str]:
    """The pool that a node of each kind joins: the first of `portal.pools` that holds the kind."""
    kinds: dict[str, str] = {}
    for pool in settings.portal.pools:
        declared = (node.kind for node in settings.nodes if node.pool == pool)
        kind = settings.pool(pool).kind or next(declared, None)
        if kind is not None:
            kinds.setdefault(kind, pool)
    return kinds


def _key(path: Path) -> str:
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        key = ""
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{path} cannot be read: {error}; mend or remove it") from error
    if len(key) >= 32:
        os.chmod(path, 0o600)
        return key
    key = secrets.token_urlsafe(48)
    write_private(path, key + "\n")
    return key
