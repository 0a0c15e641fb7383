"""A simulated HORNET node's API for its peers: real HTTP, a token if one is wanted, counters that move.

Both generations are spoken: HORNET 1 under `/api/v1` with messages and an envelope, HORNET 2 under `/api/core/v2`
with blocks and none.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self
from zlib import crc32

from aiohttp import web

from nodegate.errors import Unavailable

Generation = Literal[1, 2]
PATHS: Final = {1: "/api/v1/peers", 2: "/api/core/v2/peers"}
_UNIT: Final = {1: "Messages", 2: "Blocks"}
_REQUESTS: Final = {1: "MessageRequests", 2: "BlockRequests"}


@dataclass(slots=True)
class Peer:
    """One peer; `since` and `silent_at` are seconds of the node's clock."""

    address: str
    alias: str
    since: float
    silent_at: float | None = None

    @property
    def id(self) -> str:
        return self.address.rpartition("/")[2]


def address_of(place: int) -> str:
    """A peer's multi-address, made up."""
    return f"/ip4/192.0.2.{place}/tcp/15600/p2p/12D3KooWLab{place:041d}"


class HornetNode:
    """The peers API of one node on the loopback; use it as an async context manager.

    `jwt` is the token that it wants, None: nobody is asked for one.
    """

    def __init__(self, peers: int = 3, *, generation: Generation = 1, jwt: str | None = None) -> None:
        self._generation = generation
        self._jwt = jwt
        self._peers = {
            peer.id: peer
            for place in range(1, peers + 1)
            for peer in [Peer(address_of(place), f"peer-{place}", time.monotonic())]
        }
        self._runner: web.AppRunner | None = None
        self.url = ""

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The peers in the order in which they came."""
        return tuple(self._peers.values())

    def silence(self, identities: Iterable[str]) -> None:
        """These peers stay connected and bring nothing any more."""
        for identity in identities:
            self._peers[identity].silent_at = time.monotonic()

    async def start(self, port: int = 0) -> str:
        """Listen on the loopback; returns the URL. Raises Unavailable when the port is taken."""
        app = web.Application(middlewares=[self._guard])
        path = PATHS[self._generation]
        app.router.add_get(path, self._list)
        app.router.add_post(path, self._add)
        app.router.add_delete(f"{path}/{{id}}", self._remove)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise Unavailable(f"port {port} cannot be used: {error.strerror or error}") from error
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        """Stop listening; calling it twice is harmless."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        sent = request.headers.get("Authorization", "")
        if self._jwt is not None and not hmac.compare_digest(sent.encode(), f"Bearer {self._jwt}".encode()):
            return _failure(401, "unauthorized")
        response: web.StreamResponse = await handler(request)
        return response

    async def _list(self, request: web.Request) -> web.Response:
        del request
        return self._answer([self._document(peer) for peer in self.peers])

    async def _add(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            address = body["multiAddress"]
            good = isinstance(address, str) and "/p2p/" in address
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            return _failure(400, "invalid multiAddress")
        peer = Peer(address, str(body.get("alias", "")), time.monotonic())
        self._peers.setdefault(peer.id, peer)
        return self._answer(self._document(self._peers[peer.id]))

    async def _remove(self, request: web.Request) -> web.Response:
        if self._peers.pop(request.match_info["id"], None) is None:
            return _failure(404, "peer not found")
        return web.Response(status=204)

    def _answer(self, document: object) -> web.Response:
        return web.json_response({"data": document} if self._generation == 1 else document)

    def _document(self, peer: Peer) -> dict[str, Any]:
        unit, requests = _UNIT[self._generation], _REQUESTS[self._generation]
        now = time.monotonic()
        share = 20 + crc32(peer.id.encode()) % 50
        new = int(((peer.silent_at or now) - peer.since) * share)
        sent = int((now - peer.since) * 100)
        metrics = {
            f"new{unit}": new,
            f"known{unit}": new * 2,
            f"received{unit}": new * 3,
            f"received{requests}": new // 10,
            "receivedHeartbeats": int(now - peer.since),
            f"sent{unit}": sent,
            f"sent{requests}": sent // 10,
            "sentHeartbeats": int(now - peer.since),
            "droppedPackets": 0,
        }
        return {
            "id": peer.id,
            "multiAddresses": [peer.address.rpartition("/p2p/")[0]],
            "alias": peer.alias,
            "relation": "known",
            "connected": True,
            "gossip": {"heartbeat": None, "metrics": metrics},
        }


def _failure(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"code": str(status), "message": message}}, status=status)
