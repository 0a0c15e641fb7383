"""`nodegate doctor`: hold hosts against the table of rules."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodegate import __version__
from nodegate.cli.options import AsJson
from nodegate.cli.output import note, print_json

if TYPE_CHECKING:
    from nodegate.documents import Document
    from nodegate.errors import Fault
    from nodegate.host.doctor.document import DoctorDocument
    from nodegate.host.doctor.run import Audit, Request

USUAL = Path("/etc/nodegate/doctor.toml")


def doctor(
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST]…", help="as ssh is told them; none: this machine")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="what is expected, and silences; else /etc/nodegate/doctor.toml if there"
        ),
    ] = None,
    stranger: Annotated[
        str | None, typer.Option("--from", metavar="HOST", help="host that looks at the others from outside")
    ] = None,
    sudo: Annotated[
        bool, typer.Option("--sudo", help="become root there by `sudo -n`; much is unknown without")
    ] = False,
    unit: Annotated[str | None, typer.Option("--unit", help="unit of the node, such as iri.service")] = None,
    ssh_port: Annotated[int | None, typer.Option("--ssh-port", "-p", help="port to log in by")] = None,
    ssh_option: Annotated[
        list[str] | None,
        typer.Option("--ssh-option", "-o", help="NAME=VALUE for ssh, such as IdentityFile=key"),
    ] = None,
    fix_hints: Annotated[bool, typer.Option("--fix-hints", help="say why and how to mend")] = False,
    all_results: Annotated[bool, typer.Option("--all", "-a", help="show what is fine, too")] = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="print SARIF 2.1.0")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="list the rules, audit nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Audit hosts, read-only. Exit 0 fine, 1 warnings, 2 critical, 3 something unknown, 4 a host not reached."""
    from nodegate.cli import doctortables as tables
    from nodegate.host.doctor.report import exit_code, json_document, sarif_document

    if rules:
        tables.print_rules(as_json=as_json)
        return
    document, source = _document(config)
    request = _request(
        document, hosts or [], stranger, sudo=sudo, unit=unit, port=ssh_port, options=ssh_option or []
    )
    audits = asyncio.run(_audit(request))
    audits, over = _silenced(audits, document, source)
    if sarif:
        print_json(sarif_document(audits, version=__version__))
    elif as_json:
        print_json(json_document(audits, over))
    else:
        tables.print_audits(audits, hints=fix_hints, everything=all_results)
    for fault in over:
        note(str(fault))
    raise typer.Exit(exit_code(audits))


def _document(config: Path | None) -> tuple[DoctorDocument, Document | None]:
    from nodegate.host.doctor.document import DoctorDocument, load_document

    if config is None and not USUAL.is_file():
        return DoctorDocument(), None
    return load_document(config or USUAL)


def _request(
    document: DoctorDocument, names: list[str], stranger: str | None, *, sudo: bool, unit: str | None,
    port: int | None, options: list[str],
) -> Request:  # fmt: skip
    from dataclasses import replace

    from nodegate.host.doctor.hosts import LOCAL, Host
    from nodegate.host.doctor.run import Request

    faulty = [
        name
        for name in (*names, *([stranger] if stranger else []))
        if name.startswith("-") or not name.strip()
    ]
    if faulty:
        raise typer.BadParameter(f"{faulty[0]!r} is no host", param_hint="HOST")
    words = tuple(word for option in options for word in ("-o", option))
    expect = document.expectation(version=__version__)
    given = document.expect
    return Request(
        hosts=tuple(
            Host(name=name, port=port, options=words, sudo=sudo) for name in dict.fromkeys(names or [LOCAL])
        ),
        stranger=None if stranger is None else Host(name=stranger, options=words),
        expect=expect if unit is None else replace(expect, unit=unit),
        ask={
            "certificates": list(given.certificates),
            "secrets": list(given.secrets),
            "states": list(given.states),
        },
    )


async def _audit(request: Request) -> tuple[Audit, ...]:
    from nodegate.cli.doctortables import progress
    from nodegate.host.doctor.run import audit
    from nodegate.model import Instant

    with progress([host.name for host in request.hosts]) as tell:
        return await audit(request, now=Instant(time.time()), progress=tell)


def _silenced(
    audits: tuple[Audit, ...], document: DoctorDocument, source: Document | None
) -> tuple[tuple[Audit, ...], tuple[Fault, ...]]:
    """The audits with silenced results marked, and the silences whose time is over."""
    from nodegate.host.doctor.document import expired, silenced
    from nodegate.host.doctor.run import with_silences

    today = datetime.now(UTC).date()
    over = () if source is None else expired(document, source, today=today)
    marked = with_silences(
        audits, lambda audit: silenced(audit.results, document.silence, host=audit.host, today=today)
    )
    return marked, over
