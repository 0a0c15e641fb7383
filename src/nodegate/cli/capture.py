"""`nodegate capture`: what hits a node's API, and what never gets an answer."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodegate.errors import BadDocument, Fault, Malformed, NodegateError

if TYPE_CHECKING:
    from nodegate.host.capture.analysis import Analysis
    from nodegate.host.capture.live import Source
    from nodegate.host.capture.report import Report

REFRESH = 0.5


def capture(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE | -]", help="A pcap or pcapng file; - is standard input.")
    ] = None,
    *,
    interface: Annotated[
        str | None,
        typer.Option("--interface", "-i", metavar="IFACE", help="Listen here; `any` is all of them."),
    ] = None,
    port: Annotated[
        list[int] | None,
        typer.Option(
            "--port", "-p", min=1, max=65535, help="Port of the API; may be repeated. [default: 14265]"
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0.1, help="Seconds to listen. [default: until Ctrl-C]")
    ] = None,
    after: Annotated[
        float, typer.Option("--after", min=0, help="Seconds without an answer that count as unanswered.")
    ] = 1.0,
    top: Annotated[int, typer.Option("--top", min=1, max=100, help="Entries of each list.")] = 10,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what hits a node's API and what never gets an answer, from a capture or live.

    Exit code 1 when requests were never answered, 0 when all were. Needs root only for --interface.
    """  # fmt: skip
    if (file is None) == (interface is None):
        raise _bad("FILE, - or --interface", "name one of them: what to read, or where to listen")
    ports = tuple(dict.fromkeys(port or [14265]))
    if len(ports) > 50:
        raise _bad("--port", "50 ports at most")
    analysis, source = _parts(file, interface, ports, top, seconds)
    _run(analysis, source, after=after, top=top, seconds=seconds, quiet=json_)
    analysis.finish()
    if analysis.unreadable:
        from nodegate.host.capture.packets import KNOWN_LINKS

        kinds = ", ".join(map(str, sorted(analysis.unknown_links)))
        raise Malformed(
            f"{file or interface}: no frame can be read: link type {kinds}; known are {KNOWN_LINKS}"
        )
    found = _report(analysis, source, after, top)
    if json_:
        print(json.dumps(found.document(), ensure_ascii=False))
    else:
        from nodegate.cli.captureoutput import show

        show(found)
    if found.unanswered:
        raise typer.Exit(1)


def _parts(
    file: str | None, interface: str | None, ports: tuple[int, ...], top: int, seconds: float | None
) -> tuple[Analysis, Source]:
    try:
        from nodegate.host.capture.analysis import Analysis
    except ModuleNotFoundError as error:
        if error.name != "httptools":
            raise
        raise NodegateError('httptools is missing: pip install "nodegate[host]"') from None
    from nodegate.host.capture.live import FileSource, InterfaceSource

    analysis = Analysis(ports, keep=max(top, 100))
    if interface is not None:
        return analysis, InterfaceSource(interface, ports, seconds)
    return analysis, FileSource(file or "-")


def _report(analysis: Analysis, source: Source, after: float, top: int) -> Report:
    from nodegate.host.capture.report import report_of

    return report_of(analysis, after=after, top=top, dropped=source.dropped, damage=source.damage)


def _run(
    analysis: Analysis, source: Source, *, after: float, top: int, seconds: float | None, quiet: bool
) -> None:
    """Read to the end, or until somebody has had enough; on a terminal the table is shown meanwhile."""
    view = _view(source, quiet=quiet)
    end = None if seconds is None else time.monotonic() + seconds
    due = 0.0
    with view or nullcontext(), _until_interrupt(source):
        for frames in source.frames(REFRESH):
            analysis.add(frames)
            now = time.monotonic()
            if not source.total and not frames:
                analysis.now = max(analysis.now, _wall(analysis))
            if view is not None and now >= due:
                view.update(_shown(analysis, source, after, top), refresh=True)
                due = now + REFRESH
            if end is not None and now >= end:
                break


@contextmanager
def _until_interrupt(source: Source) -> Iterator[None]:
    """Ctrl-C ends the capture in order, so that nothing that came is lost; a second one ends the program."""
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        source.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _wall(analysis: Analysis) -> float:
    """While nothing comes, waiting requests grow older; not in a recording that is piped in."""
    now = time.time()
    return now if 0 <= now - analysis.now < 3600 else analysis.now


def _view(source: Source, *, quiet: bool) -> Any:
    if quiet or not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(stderr=True), transient=True, auto_refresh=False)


def _shown(analysis: Analysis, source: Source, after: float, top: int) -> Any:
    if source.total:
        from rich.progress_bar import ProgressBar

        return ProgressBar(total=source.total, completed=source.done, width=60)
    from nodegate.cli.captureoutput import overview

    return overview(_report(analysis, source, after, top))


def _bad(key: str, message: str) -> BadDocument:
    return BadDocument([Fault(file="command line", line=None, key=key, message=message)])
