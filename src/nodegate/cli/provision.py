"""`nodegate provision`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodegate.cli.options import AsJson

if TYPE_CHECKING:
    from nodegate.host.provision.events import HostReport

STYLES = {
    "same": "green",
    "changed": "yellow",
    "refused": "bold red",
    "unreachable": "bold red",
    "failed": "bold red",
}


def provision(
    *,
    document: Annotated[Path, typer.Argument(metavar="FILE", help="The document that names hosts, such as fleet.toml.")],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; say what would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show how files differ.")] = False,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Only this host of the document; may be repeated.")
    ] = None,
    ask_sudo_password: Annotated[
        bool, typer.Option("--ask-sudo-password", help="Ask for the password that sudo asks for on the hosts.")
    ] = False,
    json_: AsJson = False,
) -> None:  # fmt: skip
    """Make bare Debian and Ubuntu hosts into hardened node hosts. Doing it twice changes nothing.

    SSH and firewall are changed under a timer on the host that puts them back, unless a new login works.
    Exit code 0: all hosts are as wanted; 9: one was refused, as it would lock you out; 4: one cannot be reached;
    1: something failed on one.
    """
    from nodegate.host.provision.events import exit_code
    from nodegate.host.provision.reading import read_fleet
    from nodegate.host.provision.run import Options
    from nodegate.host.provision.run import provision as play

    source = read_fleet(document)
    password = typer.prompt("sudo password", hide_input=True, err=True) if ask_sudo_password else None
    options = Options(check=check, diff=diff, limit=tuple(limit or ()), sudo_password=password)
    with _Screen() as screen:
        reports = play(source, options, screen.show)
    if json_:
        from nodegate.cli.output import print_json

        print_json({"check": check, "hosts": [report.document() for report in reports]})
    else:
        _summary(reports, check=check, diff=diff)
    raise typer.Exit(exit_code(reports))


class _Screen:
    """What each host is at, on standard error: a live line each on a terminal, else one line for each change."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._live = sys.stderr.isatty()
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(),
            console=Console(stderr=True), disable=not self._live,
        )  # fmt: skip
        self._rows: dict[str, Any] = {}
        self._said: dict[str, int] = {}

    def __enter__(self) -> _Screen:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, report: HostReport) -> None:
        """One host got further."""
        from nodegate.cli.output import note

        done = self._said.get(report.name, 0)
        if not self._live:
            for change in report.changes[done:]:
                note(f"{report.name}: {change}")
            self._said[report.name] = len(report.changes)
            return
        text = f"{report.name}: {report.step or report.outcome.value} ({len(report.changes)} changes)"
        if report.name in self._rows:
            self._progress.update(self._rows[report.name], description=text)
        else:
            self._rows[report.name] = self._progress.add_task(text, total=None)


def _summary(reports: list[HostReport], *, check: bool, diff: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from nodegate.cli.output import cell, clean, console

    screen = console()
    for report in reports:
        if check:
            for change in report.changes:
                screen.print(Text(clean(f"{report.name}: {change}")))
        if diff:
            for text in report.diffs:
                screen.print(Text(clean(text.expandtabs(4))))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("HOST", "OUTCOME", "WOULD CHANGE" if check else "CHANGED", ""):
        table.add_column(name, no_wrap=name != "", overflow="fold")
    for report in reports:
        outcome = Text(report.outcome.value, style=STYLES[report.outcome.value])
        table.add_row(cell(report.name), outcome, cell(len(report.changes)), Text(clean(report.message)))
    screen.print(table)
