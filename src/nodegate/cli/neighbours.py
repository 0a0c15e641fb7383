"""`nodegate neighbours`: see a node's neighbours, change them so that it lasts, and watch who is dead."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from nodegate.cli.options import Admin, AsJson, State, Token
from nodegate.errors import BadDocument, Fault, Refused, Unavailable
from nodegate.host.neighbours.values import NodeKind

if TYPE_CHECKING:
    from nodegate.host.neighbours.nodes import Node

T = TypeVar("T")

neighbours = typer.Typer(no_args_is_help=True, add_completion=False)

JWT = "NODEGATE_JWT"
NodeUrl = Annotated[
    str,
    typer.Option(
        "--node", envvar="NODEGATE_NODE", metavar="URL", help="The node's own API, not the gateway's address."
    ),
]
Kind = Annotated[
    NodeKind, typer.Option("--kind", "-k", help="The node's software; HORNET 0.x speaks as iri.")
]
JwtFile = Annotated[
    Path | None,
    typer.Option("--jwt-file", metavar="FILE", help=f"Token for HORNET's API; else the variable {JWT}."),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer.")]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="Also change this file of the node: environment, configuration, or peering.json.",
    ),
]
OnlyFile = Annotated[
    bool, typer.Option("--only-file", help="Change the file alone; the node may be stopped.")
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="NAME", help="Name of the setting in FILE. [default: IRI_NEIGHBORS or NEIGHBORS]"
    ),
]
Uris = Annotated[
    list[str],
    typer.Argument(metavar="ADDRESS...", help="tcp://HOST:PORT for IRI; a multi-address for HORNET."),
]
DEFAULT_NODE = "http://127.0.0.1:14265"


@neighbours.command("list")
def list_neighbours(
    *,
    node: NodeUrl = DEFAULT_NODE,
    kind: Kind = NodeKind.IRI,
    jwt_file: JwtFile = None,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """List a node's neighbours with what each has brought since it connected."""
    from nodegate.cli import neighbourtable, output
    from nodegate.host.neighbours.documents import list_document

    found = _with(node, kind, jwt_file, timeout, lambda there: there.neighbours())
    if as_json:
        output.print_json(list_document(node, found))
    elif found:
        output.console().print(neighbourtable.listed(found))
    else:
        output.note("the node has no neighbours; add one with `nodegate neighbours add ADDRESS`")


