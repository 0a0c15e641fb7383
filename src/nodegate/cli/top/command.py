"""`nodegate top`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from nodegate.cli.options import Admin, State, Token, client
from nodegate.errors import NodegateError

INSTALL = 'this command needs textual: pip install "nodegate[top]"'


def top(
    *,
    interval: Annotated[
        float, typer.Option("--interval", "-i", min=0.2, help="Seconds between two looks.")
    ] = 2.0,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Watch nodes, methods, clients and events, live; drain nodes and let them serve. `?` shows the keys."""
    try:
        from nodegate.cli.top.app import Top
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "textual":
            raise
        raise NodegateError(INSTALL) from None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NodegateError(
            "top needs a terminal; for scripts there are `nodegate nodes list --json` and others"
        )
    from nodegate.cli.top.feed import Feed

    with client(state, admin, token) as daemon:
        feed = Feed(daemon, time.monotonic)
        # The first look is made before the screen is taken, so that a wrong address or token is said plainly.
        first = feed.look()
        Top(daemon, feed, first, interval=interval).run()
