"""`nodegate scale`: pools that are kept at their size."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.cli.options import Admin, AsJson, State, Token, client

if TYPE_CHECKING:
    from nodegate.views.scaling import ScalingDocument, ScalingRow

scale = typer.Typer(no_args_is_help=True, add_completion=False)

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the command that would be called now; call nothing.")
]
UNWELL = 1
"""Exit code when the last command of a provider failed."""


@scale.callback()
def _group() -> None:
    """Pools that are kept at their size."""


@scale.command("status")
def status(
    *,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Show what each pool has and wants, what was done last, and what comes next.

    Exit code 1 when the last command of a provider failed. Without a `[pools.NAME.scaling]` table there is
    nothing to show.
    """
    from nodegate.cli import output

    with client(state, admin, token) as daemon:
        document = daemon.scaling()
    if as_json:
        output.print_json(document)
    elif not document.pools:
        output.note("no pool is scaled: give one a [pools.NAME.scaling] table in nodegate.toml")
    elif dry_run:
        _show_next(document)
    else:
        _show(document)
    if any(pool.failures for pool in document.pools):
        raise typer.Exit(UNWELL)


def _show(document: ScalingDocument) -> None:
    from nodegate.cli import output

    screen = output.console()
    for number, pool in enumerate(document.pools):
        if number:
            screen.print()
        screen.print(output.facts_table(_facts(pool)))


def _facts(pool: ScalingRow) -> dict[str, object]:
    from nodegate.cli.output import ago

    sizes = f"{pool.healthy} healthy, {pool.wanted} wanted"
    if pool.starting:
        sizes += f", {pool.starting} starting"
    if pool.broken:
        sizes += f", {pool.broken} broken"
    facts: dict[str, object] = {"pool": pool.pool, "nodes": sizes}
    if pool.rate is not None:
        facts["load"] = f"{pool.rate:g} requests/s"
    own = [
        f"{node.id} ({node.phase}{'' if node.joined or node.phase != 'running' else ', not healthy yet'})"
        for node in pool.own
    ]
    facts["own nodes"] = f"{len(own)} of {pool.max_started}" + (f": {', '.join(own)}" if own else "")
    if pool.last:
        facts["last"] = f"{pool.last}, {ago(pool.last_at)} ago"
    if pool.failure:
        facts["failed"] = f"{pool.failure} ({pool.failures} in a row)"
    due = pool.busy or (
        "nothing" if pool.action == "nothing" else f"{pool.action} {pool.node or 'a new node'}"
    )
    facts["now"] = f"{'dry run: ' if pool.dry_run else ''}{due}: {pool.why}"
    return facts


def _show_next(document: ScalingDocument) -> None:
    from nodegate.cli import output

    screen = output.console()
    for pool in document.pools:
        if pool.next is None:
            screen.print(output.cell(f"{pool.pool}: nothing to call: {pool.why}"))
            continue
        after = f"after {pool.next.after}, " if pool.next.after else ""
        screen.print(output.cell(f"{pool.pool}: {after}would call: {shlex.join(pool.next.command)}"))
        for name, value in pool.next.environment.items():
            screen.print(output.cell(f"  {name}={shlex.quote(value)}"))
        screen.print(output.cell(f"  standard input: {json.dumps(pool.next.stdin)}"))
