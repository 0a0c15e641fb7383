"""`nodegate lab`: simulated nodes, their faults, attacks, and a measured stream of requests."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodegate.cli.attack import attack
from nodegate.cli.labhornet import hornet
from nodegate.cli.labprovider import provider
from nodegate.errors import BadDocument, Fault, Unavailable

if TYPE_CHECKING:
    from nodegate.lab.lab import Lab

lab = typer.Typer(no_args_is_help=True, help="Simulated nodes, with faults on demand.")
lab.command()(attack)
lab.command()(hornet)
lab.add_typer(provider, name="provider")

DEFAULT_CONTROL = "http://127.0.0.1:14279"
ControlUrl = Annotated[
    str, typer.Option("--control", envvar="NODEGATE_LAB", help="URL of the lab's control port.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@lab.command()
def nodes(
    *,
    kind: Annotated[str, typer.Option(help="iri or evm.")] = "iri",
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many nodes.")] = 5,
    base_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the first node, counting up; 0: any free ones.")
    ] = 0,
    control: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Control port; 0: any free one. [default: 14279, or a free one]"),
    ] = None,
    addresses: Annotated[
        bool, typer.Option("--addresses", help="Each node on its own address 127.x.y.z, all on one port.")
    ] = False,
    seed: Annotated[str, typer.Option(help="Same seed, same network: hashes, delays.")] = "nodegate",
    interval: Annotated[float, typer.Option(help="Seconds between two milestones (blocks).")] = 2.0,
    release: Annotated[str, typer.Option(help="The IRI release to imitate: 1.8.6 or 1.4.1.7.")] = "1.8.6",
    pow_: Annotated[bool, typer.Option("--pow", help="Let everybody use attachToTangle.")] = False,
    trust_loopback: Annotated[
        bool,
        typer.Option("--trust-loopback", help="No remote limits for the loopback, as a real node has it."),
    ] = False,
    neighbors: Annotated[int, typer.Option(min=0, max=5, help="Neighbours of each node.")] = 3,
    stall: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds that an old reference holds the lock; 0: refused.")
    ] = 20.0,
    json_: Json = False,
) -> None:
    """Run simulated nodes on the loopback until Ctrl-C or SIGTERM."""
    import uvloop

    from nodegate.lab.lab import KINDS, Lab, LabOptions
    from nodegate.model import Seconds

    chosen = next((known for known in KINDS if known == kind), None)
    if chosen is None:
        raise _bad("--kind", f"{kind!r} is not one of {', '.join(KINDS)}")
    if base_port and not addresses and base_port + count - 1 > 65535:
        raise _bad("--base-port", f"{count} ports from {base_port} on go beyond 65535")
    options = LabOptions(
        seed=seed,
        interval=Seconds(interval),
        release=release,
        pow=pow_,
        trust_loopback=trust_loopback,
        neighbors=neighbors,
        stall=Seconds(stall),
    )

    async def run() -> None:
        _allow_many_files()
        async with Lab(options) as running:
            ended = _ended()
            await running.start(count, chosen, base_port=base_port, addresses=addresses)
            await _serve(running, control, json_=json_, ended=ended)

    uvloop.run(run())


@lab.command()
def fault(
    node: Annotated[str, typer.Argument(help="Id of the node.")],
    name: Annotated[str, typer.Argument(help="Name of the fault; `nodegate lab faults` lists them.")],
    with_: Annotated[
        list[str] | None, typer.Option("--with", help="A parameter, such as milestones=20.")
    ] = None,
    control: ControlUrl = DEFAULT_CONTROL,
    json_: Json = False,
) -> None:
    """Give a node a fault, in place of the one it has."""
    from nodegate.lab.remote import RemoteLab

    parameters = dict(_parameter(text) for text in with_ or ())
    _show(asyncio.run(RemoteLab(control).fault(node, name, **parameters)), json_=json_)


@lab.command()
def heal(
    node: Annotated[str, typer.Argument(help="Id of the node.")],
    control: ControlUrl = DEFAULT_CONTROL,
    json_: Json = False,
) -> None:
    """Take a node's fault away."""
    from nodegate.lab.remote import RemoteLab

    _show(asyncio.run(RemoteLab(control).heal(node)), json_=json_)


@lab.command("list")
def list_(control: ControlUrl = DEFAULT_CONTROL, json_: Json = False) -> None:
    """Show a lab's nodes, their faults and what reached them."""
    from nodegate.lab.remote import RemoteLab

    found = asyncio.run(RemoteLab(control).nodes())
    if json_:
        print(json.dumps({"nodes": found}))
        return
    rows = [
        [
            node["id"],
            node["url"],
            _words(node["fault"]),
            str(node["height"]),
            str(sum(node["requests"].values())),
            str(node["open"]),
        ]
        for node in found
    ]
    _table(["node", "url", "fault", "height", "requests", "open"], rows)


