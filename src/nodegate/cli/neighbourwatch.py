"""`nodegate neighbours watch`: the live table, or lines for programs."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nodegate.cli import neighbourtable, output
from nodegate.host.neighbours.documents import look_document
from nodegate.host.neighbours.exporter import Exporter
from nodegate.host.neighbours.watch import Seen, Watch, WatchOptions, any_dead, utc_now
from nodegate.model import Instant

if TYPE_CHECKING:
    from nodegate.cli.neighbourteller import Teller
    from nodegate.host.neighbours.nodes import Node

SAID = 5
"""Events under the live table."""


def teller(node: str, state: Path | None, admin: str | None, token: str | None) -> Teller:
    """Who tells the gateway. Raises NotFound when it has no such node, and as `find_daemon` and AdminClient do."""
    from nodegate.cli.neighbourteller import Teller
    from nodegate.cli.target import find_daemon

    found = Teller(find_daemon(state, admin, token), node)
    found.check()
    return found


def run(
    node: Node,
    options: WatchOptions,
    *,
    serve: str | None,
    seconds: float | None,
    as_json: bool,
    teller: Teller | None = None,
) -> bool:
    """Watch until Ctrl-C or for `seconds`; returns whether a neighbour is dead at the end."""
    epoch = time.time() - time.monotonic()

    def now() -> Instant:
        return Instant(epoch + time.monotonic())

    async def watch(tell: Callable[[Seen], None]) -> bool:
        watched = Watch(node, options, now=now, tell=_both(tell, teller))
        exporter = Exporter(watched.exported)
        telling = None if teller is None else asyncio.create_task(teller.run())
        try:
            if serve is not None:
                output.note(f"metrics at {await exporter.start(serve)}")
            await watched.run(None if seconds is None else Instant(now() + seconds))
        finally:
            await exporter.stop()
            await node.close()
            if telling is not None and teller is not None:
                telling.cancel()
                await asyncio.wait({telling})
                await teller.flush()
        return any_dead(watched.rows)

    with suppress(KeyboardInterrupt):
        if as_json:
            return asyncio.run(watch(_json_lines(node.url)))
        screen = output.console()
        if not screen.is_terminal:
            return asyncio.run(watch(_lines(node.url)))
        from rich.live import Live

        with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
            said: deque[str] = deque(maxlen=SAID)

            def show(seen: Seen) -> None:
                said.extend(f"{time.strftime('%H:%M:%S')} {line}" for line in _events(seen))
                view = neighbourtable.watched(
                    node.url, seen.rows, said=tuple(said), trouble=seen.trouble, width=screen.width
                )
                live.update(view, refresh=True)

            return asyncio.run(watch(show))
    return False


def _both(tell: Callable[[Seen], None], teller: Teller | None) -> Callable[[Seen], None]:
    """Show it, and tell the gateway if somebody does."""
    if teller is None:
        return tell

    def both(seen: Seen) -> None:
        tell(seen)
        teller.take(seen)

    return both


def _json_lines(url: str) -> Callable[[Seen], None]:
    def tell(seen: Seen) -> None:
        document = look_document(url, utc_now(), seen.rows, seen.removed)
        print(json.dumps(document | {"trouble": seen.trouble or None}, ensure_ascii=False), flush=True)

    return tell


def _lines(url: str) -> Callable[[Seen], None]:
    """Not a terminal: what happens, once each, as for a journal."""
    last: list[str] = []

    def tell(seen: Seen) -> None:
        if not last and not seen.trouble:
            output.note(f"watching {len(seen.rows)} neighbours of {url}")
        for line in _events(seen):
            output.note(line)
        if seen.trouble and seen.trouble != (last or [""])[-1]:
            output.note(seen.trouble)
        last[:] = [seen.trouble]

    return tell


def _events(seen: Seen) -> list[str]:
    died = [neighbourtable.event(row) for row in seen.turned]
    return [*died, *(f"{uri} is removed" for uri in seen.removed)]
