"""`/badge/{node}.svg`: who may see which node's status, and for how long the picture is good."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from nodegate.model import Intent, Node, Snapshot
from nodegate.portal import rows
from nodegate.portal.badge import badge
from nodegate.portal.store import Store
from nodegate.settings.portal import PortalSettings
from nodegate.views import status_of

KEPT = 60
"""Seconds for which browsers and proxies may show a badge again without asking."""


class Badges:
    """Answers with badges. A node that is not to be seen looks like one that is not there."""

    def __init__(self, *, settings: PortalSettings, store: Store, snapshot: Callable[[], Snapshot]) -> None:
        self._settings = settings
        self._store = store
        self._snapshot = snapshot

    async def show(self, request: Request) -> Response:
        """The badge; for a node that is not known a grey one, with status 404, which browsers show all the same."""
        name: str = request.path_params["node"]
        node = await self._node(name)
        word = "unknown" if node is None else _word(node, self._snapshot())
        label = self._settings.title if node is None else name
        body = badge(label, word).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {
            "Cache-Control": f"public, max-age={KEPT}",
            "ETag": tag,
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Content-Security-Policy": "default-src 'none'",
        }
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, 200 if node else 404, headers, media_type="image/svg+xml")

    async def _node(self, name: str) -> Node | None:
        inventory = self._snapshot().inventory
        node = next((node for node in inventory.nodes if node.id == name), None) if inventory else None
        if node is None or self._settings.badges == "off":
            return None
        if self._settings.badges == "registered":
            found = await self._store.transact(lambda db: rows.of_node(db, name))
            return None if found is None else node
        return node


def _word(node: Node, snapshot: Snapshot) -> str:
    return "paused" if node.intent is not Intent.SERVE else status_of(snapshot, node.id).value
