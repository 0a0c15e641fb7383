"""Listening sockets and servers of the daemon: the admin API's and the registration page's."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from nodegate.errors import Conflict
from nodegate.haproxy.config import split_host_port


def bound(place: str, *, key: str, advice: str) -> socket.socket:
    """A listening socket at `place` (HOST:PORT, * for all addresses). Raises Conflict, naming the setting `key` and
    the address, when it cannot be had; `advice` says what to do when it is taken."""
    host, port = split_host_port(place)
    try:
        found = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Conflict(f"{key}: {place}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise Conflict(f"{key}: {place}: {error.strerror}; {advice}") from error
    return listener


async def serve(app: ASGIApp, listener: socket.socket, **options: Any) -> None:
    """Serve `app`, for ever; `options` are uvicorn's, beside those that all our servers share."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=2, **options,
    )  # fmt: skip
    # A copy: uvicorn closes what it is given, and the job may be started again.
    await _Server(config).serve(sockets=[listener.dup()])


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own."""

    def capture_signals(self):  # type: ignore[no-untyped-def]
        return nullcontext()
