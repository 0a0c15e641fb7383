"""A second process on a registry file: `python registry_process.py FILE WHAT…`. Says on its standard output
what it has done, a line each, so that a test can wait for it.

- `put ID…`: puts these nodes and ends.
- `puts`: puts nodes for ever; each line is an id that was confirmed.
- `lock`: holds the write lock until its standard input ends.
- `try`: reads and puts once as user and group 65534, and says what came of it.
- `limited BYTES`: puts nodes until files may not grow beyond BYTES, says what came of it and how many
  nodes were confirmed, then lifts the limit and reads.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import sqlite3
import sys
from pathlib import Path

from nodegate.errors import NodegateError
from nodegate.model import Instant, Node
from nodegate.registry.sqlite import SqliteRegistry


class _Clock:
    def now(self) -> Instant:
        return Instant(0.0)


def say(text: object) -> None:
    print(text, flush=True)


def node(node_id: str) -> Node:
    return Node(id=node_id, url="http://192.0.2.1:1", kind="iri", options={"padding": "x" * 200})


async def put(registry: SqliteRegistry, *ids: str) -> None:
    for node_id in ids:
        await registry.put(node(node_id))
        say(node_id)


async def puts(registry: SqliteRegistry) -> None:
    await put(registry, *(f"n{number}" for number in range(100_000)))


async def attempt(registry: SqliteRegistry) -> None:
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    for call in (registry.read(), registry.put(node("stranger"))):
        try:
            say(f"done: {await call}")
        except NodegateError as error:
            say(f"{type(error).__name__}: {error}")


async def limited(registry: SqliteRegistry, size: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), resource.RLIM_INFINITY))
    confirmed = 0
    try:
        for number in itertools.count():
            await registry.put(node(f"n{number}"))
            confirmed += 1
    except NodegateError as error:
        say(f"{type(error).__name__}: {error}")
    say(confirmed)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    say(len((await registry.read()).nodes))
    await registry.put(node("after"))
    say(len((await registry.read()).nodes))


def lock(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    say("locked")
    sys.stdin.read()
    db.execute("ROLLBACK")
    db.close()


async def main(path: Path, what: str, *arguments: str) -> None:
    registry = SqliteRegistry(path, _Clock())
    try:
        await {"put": put, "puts": puts, "try": attempt, "limited": limited}[what](registry, *arguments)  # type: ignore[operator]
    finally:
        await registry.close()


if __name__ == "__main__":
    if sys.argv[2] == "lock":
        lock(Path(sys.argv[1]))
    else:
        asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
