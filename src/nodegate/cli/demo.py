"""`nodegate demo`: see it work, in less than a minute, on one machine, without root."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from nodegate.cli.options import AsJson
from nodegate.cli.output import nodes_table, print_json
from nodegate.cli.stage import Stage, enter, leave
from nodegate.cli.story import Event, tell
from nodegate.errors import NodegateError
from nodegate.views import NodeRow

Once = Annotated[
    bool, typer.Option("--once", help="End after the story; the exit code says whether all went well.")
]

REFRESH = 0.25


def demo(once: Once = False, as_json: AsJson = False) -> None:
    """Five simulated nodes behind a gateway, a stream of client requests, and what happens to them.

    One node dies, one lags, one lies, one is added, one is drained, nodegate itself is killed, and a node that
    dies for good is replaced. Exit code 0 only if no client request failed. Afterwards everything stays up to play with, unless --once is given
    or the output is not a terminal.
    """
    if not asyncio.run(_play(once=once or as_json or not sys.stdout.isatty(), as_json=as_json)):
        raise typer.Exit(1)


async def _play(*, once: bool, as_json: bool) -> bool:
    show: _Show = _Silent() if as_json else _Screen() if sys.stdout.isatty() else _Lines()
    with tempfile.TemporaryDirectory(prefix="nodegate-demo-") as directory:
        show.line("starting five simulated nodes and a gateway …")
        stage = await enter(Path(directory))
        events: list[Event] = []
        fault = ""
        try:
            with show:
                watching = asyncio.create_task(_watch(stage, show))
                try:
                    async for event in tell(stage):
                        events.append(event)
                        show.event(event)
                except (NodegateError, KeyError) as error:
                    fault = f"the story broke off: {error}"
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
            document = _document(stage, events, fault)
            show.end(document)
            if not once:
                await _stay(stage, show)
        finally:
            await leave(stage)
    if as_json:
        print_json(document)
    return bool(document["ok"])


def _document(stage: Stage, events: list[Event], fault: str) -> dict[str, Any]:
    requests = stage.load.report().document()
    return {
        "ok": not fault and requests["failed"] == 0 and requests["ok"] > 0,
        "fault": fault or None,
        "requests": requests,
        "events": [event.document() for event in events],
    }


async def _watch(stage: Stage, show: _Show) -> None:
    while True:
        with suppress(NodegateError):
            show.nodes(tuple((await stage.gateway.nodes()).values()))
        report = stage.load.report()
        show.counts(report.ok, report.failures, report.p99)
        await asyncio.sleep(REFRESH)


async def _stay(stage: Stage, show: _Show) -> None:
    """Leave it all running for the user, until Ctrl-C."""
    state, control = stage.gateway.state, stage.lab.remote.control
    show.line("It stays up for you, with clients and all. Try in another terminal:\n")
    show.line(f"  nodegate nodes list --watch --state {state}")
    show.line(f"  nodegate lab fault iri-2 hang --control {control}")
    show.line(f"  nodegate scale status --state {state}")
    show.line(
        f"""  curl -i {stage.gateway.url} -H 'X-IOTA-API-Version: 1' -d '{{"command":"getNodeInfo"}}'\n"""
    )
    show.line("Ctrl-C ends it.")
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
    show.line("stopping …")


class _Show:
    """Where the story is shown."""

    def __enter__(self) -> _Show:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def line(self, text: str) -> None:
        """One line of plain text."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def nodes(self, rows: tuple[NodeRow, ...]) -> None:
        """The nodes as they are now."""

    def counts(self, ok: int, failed: int, p99: float | None) -> None:
        """The clients' requests so far."""

    def end(self, document: dict[str, Any]) -> None:
        """The story is over."""


class _Silent(_Show):
    """For --json: the document at the end says it all."""


class _Lines(_Show):
    """For pipes and log files: a line for each event."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)

    def line(self, text: str) -> None:
        self.console.print(Text(text))

    def event(self, event: Event) -> None:
        self.console.print(_event_line(event))

    def end(self, document: dict[str, Any]) -> None:
        requests = document["requests"]
        latency = requests["latency_ms"]
        verdict = f"{requests['ok']} client requests answered, {requests['failed']} failed"
        self.console.print()
        self.console.print(Text(verdict, style="bold green" if document["ok"] else "bold red"))
        self.console.print(
            Text(f"latency p50 {latency['p50']} ms, p99 {latency['p99']} ms; by node: "
                 + ", ".join(f"{name} {count}" for name, count in requests["by_node"].items()))
        )  # fmt: skip
        if document["fault"]:
            self.console.print(Text(str(document["fault"]), style="bold red"))
        for sample in requests["samples"]:
            self.console.print(Text(f"  {sample}", style="red"))


class _Screen(_Lines):
    """For terminals: the nodes live below the story."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[NodeRow, ...] = ()
        self._words = Text("")
        self._live = Live(console=self.console, refresh_per_second=8, transient=True)

    def __enter__(self) -> _Show:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if self._rows:
            self.console.print(nodes_table(self._rows))

    def nodes(self, rows: tuple[NodeRow, ...]) -> None:
        self._rows = rows

    def counts(self, ok: int, failed: int, p99: float | None) -> None:
        slow = "" if p99 is None else f", p99 {p99 * 1000:.1f} ms"
        style = "green" if failed == 0 else "red"
        self._words = Text(f"\n{ok:,} client requests answered, {failed} failed{slow}\n", style=style)
        self._live.update(Group(self._words, nodes_table(self._rows)))


def _event_line(event: Event) -> Text:
    took = "" if event.took is None else f"  ({event.took:.1f} s)"
    return Text.assemble(
        (f"{event.at:5.1f} s  ", "dim"), (f"{event.chapter}: ", "bold"), event.text, (took, "cyan")
    )
