"""Waiting until what was asked for has happened, with words on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nodegate.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from nodegate.cli.client import AdminClient
    from nodegate.views import NodeDetail, NodeRow

LOOK_EVERY = 0.2
"""Seconds between two looks; passes come about once a second."""


def until(
    look: Callable[[], NodeDetail], done: Callable[[NodeRow], bool], within: float, complaint: str
) -> NodeDetail:
    """The node once it is `done`. Raises Unavailable with `complaint` and its status after `within` seconds."""
    deadline = time.monotonic() + within
    with _progress() as tell:
        while True:
            node = look()
            if done(node):
                return node
            words = f"{node.status.value}{': ' if node.reasons else ''}{'; '.join(node.reasons)}"
            tell(f"{node.id} is {words}")
            if time.monotonic() >= deadline:
                raise Unavailable(f"{complaint} after {within:g} s; it is {words}")
            time.sleep(LOOK_EVERY)


def until_gone(daemon: AdminClient, node_id: str, within: float) -> None:
    """Return once the daemon does not know the node any more. Raises Unavailable after `within` seconds."""
    deadline = time.monotonic() + within
    with _progress() as tell:
        while True:
            try:
                node = daemon.node(node_id)
            except NotFound:
                return
            tell(f"{node_id} has {node.sessions or 0} requests under way")
            if time.monotonic() >= deadline:
                raise Unavailable(f"{node_id} is not gone after {within:g} s; it still drains")
            time.sleep(LOOK_EVERY)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A function that shows what is waited for: a moving line on a terminal, each news once elsewhere."""
    from rich.console import Console

    from nodegate.cli import output

    screen = Console(stderr=True)
    if screen.is_terminal:
        with screen.status("") as status:
            yield lambda text: status.update(output.cell(text))
        return
    said: list[str] = []

    def once(text: str) -> None:
        if said[-1:] != [text]:
            said.append(text)
            output.note(text)

    yield once
