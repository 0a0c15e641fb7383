"""`python -m bench [NAME …]`: run benchmarks, print a table, write bench/results/NAME.json."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.figures import Figure, Outcome, shown

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A module with an async `run() -> Outcome`, and what it measures in words."""

    module: str
    title: str
    asked: bool = False
    """Runs only when it is named: it takes long, or installs what the others don't need."""

    @property
    def run(self) -> Callable[[], Awaitable[Outcome]]:
        """Imported late: one that lacks something must not stop the others."""
        found: Callable[[], Awaitable[Outcome]] = importlib.import_module(f"bench.{self.module}").run
        return found


BENCHMARKS = {
    "pass": Benchmark(module="passes", title="decide over 10,000 nodes"),
    "hotadd": Benchmark(module="hotadd", title="add 10,000 nodes to a running HAProxy under traffic"),
    "failover": Benchmark(module="failover", title="kill 2 of 5 nodes under 50 connections"),
    "overhead": Benchmark(module="overhead", title="what the gateway costs a request, without a policy"),
    "firewall": Benchmark(module="firewall", title="what the firewall costs a request, and its peers"),
    "jsonrpc": Benchmark(module="jsonrpc", title="what the firewall costs a JSON-RPC call, and its peers"),
    "dashboard": Benchmark(module="dashboard", title="20 people look at 1,000 nodes"),
    "provision": Benchmark(module="provision", title="make a bare host a node host, twice"),
    "purge": Benchmark(module="purge", title="sweep a tenant of 440 things on a real Neutron", asked=True),
    "cluster": Benchmark(module="cluster", title="Consul says so: until clients notice, and 5,000 services"),
    "address": Benchmark(module="address", title="a shared address moves to the other gateway"),
    "capture": Benchmark(
        module="capture", title="read a capture, whole and with losses; look at 4,000 sockets"
    ),
    "doctor": Benchmark(module="doctor", title="audit Debian hosts over SSH"),
    "probing": Benchmark(module="probing", title="probe 10,000 nodes every 10 s for a minute"),
}


def main() -> int:
    """The exit code: 1 when a benchmark could not run, whatever the figures are."""
    chosen = _arguments()
    console = Console()
    facts = machine.facts()
    table = _table(facts)
    broken = []
    for name in chosen:
        benchmark = BENCHMARKS[name]
        console.print(f"[dim]· {name}: {benchmark.title}[/dim]")
        began = time.monotonic()
        try:
            outcome = _run(benchmark)
        except Exception:
            traceback.print_exc()
            broken.append(name)
            table.add_row(name, "[red]could not run, see above[/red]", "", "", "")
            table.add_section()
            continue
        _write(name, benchmark, facts, outcome, seconds=time.monotonic() - began)
        for place, figure in enumerate(outcome.figures):
            table.add_row("" if place else name, *_row(figure))
        table.add_section()
    console.print(table)
    return 1 if broken else 0


def _run(benchmark: Benchmark) -> Outcome:
    async def run() -> Outcome:
        return await benchmark.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def _arguments() -> list[str]:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure nodegate.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    names: list[str] = parser.parse_args().names
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return names or [name for name, benchmark in BENCHMARKS.items() if not benchmark.asked]


def _table(facts: dict[str, object]) -> Table:
    title = f"nodegate {facts['nodegate']}, HAProxy {facts['haproxy']}, Python {facts['python']}, {facts['cores']} cores"
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in ("benchmark", "what", "figure", "aim", "against a peer"):
        table.add_column(name, justify="right" if name in {"figure", "aim"} else "left")
    return table


def _row(figure: Figure) -> tuple[str, str, str, str]:
    colour = {True: "[green]", False: "[yellow]", None: ""}[figure.met]
    value = figure.note if figure.value is None else shown(figure.value, figure.unit)
    note = f" [dim]({figure.note})[/dim]" if figure.note and figure.value is not None else ""
    return (
        figure.what + note,
        f"{colour}{value}{' missed' if figure.met is False else ''}",
        _aim(figure),
        f"{shown(figure.ratio)} times {figure.peer}" if figure.ratio is not None else "",
    )


def _aim(figure: Figure) -> str:
    if figure.at_most is not None:
        return f"≤ {shown(figure.at_most, figure.unit)}" if figure.at_most else "0"
    return f"≥ {shown(figure.at_least, figure.unit)}" if figure.at_least is not None else ""


def _write(
    name: str, benchmark: Benchmark, facts: dict[str, object], outcome: Outcome, *, seconds: float
) -> None:
    RESULTS.mkdir(exist_ok=True)
    document = {
        "benchmark": name,
        "title": benchmark.title,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": facts,
        "figures": [figure.document() for figure in outcome.figures],
        "details": outcome.details,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
