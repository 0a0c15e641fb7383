"""`nodegate sockets`: connections and descriptors of a node as a gauge, a check, and metrics."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.errors import BadDocument, Fault, Unavailable

if TYPE_CHECKING:
    from rich.console import Group

    from nodegate.host.sockets.gauge import Bounds, Gauge, Reading

COLOURS = {0: "green", 1: "yellow", 2: "bold red", 3: "dim"}


def sockets(
    *,
    port: Annotated[
        list[int] | None,
        typer.Option(
            "--port", "-p", min=1, max=65535, help="Port of the API; may be repeated. [default: 14265]"
        ),
    ] = None,
    pid: Annotated[
        int | None,
        typer.Option("--pid", min=1, help="The node's process. [default: who listens on the port]"),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")] = 2.0,
    owed_after: Annotated[
        float, typer.Option("--owed-after", min=0.01, help="Seconds after which an answer is owed.")
    ] = 10.0,
    close_wait: Annotated[
        str | None,
        typer.Option(
            "--close-wait", metavar="WARN,CRIT", help="Connections in CLOSE_WAIT. [default: 50,200]"
        ),
    ] = None,
    owed: Annotated[
        str | None,
        typer.Option(
            "--owed", metavar="WARN,CRIT", help="Connections that are owed an answer. [default: 50,200]"
        ),
    ] = None,
    files: Annotated[
        str | None,
        typer.Option("--files", metavar="WARN,CRIT", help="Share of descriptors in use. [default: 0.8,0.95]"),
    ] = None,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print metrics for Prometheus.")] = False,
    textfile: Annotated[
        Path | None,
        typer.Option(
            "--textfile", metavar="FILE", help="Write metrics for node_exporter's textfile collector."
        ),
    ] = None,
    serve: Annotated[
        str | None,
        typer.Option(
            "--serve", metavar="HOST:PORT", help="Serve metrics until Ctrl-C, such as 127.0.0.1:9313."
        ),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print JSON, with --watch a line for each look.")
    ] = False,
) -> None:
    """Say how many connections a node has, how many it has forgotten or owes an answer, and its descriptors.

    Exit code as Nagios has it: 0 fine, 1 warning, 2 critical, 3 unknown. Needs no root; the process of another user
    is found with --pid.
    """  # fmt: skip
    from nodegate.host.sockets.gauge import Gauge, Thresholds

    standard = Thresholds()
    thresholds = Thresholds(
        close_wait=_bounds("--close-wait", close_wait, standard.close_wait),
        owed=_bounds("--owed", owed, standard.owed),
        files=_bounds("--files", files, standard.files),
    )
    gauge = Gauge(
        tuple(dict.fromkeys(port or [14265])), pid=pid, owed_after=owed_after, thresholds=thresholds
    )
    try:
        if serve is not None:
            _serve(gauge, serve)
        elif prometheus or textfile is not None:
            _metrics(gauge, textfile, again=interval if watch else None)
        elif watch:
            _watch(gauge, interval, json_=json_)
        else:
            readings = gauge.read()
            _show(readings, json_=json_)
            raise typer.Exit(int(max(reading.level for reading in readings)))
    except KeyboardInterrupt:
        return
    finally:
        gauge.close()


def _bounds(option: str, text: str | None, standard: Bounds) -> Bounds:
    from nodegate.host.sockets.gauge import Bounds

    if text is None:
        return standard
    try:
        warning, critical = (float(part) for part in text.split(","))
        if not 0 <= warning <= critical:
            raise ValueError
    except ValueError:
        raise _bad(option, f"{text!r}: two numbers such as 50,200, the first not above the second") from None
    return Bounds(warning=warning, critical=critical)


def _metrics(gauge: Gauge, textfile: Path | None, *, again: float | None) -> None:
    from nodegate.host.sockets.exporter import text_of, write_textfile

    while True:
        if textfile is None:
            sys.stdout.write(text_of(gauge).decode())
            sys.stdout.flush()
        else:
            write_textfile(gauge, textfile)
        if again is None:
            return
        time.sleep(again)


def _serve(gauge: Gauge, address: str) -> None:
    from prometheus_client import start_http_server

    from nodegate.host.sockets.exporter import registry_of
    from nodegate.settings.checks import checked_address

    try:
        host, _, number = checked_address(address).rpartition(":")
    except ValueError as error:
        raise _bad("--serve", str(error)) from None
    try:
        server, thread = start_http_server(int(number), host.strip("[]"), registry=registry_of(gauge))
    except OSError as error:
        raise Unavailable(f"cannot listen on {address}: {error.strerror}") from error
    print(f"nodegate: metrics at http://{address}/metrics", file=sys.stderr, flush=True)
    try:
        thread.join()
    finally:
        server.shutdown()


def _watch(gauge: Gauge, interval: float, *, json_: bool) -> None:
    if json_ or not sys.stdout.isatty():
        while True:
            _show(gauge.read(), json_=json_)
            time.sleep(interval)
    from rich.live import Live

    with Live(auto_refresh=False, screen=False) as view:
        while True:
            view.update(_table(gauge.read()), refresh=True)
            time.sleep(interval)


def _show(readings: tuple[Reading, ...], *, json_: bool) -> None:
    if json_:
        document = {"at": time.time(), "ports": [reading.document() for reading in readings]}
        print(json.dumps(document), flush=True)
        return
    from nodegate.cli.output import console

    console().print(_table(readings))


def _table(readings: tuple[Reading, ...]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("PORT", "ESTAB", "CLOSE_WAIT", "OWED", "UNREAD", "BACKLOG", "FILES"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("PROCESS", overflow="fold")  # the only one that gives way on a narrow terminal
    table.add_column("STATE", no_wrap=True)
    notes = []
    for reading in readings:
        counted, process = reading.sockets, reading.process
        told = "-" if process.files is None else f"{process.files}/{process.files_limit or '?'}"
        table.add_row(
            str(reading.port), f"{counted.established:,}", f"{counted.close_wait:,}", f"{counted.owed:,}",
            f"{counted.unread:,}", f"{counted.backlog}/{counted.backlog_limit}", told,
            "-" if process.pid is None else f"{process.name} ({process.pid})",
            Text(reading.level.name.lower(), style=COLOURS[reading.level]),
        )  # fmt: skip
        notes += [
            Text(f"! {reading.port}: {reason}", style=COLOURS[reading.level]) for reason in reading.reasons
        ]
        notes += [Text(f"note: {reading.port}: {process.why}", style="dim")] if process.why else []
    return Group(table, *notes)


def _bad(key: str, message: str) -> BadDocument:
    return BadDocument([Fault(file="command line", line=None, key=key, message=message)])