@neighbours.command("add")
def add_neighbours(
    *,
    uris: Uris,
    alias: Annotated[str, typer.Option("--alias", help="A name for the peer (HORNET).")] = "",
    file: File = None,
    only_file: OnlyFile = False,
    key: Key = None,
    node: NodeUrl = DEFAULT_NODE,
    kind: Kind = NodeKind.IRI,
    jwt_file: JwtFile = None,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Add neighbours; with --file they are there after the node's next start too."""
    from nodegate.cli import neighbourfile
    from nodegate.host.neighbours.addresses import checked
    from nodegate.host.neighbours.files import Edit

    good = checked(kind, uris, to_add=True)
    pending = neighbourfile.prepared(file, only_file, key, Edit(add=good, alias=alias))
    count = None
    if not only_file:
        count = _with(node, kind, jwt_file, timeout, lambda there: there.add(good, alias))
    neighbourfile.finish("added", count, len(good), pending, as_json=as_json)


@neighbours.command("remove")
def remove_neighbours(
    *,
    uris: Annotated[
        list[str],
        typer.Argument(metavar="ADDRESS...", help="As `list` shows them; for HORNET the identity is enough."),
    ],
    file: File = None,
    only_file: OnlyFile = False,
    key: Key = None,
    node: NodeUrl = DEFAULT_NODE,
    kind: Kind = NodeKind.IRI,
    jwt_file: JwtFile = None,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Remove neighbours; with --file they stay away after the node's next start too."""
    from nodegate.cli import neighbourfile
    from nodegate.host.neighbours.addresses import checked
    from nodegate.host.neighbours.files import Edit

    good = checked(kind, uris, to_add=False)
    pending = neighbourfile.prepared(file, only_file, key, Edit(remove=good))
    count = None
    if not only_file:
        count = _with(node, kind, jwt_file, timeout, lambda there: there.remove(good))
    neighbourfile.finish("removed", count, len(good), pending, as_json=as_json)


@neighbours.command("watch")
def watch_neighbours(
    *,
    interval: Annotated[
        float, typer.Option("--interval", "-i", min=0.1, help="Seconds between two looks.")
    ] = 10.0,
    grace: Annotated[
        str,
        typer.Option("--grace", metavar="SPAN", help="Silent for so long is dead, such as 90s, 30m or 2h."),
    ] = "30m",
    remove_dead: Annotated[
        bool, typer.Option("--remove-dead", help="Remove who is dead while others are not.")
    ] = False,
    keep: Annotated[int, typer.Option("--keep", min=0, help="Never leave fewer neighbours than that.")] = 2,
    file: File = None,
    serve: Annotated[
        str | None, typer.Option("--serve", metavar="HOST:PORT", help="Serve metrics for Prometheus there.")
    ] = None,
    tell: Annotated[
        str | None,
        typer.Option(
            "--tell", metavar="ID", help="Tell the gateway who dies: an event of its node ID, for alerts."
        ),
    ] = None,
    span: Annotated[
        str | None, typer.Option("--for", metavar="SPAN", help="Stop after so long; else at Ctrl-C.")
    ] = None,
    node: NodeUrl = DEFAULT_NODE,
    kind: Kind = NodeKind.IRI,
    jwt_file: JwtFile = None,
    timeout: Timeout = 10.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on each line, one for each look.")
    ] = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Watch what each neighbour brings, live. With --for, exit code 1 when one is dead at the end."""
    from nodegate.cli import neighbourwatch
    from nodegate.cli.clients import parse_span
    from nodegate.host.neighbours.watch import WatchOptions
    from nodegate.model import Seconds

    if file is not None and not remove_dead:
        raise typer.BadParameter("--file is for --remove-dead: nothing else is changed by a watch")
    options = WatchOptions(
        interval=Seconds(interval),
        grace=Seconds(_span("--grace", grace, parse_span)),
        remove_dead=remove_dead,
        keep=keep,
        file=file,
    )
    if serve is not None:
        _checked_address(serve)
    seconds = None if span is None else _span("--for", span, parse_span)
    teller = None if tell is None else neighbourwatch.teller(tell, state, admin, token)
    there = _node(node, kind, jwt_file, timeout)
    if neighbourwatch.run(there, options, serve=serve, seconds=seconds, as_json=as_json, teller=teller):
        raise typer.Exit(1)


def _with(
    url: str, kind: NodeKind, jwt_file: Path | None, timeout: float, act: Callable[[Node], Awaitable[T]]
) -> T:
    """Do one thing with the node."""

    async def run() -> T:
        there = _node(url, kind, jwt_file, timeout)
        try:
            return await act(there)
        finally:
            await there.close()

    return asyncio.run(run())


def _node(url: str, kind: NodeKind, jwt_file: Path | None, timeout: float) -> Node:
    """The node that the options name. Raises BadDocument for an impossible URL, and as `_token`."""
    from nodegate.host.neighbours.nodes import node
    from nodegate.settings import checked_url

    try:
        good = checked_url(url if "://" in url else f"http://{url}")
    except ValueError as error:
        raise _bad("--node", str(error)) from error
    return node(kind, good, jwt=_token(jwt_file), timeout=timeout)


def _token(file: Path | None) -> str | None:
    """The token from the file or the environment, None for none. Raises Refused, Unavailable, BadDocument."""
    try:
        text = os.environ.get(JWT, "") if file is None else file.read_text("utf-8")
    except PermissionError as error:
        raise Refused(f"{file} may not be read by this user") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{file} cannot be read: {error}") from error
    token = text.strip()
    if (file is not None and not token) or not (token.isascii() and token.isprintable()) or " " in token:
        raise _bad("--jwt-file" if file else JWT, "a token is one word of ASCII letters, digits and signs")
    return token or None


def _span(option: str, text: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(text)
    except BadDocument as error:
        raise _bad(option, error.faults[0].message) from error


def _checked_address(text: str) -> None:
    from nodegate.settings.checks import checked_address

    try:
        checked_address(text)
    except ValueError as error:
        raise _bad("--serve", str(error)) from error


def _bad(option: str, message: str) -> BadDocument:
    return BadDocument([Fault(file=option, line=None, key="", message=message)])
