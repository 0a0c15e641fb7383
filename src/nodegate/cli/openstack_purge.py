"""`nodegate openstack purge`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.cli.options import AsJson
from nodegate.errors import BadDocument, Fault, NotFound, Refused
from nodegate.model import Seconds
from nodegate.openstack.resources import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openstack.connection import Connection

    from nodegate.openstack.purgeplan import PurgePlan
    from nodegate.openstack.purging import Result

LEFT = 1
"""Exit code when something that should have gone is still there."""
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def purge(
    *,
    cloud: Annotated[
        str | None,
        typer.Option("--cloud", envvar="OS_CLOUD", help="Cloud of clouds.yaml; else OS_* variables."),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option("--project", metavar="NAME|ID", help="Project. [default: that of the credentials]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and its digest, delete nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the project's name.")] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="PATTERN", help="Names (shell pattern) or ids that stay, with all they need."
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="NAME|ID",
            help="A shared, external or protected thing that goes all the same.",
        ),
    ] = None,
    only: Annotated[list[Kind] | None, typer.Option("--only", help="Only this kind; repeatable.")] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="SPAN", help="Only what is at least this old: 90m, 12h, 7d."),
    ] = None,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=64, help="Deletions at a time.")] = 8,
    apply: Annotated[
        str | None,
        typer.Option("--apply", metavar="DIGEST", help="Run exactly the plan that --dry-run showed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete everything that Neutron holds for a project, in the order of dependencies. Exit 1 when something stays that
    should have gone."""
    from nodegate.cli import output
    from nodegate.cli.purgeoutput import print_plan, print_results, results_document
    from nodegate.openstack.cloud import connect
    from nodegate.openstack.purgeplan import Selection, to_json

    selection = Selection(
        keep=tuple(keep or ()), include=frozenset(include or ()), only=frozenset(only or ()), older_than=_span(older_than),
    )  # fmt: skip
    connection = connect(cloud)
    made = _reviewed(connection, apply) if apply else _plan(connection, project, selection)
    if dry_run:
        path = _plans() / f"{made.digest}.json"
        _save(path, made)
        if as_json:
            output.print_json(to_json(made))
        else:
            print_plan(made)
            output.note(f"nothing was deleted; to do exactly this: --apply {made.digest}")
        return
    if not as_json:
        print_plan(made)
    if not made.goes:
        output.note(f"nothing of {made.project} is to go")
        if as_json:
            output.print_json(results_document(made, ()))
        return
    if not yes and not apply:
        _confirm(made)
    results = _run(connection, made, parallel)
    if as_json:
        output.print_json(results_document(made, results))
    else:
        print_results(results)
    if any(result.outcome == "stayed" for result in results):
        raise typer.Exit(LEFT)


def _plan(connection: Connection, project: str | None, selection: object) -> PurgePlan:
    import time

    from nodegate.model import Instant
    from nodegate.openstack.neutron import resources_of
    from nodegate.openstack.purgeplan import Selection, plan

    assert isinstance(selection, Selection)
    project_id, name = _project(connection, project)
    there = resources_of(connection, project_id)
    return plan(there, selection, project_id=project_id, project=name, now=Instant(time.time()))


def _reviewed(connection: Connection, digest: str) -> PurgePlan:
    """What is left of the plan that --dry-run kept."""
    from nodegate.openstack.neutron import resources_of
    from nodegate.openstack.purgeplan import from_json, without_gone

    path = _plans() / f"{digest}.json"
    if not re.fullmatch(r"[0-9a-f]{1,64}", digest) or not path.exists():
        raise NotFound(f"no plan {digest!r} was made here (looked for {path}); make one with --dry-run")
    reviewed = from_json(path.read_text())
    return without_gone(reviewed, resources_of(connection, reviewed.project_id))


def _project(connection: Connection, wanted: str | None) -> tuple[str, str]:
    """Id and name of the project. Raises NotFound, Refused."""
    from nodegate.openstack.cloud import in_words

    with in_words():
        connection.session.get_token()
        own = connection.current_project
        if wanted is None or wanted in {own.id, own.name}:
            if own.id is None:
                raise Refused("these credentials belong to no project; name one with --project")
            return str(own.id), str(own.name or own.id)
        found = connection.get_project(wanted)
    if found is None:
        raise NotFound(f"the cloud has no project {wanted!r}, or these credentials may not see it")
    return str(found.id), str(found.name)


def _run(connection: Connection, made: PurgePlan, workers: int) -> Sequence[Result]:
    """Delete with a progress bar; Ctrl-C ends after what is under way."""
    import signal

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from nodegate.openstack import purging

    stopped: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
    screen = Console(stderr=True)
    columns = (
        TextColumn("deleting"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    try:
        with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
            task = bar.add_task("", total=len(made.goes), last="")
            return purging.purge(
                connection, made, workers=workers, stop=lambda: bool(stopped),
                progress=lambda result: bar.update(task, advance=1, last=result.resource.label),
            )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)


def _confirm(made: PurgePlan) -> None:
    """Raises Refused unless the project's name is typed."""
    try:
        said = input(f"{len(made.goes)} things go for good. Type the project's name to delete them: ")
    except EOFError:
        said = ""
    if said.strip() != made.project:
        raise Refused("that is not the project's name; nothing was deleted (--yes asks no question)")


def _plans() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(home) / "nodegate" / "purge"


def _save(path: Path, made: PurgePlan) -> None:
    import json

    from nodegate.openstack.purgeplan import to_json
    from nodegate.systemfile.private import write_private

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, json.dumps(to_json(made)))


def _span(text: str | None) -> Seconds | None:
    if text is None:
        return None
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        message = f"{text!r} is no span of time: a number with s, m, h, d or w, such as 12h"
        raise BadDocument([Fault(file="--older-than", line=None, key="", message=message)])
    return Seconds(float(found[1]) * _UNITS[found[2]])
