"""`nodegate nodes import|export`: whole lists of nodes as JSON, TOML or plain text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodegate.cli.options import Admin, AsJson, State, Token, client
from nodegate.errors import BadDocument, Conflict, Fault, NodegateError, Unavailable

if TYPE_CHECKING:
    from nodegate.cli.client import AdminClient
    from nodegate.model import Node
    from nodegate.registry.records import Format
    from nodegate.views import NodeRow

FormatName = Annotated[
    str | None,
    typer.Option(
        "--format", "-f", metavar="FORMAT", help="json, toml or plain (default: from the file's name)."
    ),
]

TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="Consul's token (default: $CONSUL_HTTP_TOKEN)."),
]
TlsCa = Annotated[
    Path | None, typer.Option("--tls-ca", metavar="FILE", help="Authority of Consul's certificate.")
]
TagPrefix = Annotated[str, typer.Option("--tag-prefix", help="What routing tags begin with.")]


def import_nodes(
    *,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="File to read; - for standard input.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="CONSUL", help="Read services of a Consul instead: consul://HOST:PORT."
        ),
    ] = None,
    token_file: TokenFile = None,
    tls_ca: TlsCa = None,
    tag_prefix: TagPrefix = "urlprefix-",
    format_name: FormatName = None,
    update: Annotated[
        bool, typer.Option("--update", help="Change nodes that are known already; else they are left alone.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Add the nodes of a file, or of a Consul. The whole of it is checked first; what is known and the same stays
    as it is. What cannot be taken over from a Consul is said."""
    from nodegate.cli import output

    left: tuple[str, ...] = ()
    if source is not None and file is None:
        from nodegate.cli.consulmoves import read_consul

        taken = read_consul(source, token_file, tls_ca, tag_prefix)
        wanted, left = taken.nodes, taken.left
    elif file is not None and source is None:
        wanted = _of_file(file, format_name)
    else:
        message = "name a file or --from consul://HOST:PORT, one of them"
        raise BadDocument([Fault(file="FILE", line=None, key="", message=message)])
    with client(state, admin, token) as daemon:
        known = {row.id: row for row in daemon.nodes().nodes}
        outcome = {"added": 0, "updated": 0, "unchanged": 0, "differs": 0}
        failed: dict[str, str] = {}
        for node in wanted:
            try:
                outcome[_import_one(daemon, node, known.get(node.id), update=update, dry_run=dry_run)] += 1
            except Unavailable:
                raise
            except NodegateError as error:
                failed[node.id] = str(error)
    if as_json:
        output.print_json({**outcome, "failed": failed, **({"left": list(left)} if source else {})})
    else:
        for sentence in left:
            output.note(sentence)
        output.note(
            ", ".join(f"{count} {word}" for word, count in outcome.items() if count) or "no nodes in it"
        )
        if outcome["differs"]:
            output.note("nodes that differ were left alone; --update changes them")
    if failed:
        raise Conflict("\n".join(f"{node_id}: {text}" for node_id, text in failed.items()))


def _of_file(file: str, format_name: str | None) -> tuple[Node, ...]:
    from nodegate.protocols import adapters
    from nodegate.registry.records import parse_nodes

    name = "standard input" if file == "-" else file
    return tuple(parse_nodes(_text(file), _format(format_name, file), name, adapters=adapters()))


def export_nodes(
    *,
    format_name: FormatName = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FORM", help="consul-json: service definitions for `consul services register`."
        ),
    ] = None,
    tag_prefix: TagPrefix = "urlprefix-",
    to: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write.")] = None,
    pool: Annotated[str | None, typer.Option("--pool", "-p", help="Only this pool.")] = None,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Write all nodes in a form that `import` reads back. The default is JSON on standard output."""
    from nodegate.cli import consulmoves, output
    from nodegate.registry.records import format_nodes

    if form not in {None, consulmoves.FORM}:
        message = f"{form!r} is not {consulmoves.FORM}"
        raise BadDocument([Fault(file="--to", line=None, key="", message=message)])
    with client(state, admin, token) as daemon:
        if form is not None:
            text, lost = consulmoves.written_for_consul(daemon, pool, tag_prefix)
            for sentence in lost:
                output.note(sentence)
        else:
            rows = daemon.nodes(pool=pool).nodes
            written_as = _format(format_name, str(to) if to else "x.json")
            text = format_nodes([node_of(row) for row in rows], written_as)
    if to is None:
        sys.stdout.write(text)
        return
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{to} cannot be written: {error.strerror}") from error


def node_of(row: NodeRow) -> Node:
    """The record behind a row."""
    from nodegate.model import Node

    return Node(
        id=row.id,
        url=row.url,
        kind=row.kind,
        pool=row.pool,
        weight=row.weight,
        maxconn=row.maxconn,
        intent=row.intent,
        tls_verify=row.tls_verify,
        options=row.options,
        source=row.source,
        version=row.version,
    )


def _import_one(daemon: AdminClient, node: Node, row: NodeRow | None, *, update: bool, dry_run: bool) -> str:
    """Do what one node of the file needs; returns the word it is counted under."""
    from nodegate.registry.records import document_of

    document = document_of(node)
    if row is None:
        if not dry_run:
            daemon.add(document, wait=0)
        return "added"
    was = document_of(node_of(row))
    changes: dict[str, Any] = {key: value for key, value in document.items() if was[key] != value}
    if not changes:
        return "unchanged"
    if not update:
        return "differs"
    if not dry_run:
        daemon.revise(node.id, changes, version=row.version, wait=0)
    return "updated"


def _format(name: str | None, file: str) -> Format:
    from nodegate.registry.records import FORMATS, format_of

    if name is None:
        return format_of(file)
    for known in FORMATS:
        if name == known:
            return known
    message = f"{name!r} is none of {', '.join(FORMATS)}"
    raise BadDocument([Fault(file="--format", line=None, key="", message=message)])


def _text(file: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return raw.decode("utf-8")
    except OSError as error:
        raise BadDocument(
            [Fault(file=file, line=None, key="", message=f"cannot be read: {error.strerror}")]
        ) from error
    except UnicodeDecodeError as error:
        raise BadDocument([Fault(file=file, line=None, key="", message="not UTF-8")]) from error
