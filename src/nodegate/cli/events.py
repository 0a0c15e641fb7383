"""`nodegate events`: what happened, and what happens."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from nodegate.cli.options import Admin, State, Token
from nodegate.errors import BadDocument, Fault, Unavailable

if TYPE_CHECKING:
    from nodegate.cli.client import AdminClient
    from nodegate.views.events import EventRow, EventsDocument

WAIT = 30.0
"""Seconds that one question of `--follow` waits for an answer."""
RETRY = 2.0
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Filters(TypedDict):
    """Which events are shown."""

    kind: tuple[str, ...]
    node: str | None


def events(
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="WHEN", help="A span such as 15m, 2h, 1d, or a time such as 2024-05-01T12:00."
        ),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only this kind; may stand several times.")
    ] = None,
    node: Annotated[str | None, typer.Option("--node", metavar="ID", help="Only about this node.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many of the past at most.")
    ] = 100,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --follow one event on each line.")
    ] = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Show what happened: nodes up and down, bans, policies, alerts, what safety held back."""
    from nodegate.cli import output
    from nodegate.cli.client import AdminClient
    from nodegate.cli.target import find_daemon

    begin = None if since is None else moment(since, time.time())
    filters = _Filters(kind=tuple(known_kinds(kind or ())), node=node)
    with AdminClient(find_daemon(state, admin, token), timeout=WAIT + 15) as daemon:
        document = daemon.events(since=begin, limit=limit, **filters)
        if as_json and not follow:
            output.print_json(document)
            return
        _print(document.events, as_json)
        if not document.events and not follow:
            output.note("nothing has happened")
        last = document.last
        while follow:
            document = _next(daemon, last, filters)
            _print(document.events, as_json)
            last = document.last


def _next(daemon: AdminClient, last: int, filters: _Filters) -> EventsDocument:
    """What comes after `last`. A daemon that is restarted meanwhile is waited for: it still has the same log."""
    from nodegate.cli import output

    said = False
    while True:
        try:
            return daemon.events(after=last, wait=WAIT, limit=1000, **filters)
        except Unavailable as error:
            if not said:
                output.note(f"{error}; trying again")
            said = True
            time.sleep(RETRY)


def known_kinds(names: Iterable[str]) -> Iterable[str]:
    """The names. Raises BadDocument for one that no event has."""
    from nodegate.telemetry.kinds import Kind

    known = [kind.value for kind in Kind]
    for name in names:
        if name not in known:
            message = f"{name!r} is no kind of event; known: {', '.join(sorted(known))}"
            raise BadDocument([Fault(file="--kind", line=None, key="", message=message)])
        yield name


def moment(text: str, now: float) -> float:
    """`15m` before `now`, or an ISO 8601 time (local unless it says otherwise), as seconds since the epoch.

    Raises BadDocument.
    """
    if found := _SPAN.fullmatch(text):
        return now - int(found[1]) * _UNITS[found[2]]
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no time: write 15m, 2h, 1d, or 2024-05-01T12:00"
        raise BadDocument([Fault(file="--since", line=None, key="", message=message)]) from error


def _print(rows: Iterable[EventRow], as_json: bool) -> None:
    from nodegate.cli import output

    screen = output.console()
    for row in rows:
        if as_json:
            print(json.dumps(row.model_dump(mode="json"), ensure_ascii=False))
        else:
            screen.print(output.event_line(row), soft_wrap=True)
    sys.stdout.flush()