@lab.command()
def faults() -> None:
    """List the faults and their parameters."""
    from nodegate.lab.faults import TAKES, WORDS

    rows = [[name, words, ", ".join(sorted(TAKES.get(name, ())))] for name, words in WORDS.items()]
    _table(["fault", "what happens", "parameters"], rows)


@lab.command()
def load(
    *,
    url: Annotated[str, typer.Argument(help="Where to send to; on the loopback only.")],
    connections: Annotated[int, typer.Option("--connections", "-c", help="Connections kept open.")] = 10,
    seconds: Annotated[float, typer.Option("--seconds", "-s", min=0.1, max=3600, help="How long.")] = 10.0,
    rate: Annotated[
        float | None, typer.Option(help="Requests per second; default: as fast as possible.")
    ] = None,
    body: Annotated[str, typer.Option(help="What to send.")] = '{"command":"getNodeInfo"}',
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds to wait for an answer.")] = 10.0,
    json_: Json = False,
) -> None:
    """Send a measured stream of requests, and say what became of them. Exit code 1 when one failed."""
    import uvloop

    from nodegate.lab.load import Load, LoadOptions
    from nodegate.model import Seconds

    options = LoadOptions(
        url=url,
        bodies=(body.encode(),),
        connections=connections,
        rate=rate,
        duration=Seconds(seconds),
        timeout=Seconds(timeout),
    )

    async def run() -> dict[str, Any]:
        stream = Load(options)
        await stream.start()
        return (await stream.wait()).document()

    document = uvloop.run(run())
    if json_:
        print(json.dumps(document))
    else:
        latency = "  ".join(f"{name} {value} ms" for name, value in document["latency_ms"].items())
        print(f"{document['ok']} ok ({document['per_second']}/s), {document['failed']} failed")
        print(f"latency: {latency}")
        for reason, times in document["failures"].items():
            print(f"failed ({reason}): {times}")
        for name, times in document["by_node"].items():
            print(f"node {name}: {times}")
    if document["failed"]:
        raise typer.Exit(1)


def _allow_many_files() -> None:
    """Raise this process's own limit of open files as far as it may go: each connection is one."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _ended() -> asyncio.Event:
    """Set when the process is asked to end; installed before anything starts, so that nothing is left behind
    by a signal that comes early."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended


async def _serve(running: Lab, port: int | None, *, json_: bool, ended: asyncio.Event) -> None:
    """Open the control port, say that all is ready, and stay."""
    from nodegate.lab.control import DEFAULT_PORT, Control
    from nodegate.lab.lab import ready_document

    control = Control(running)
    if port is not None:
        url = await control.start(port)
    else:
        try:
            url = await control.start(DEFAULT_PORT)
        except Unavailable:
            control = Control(running)
            url = await control.start(0)
    try:
        if json_:
            print(json.dumps(ready_document(running, url)), flush=True)
        else:
            _welcome(running, url)
        await ended.wait()
    finally:
        await control.stop()


def _welcome(running: Lab, control: str) -> None:
    """The table of nodes, and what to try."""
    shown = running.nodes[:20]
    _table(["node", "url", "kind"], [[node.id, node.url, node.kind] for node in shown])
    if len(running.nodes) > len(shown):
        print(f"… and {len(running.nodes) - len(shown)} more, up to {running.nodes[-1].url}")
    first, last = running.nodes[0], running.nodes[min(1, len(running.nodes) - 1)]
    where = "" if control == DEFAULT_CONTROL else f" --control {control}"
    print(f"\nControl port: {control}. Try:")
    print(f"  nodegate check {first.url} --kind {first.kind}")
    print(f"  nodegate lab fault {last.id} lag --with milestones=20{where}")
    print(f"  nodegate lab heal {last.id}{where}")
    print(f"  nodegate lab list{where}")
    print("Ctrl-C ends it.", flush=True)


def _parameter(text: str) -> tuple[str, float | int | str]:
    """`KEY=VALUE`, the value as a number if it is one."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise _bad("--with", f"{text!r} is not KEY=VALUE, such as milestones=20")
    for read in (int, float):
        try:
            return key, read(value)
        except ValueError:
            continue
    return key, value


def _show(node: dict[str, Any], *, json_: bool) -> None:
    if json_:
        print(json.dumps(node))
    else:
        print(f"{node['id']} at {node['url']}: {_words(node['fault']) or 'well'}")


def _words(document: dict[str, Any] | None) -> str:
    """A fault's document in a few words."""
    if document is None:
        return ""
    rest = ", ".join(f"{key}={value}" for key, value in document.items() if key != "fault")
    return f"{document['fault']} ({rest})" if rest else str(document["fault"])


def _table(columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _bad(option: str, message: str) -> BadDocument:
    return BadDocument([Fault(file="command line", line=None, key=option, message=message)])
