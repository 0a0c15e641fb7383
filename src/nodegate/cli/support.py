"""`nodegate support`: a bundle for a bug report."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodegate import __version__
from nodegate.cli.options import Admin, AsJson, State, Token
from nodegate.cli.output import cell, console, note, print_json

if TYPE_CHECKING:
    from nodegate.cli.target import Target
    from nodegate.host.support.collect import Item

USUAL = Path("/etc/nodegate/nodegate.toml")


def support(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-f", help="file to write; else nodegate-support-TIME.tar.gz here"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", envvar="NODEGATE_CONFIG", help="nodegate.toml; else /etc/nodegate/nodegate.toml"
        ),
    ] = None,
    with_doctor: Annotated[bool, typer.Option("--doctor/--no-doctor", help="audit this host as well")] = True,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Write a bundle with versions, settings, status, logs and an audit, secrets removed. Look through it before you
    send it: addresses of clients and nodes stay in."""
    from nodegate.daemon.state import StateDir, default_state_dir
    from nodegate.host.support.bundle import clean, manifest, manifest_file, write_bundle
    from nodegate.model import Instant

    now = Instant(time.time())
    name = time.strftime("nodegate-support-%Y%m%d-%H%M%S", time.gmtime(now))
    path = output or Path(f"{name}.tar.gz")
    directory = StateDir(state or default_state_dir(os.environ))
    target = _target(state, admin, token)
    settings = config or (USUAL if USUAL.is_file() else None)
    known = _known(settings, directory.token, target)
    files, entries = clean(_items(settings, directory.path, target, audit=with_doctor), known)
    document = manifest(entries, at=now)
    write_bundle(path, [manifest_file(document), *files], at=now, folder=name)
    if as_json:
        print_json({"file": str(path), **document})
    else:
        _show(document, path)


def _target(state: Path | None, admin: str | None, token: str | None) -> Target | None:
    """The running daemon; None, and a note, where there is none: a bundle is wanted most when it does not run."""
    from nodegate.cli.target import find_daemon
    from nodegate.errors import NodegateError

    try:
        return find_daemon(state, admin, token)
    except NodegateError as error:
        if admin is not None:
            raise
        note(f"without the daemon's own words: {error}")
        return None


def _known(settings: Path | None, token: Path, target: Target | None) -> tuple[str, ...]:
    """Values that must not appear anywhere in the bundle: of settings, the files they name, and the environment."""
    from nodegate.host.support.redact import environment_secrets, secret_files, secret_values, with_parts

    text = "" if settings is None else _text(settings)
    kept = [settings.parent / name for name in secret_files(text)] if settings is not None else []
    lines = [line.strip() for path in (token, *kept) for line in _text(path).splitlines()]
    found = [*environment_secrets(os.environ), *secret_values(text), *_declared(settings), *lines]
    return tuple(value for value in with_parts([*found, "" if target is None else target.token]) if value)


def _declared(settings: Path | None) -> tuple[str, ...]:
    """What the settings call secret; nothing of a file that does not load, whose telling names still count."""
    from nodegate.errors import NodegateError
    from nodegate.host.support.redact import declared_secrets
    from nodegate.settings import load_settings

    try:
        return declared_secrets(load_settings(settings, os.environ))
    except NodegateError:
        return ()


def _text(path: Path) -> str:
    """A file's text, empty where it cannot be read: what is not known is then still found by its name or form."""
    from nodegate.host.support.collect import read_plain

    try:
        return read_plain(path.resolve())
    except OSError:
        return ""


def _items(settings: Path | None, state: Path, target: Target | None, *, audit: bool) -> Iterator[Item]:
    from nodegate.host.support.collect import Item, daemon, journal, one_file, state_files, versions

    yield versions()
    if settings is None:
        yield Item(name="nodegate.toml", source="--config", missing="no settings file was named")
    else:
        yield one_file(settings, "nodegate.toml")
    if state.is_dir():
        yield from state_files(state)
    else:
        yield Item(name="state", source=str(state), missing="is not there, or may not be read by this user")
    if target is not None:
        yield from daemon(target.url, target.token)
    yield from journal()
    if audit:
        yield Item(
            name="doctor.json", source="nodegate doctor", text=json.dumps(asyncio.run(_audit()), indent=2)
        )


async def _audit() -> dict[str, Any]:
    from nodegate.host.doctor.facts import Expect
    from nodegate.host.doctor.hosts import Host
    from nodegate.host.doctor.report import json_document
    from nodegate.host.doctor.run import Request, audit
    from nodegate.model import Instant

    request = Request(hosts=(Host(),), stranger=None, expect=Expect(version=__version__), ask={})
    return json_document(
        await audit(request, now=Instant(time.time()), progress=lambda host, state: None), ()
    )


def _show(document: dict[str, Any], path: Path) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("FILE", "BYTES", "REMOVED"):
        table.add_column(
            heading, justify="right" if heading == "BYTES" else "left", no_wrap=heading != "REMOVED"
        )
    for entry in document["files"]:
        removed = ", ".join(f"{count} {kind}" for kind, count in entry["removed"].items())
        table.add_row(cell(entry["name"]), cell(f"{entry['bytes']:,}"), cell(removed))
    screen = console()
    screen.print(table)
    for entry in document["left_out"]:
        screen.print(cell(f"left out: {entry['name']}: {entry['why']}"), style="dim")
    screen.print(cell(f"{path}: look through it before you send it"))
