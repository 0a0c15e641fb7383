"""What `nodegate doctor` shows to people."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from nodegate.cli.output import cell, console, print_json
from nodegate.host.doctor.facts import Result, State
from nodegate.host.doctor.report import counts
from nodegate.host.doctor.run import Audit
from nodegate.host.doctor.run import Progress as Tell
from nodegate.host.rules import RULES, Severity

_STATES = {State.PASS: "green", State.FAIL: "bold red", State.UNKNOWN: "yellow"}
_ORDER = {State.FAIL: 0, State.UNKNOWN: 1, State.PASS: 2}
_WEIGHT = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


def print_rules(*, as_json: bool) -> None:
    """The whole table of rules."""
    if as_json:
        names = ("id", "severity", "title", "why", "mend", "source")
        print_json({"rules": [{name: str(getattr(rule, name)) for name in names} for rule in RULES]})
        return
    table = _table("RULE", "SEVERITY", "WHAT IS WANTED")
    for rule in RULES:
        table.add_row(cell(rule.id), cell(rule.severity.value), cell(rule.title))
    console().print(table)


def print_audits(audits: Sequence[Audit], *, hints: bool, everything: bool) -> None:
    """One table a host: what is broken first, then what is unknown; a line of counts."""
    screen = console()
    for place, audit in enumerate(audits):
        if place:
            screen.print()
        title = Text(audit.host, style="bold")
        if audit.system:
            title.append(f"  {audit.system}", style="dim")
        screen.print(title)
        if audit.error is not None:
            screen.print(Text(f"not audited: {audit.error}", style="bold red"))
            continue
        _print_results(screen, audit, hints=hints, everything=everything)
        found = counts(audit)
        words = [f"{found['fail']} fail", f"{found['unknown']} unknown", f"{found['pass']} pass"]
        words += [f"{found['silenced']} silenced"] if found["silenced"] else []
        screen.print(Text(f"{', '.join(words)}  ({audit.seconds:.1f} s)", style="dim"))


def _print_results(screen: Console, audit: Audit, *, hints: bool, everything: bool) -> None:
    shown = [result for result in audit.results if everything or result.state is not State.PASS]
    shown.sort(
        key=lambda result: (result.silenced is not None, _ORDER[result.state], _WEIGHT[result.rule.severity])
    )
    if not shown:
        return
    table = _table("STATE", "SEVERITY", "RULE", "FOUND")
    for result in shown:
        table.add_row(
            _state(result), cell(result.rule.severity.value), cell(result.rule.id), _found(result, hints)
        )
    screen.print(table)


def _state(result: Result) -> Text:
    if result.silenced is not None:
        return Text("silenced", style="dim")
    return Text(result.state.value, style=_STATES[result.state])


def _found(result: Result, hints: bool) -> Text:
    text = cell(result.text)
    if result.silenced is not None:
        text.append(f"; {result.silenced}", style="dim")
    if hints and result.state is State.FAIL:
        text.append(f"\n{result.rule.why}\n", style="dim")
        text.append(result.rule.mend, style="cyan")
    return text


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        last = name == names[-1]
        table.add_column(name, no_wrap=not last, overflow="fold" if last else "ellipsis")
    return table


@contextmanager
def progress(hosts: Sequence[str]) -> Iterator[Tell]:
    """A bar on standard error while hosts are asked; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda host, state: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("audit", total=len(hosts))

        def tell(host: str, state: str) -> None:
            bar.update(task, description=f"{host} {state}", advance=0 if state == "asked" else 1)

        yield tell
