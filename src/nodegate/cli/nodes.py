"""`nodegate nodes`: look at nodes, and say what is wanted of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodegate.cli import completion, transfer
from nodegate.cli.options import Admin, AsJson, State, Token, client
from nodegate.cli.waiting import until, until_gone
from nodegate.errors import BadDocument, Fault, Unavailable
from nodegate.model import Intent, Status

if TYPE_CHECKING:
    from nodegate.views import NodeDetail, NodesDocument

nodes = typer.Typer(no_args_is_help=True, add_completion=False)

NodeIds = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Ids of nodes.", autocompletion=completion.node_ids)
]
Patience = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that --wait waits at most.")]
PoolFilter = Annotated[
    str | None, typer.Option("--pool", "-p", help="Only this pool.", autocompletion=completion.pools)
]
KindFilter = Annotated[
    str | None, typer.Option("--kind", "-k", help="Only this kind.", autocompletion=completion.kinds)
]

_NO_NODES = "no nodes; add one with `nodegate nodes add URL --kind KIND`"
_NONE_LIKE_THAT = "no node is like that; `nodegate nodes list` shows all"


@nodes.command("list")
def list_nodes(
    *,
    pool: PoolFilter = None,
    kind: KindFilter = None,
    status: Annotated[Status | None, typer.Option("--status", "-s", help="Only this status.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 1.0,
    wide: Annotated[bool, typer.Option("--wide", help="Show URLs too.")] = False,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """List nodes with status, reasons, height, lag, latency, requests and since when."""
    none = _NONE_LIKE_THAT if pool or kind or status else _NO_NODES
    with client(state, admin, token) as daemon:

        def look() -> NodesDocument:
            return daemon.nodes(pool=pool, kind=kind, status=status)

        if watch:
            _watch(look, interval, none, as_json=as_json, wide=wide)
        else:
            _show(look(), none, as_json=as_json, wide=wide)


@nodes.command("show")
def show_node(
    *,
    node_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=completion.node_ids)],
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Show all of one node: its record, its verdict, its last probe, its places in HAProxy."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        detail = daemon.node(node_id)
    if as_json:
        output.print_json(detail)
    else:
        output.console().print(output.facts_table(output.node_facts(detail)))


@nodes.command("add")
def add_node(
    *,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the node's API answers.")],
    kind: Annotated[
        str, typer.Option("--kind", "-k", autocompletion=completion.kinds, help="iri, evm or http.")
    ],
    pool: Annotated[
        str | None,
        typer.Option("--pool", "-p", help="Pool to join (default: main).", autocompletion=completion.pools),
    ] = None,
    node_id: Annotated[str | None, typer.Option("--id", help="Name (default: from host and port).")] = None,
    weight: Annotated[
        int | None, typer.Option(min=0, max=256, help="Share of requests (default: 100).")
    ] = None,
    maxconn: Annotated[
        int | None, typer.Option(min=1, help="Requests at once (default: the pool's).")
    ] = None,
    tls_verify: Annotated[
        bool, typer.Option("--tls-verify/--no-tls-verify", help="Check the node's certificate.")
    ] = True,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="KEY=VALUE", help="Option of the kind; repeatable."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the node is up and serves.")] = False,
    timeout: Patience = 60.0,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Add a node. It serves as soon as it has proven to be healthy."""
    wanted = {"pool": pool, "id": node_id, "weight": weight, "maxconn": maxconn}
    document: dict[str, Any] = {"url": url, "kind": kind, "tls_verify": tls_verify}
    document |= {key: value for key, value in wanted.items() if value is not None}
    document["options"] = parse_options(option or [])
    with client(state, admin, token) as daemon:
        node = daemon.add(document)
        if wait:
            node = until(
                lambda: daemon.node(node.id),
                lambda row: row.status is Status.UP and row.serving is True,
                timeout,
                f"{node.id} does not serve",
            )
    _tell(node, f"{node.id} is added", as_json=as_json)


@nodes.command("remove")
def remove_nodes(
    *,
    node_ids: NodeIds,
    now: Annotated[bool, typer.Option("--now", help="Forget at once, without draining.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the nodes are forgotten.")] = False,
    timeout: Patience = 60.0,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Drain nodes, and forget them once their last requests are over."""
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        for node_id in node_ids:
            daemon.remove(node_id, now=now)
        if wait:
            for node_id in node_ids:
                until_gone(daemon, node_id, timeout)
    gone = now or wait
    if as_json:
        output.print_json({"removed" if gone else "removing": node_ids})
    else:
        output.note(f"{', '.join(node_ids)}: {'removed' if gone else 'draining, then removed'}")


@nodes.command("drain")
def drain_nodes(
    *,
    node_ids: NodeIds,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the last request is over.")] = False,
    timeout: Patience = 60.0,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Send no new requests to nodes; those under way finish."""
    with client(state, admin, token) as daemon:
        for node_id in node_ids:
            node = daemon.revise(node_id, {"intent": Intent.DRAIN.value})
            if wait:
                node = until(
                    lambda node_id=node_id: daemon.node(node_id),  # type: ignore[misc]
                    lambda row: row.serving is False and row.sessions == 0,
                    timeout,
                    f"{node_id} still has requests",
                )
            _tell(node, f"{node_id} is {'drained' if wait else 'draining'}", as_json=as_json)


@nodes.command("serve")
def serve_nodes(
    *,
    node_ids: NodeIds,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Let nodes serve again after a drain, as soon as they are healthy."""
    with client(state, admin, token) as daemon:
        for node_id in node_ids:
            node = daemon.revise(node_id, {"intent": Intent.SERVE.value})
            _tell(node, f"{node_id} may serve; it is {node.status.value}", as_json=as_json)


@nodes.command("set")
def set_nodes(
    *,
    node_ids: NodeIds,
    weight: Annotated[int | None, typer.Option(min=0, max=256, help="Share of requests; 0: none.")] = None,
    maxconn: Annotated[int | None, typer.Option(min=0, help="Requests at once; 0: as the pool says.")] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", "-p", help="Pool to move to.", autocompletion=completion.pools)
    ] = None,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Change what the records of nodes say, while they serve."""
    wanted = {"weight": weight, "maxconn": maxconn, "pool": pool}
    changes = {key: value for key, value in wanted.items() if value is not None}
    if not changes:
        message = "say what to change: --weight, --maxconn or --pool"
        raise BadDocument([Fault(file="command line", line=None, key="", message=message)])
    said = ", ".join(f"{key} {value}" for key, value in changes.items())
    with client(state, admin, token) as daemon:
        for node_id in node_ids:
            node = daemon.revise(node_id, changes | ({"maxconn": None} if maxconn == 0 else {}))
            _tell(node, f"{node_id} has {said} now", as_json=as_json)


nodes.command("import")(transfer.import_nodes)
nodes.command("export")(transfer.export_nodes)


def parse_options(pairs: list[str]) -> dict[str, str | int | float | bool]:
    """`key=value` words as options: true, false and numbers as such, all else as text.

    Raises BadDocument for a word without `=`.
    """
    options: dict[str, str | int | float | bool] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            message = f"write KEY=VALUE, not {pair!r}"
            raise BadDocument([Fault(file="--option", line=None, key="", message=message)])
        options[key] = _scalar(value)
    return options


def _scalar(text: str) -> str | int | float | bool:
    if text in {"true", "false"}:
        return text == "true"
    if text.isascii() and text.removeprefix("-").isdigit() and str(int(text[:20])) == text:
        return int(text)
    return text


def _show(document: NodesDocument, none: str, *, as_json: bool, wide: bool) -> None:
    """The nodes, or the sentence `none` for people when there are none."""
    from nodegate.cli import output

    if as_json:
        output.print_json(document)
    elif document.nodes:
        output.print_nodes(document.nodes, wide=wide)
    else:
        output.note(none)


def _watch(
    look: Callable[[], NodesDocument], interval: float, none: str, *, as_json: bool, wide: bool
) -> None:
    """Until Ctrl-C. A daemon that is away for a while is said, and does not end the watch."""
    from rich.live import Live

    from nodegate.cli import output

    screen = output.console()
    if as_json or not screen.is_terminal:
        while True:
            _show(look(), none, as_json=as_json, wide=wide)
            time.sleep(interval)
    with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            try:
                live.update(output.nodes_table(look().nodes, wide=wide), refresh=True)
            except Unavailable as error:
                live.update(output.cell(str(error)), refresh=True)
            time.sleep(interval)


def _tell(node: NodeDetail, text: str, *, as_json: bool) -> None:
    from nodegate.cli import output

    if as_json:
        output.print_json(node)
    else:
        output.note(text)
