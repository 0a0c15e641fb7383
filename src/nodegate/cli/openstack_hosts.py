"""`nodegate openstack hosts`."""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.errors import Conflict, NodegateError, Refused, Unsafe

if TYPE_CHECKING:
    from collections.abc import Callable

    from nodegate.openstack.hostsfile import Entries

DIFFERS = 1
"""Exit code of --check and --diff when the file is not up to date, as diff(1) has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to do with which file. `entries` asks the cloud."""

    file: Path
    tag: str
    entries: Callable[[], Entries]
    check: bool
    diff: bool
    sudo: bool


def hosts(
    *,
    cloud: Annotated[
        str | None,
        typer.Option("--cloud", envvar="OS_CLOUD", help="Cloud of clouds.yaml; else OS_* variables."),
    ] = None,
    network: Annotated[str, typer.Option("--network", help="Network whose addresses count.")] = "ctlplane",
    rename: Annotated[
        list[str] | None,
        typer.Option(
            "--rename",
            metavar="s/PATTERN/NAME/",
            help="How a server's name becomes a host name; the first rule that matches counts. Flags: d drops dashes, i any case, g all matches. [default: s/^overcloud-(?:nova)?(.+)$/\\\\1/d]",
        ),
    ] = None,
    file: Annotated[str, typer.Option("--file", help="Hosts file; - prints the block.")] = "/etc/hosts",
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 if the file is out of date.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Change nothing; show what would be, exit 1 if anything.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the block out; asks no cloud.")] = False,
    watch: Annotated[
        float | None,
        typer.Option("--watch", metavar="SECONDS", min=1, help="Keep the file current, asking this often."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--block", metavar="NAME", help="Name of the block. [default: the cloud's]")
    ] = None,
    sudo: Annotated[
        bool, typer.Option("--sudo/--no-sudo", help="Write with sudo when the file is not ours to write.")
    ] = True,
) -> None:
    """Keep the cloud's servers in the hosts file: a marked block, every other line untouched. Exit 7 when servers had
    to be left out (name taken, no address)."""
    from nodegate.cli import output
    from nodegate.openstack.hostsfile import Entries, block
    from nodegate.openstack.names import DEFAULT_RULES, parse_rule

    rules = tuple(map(parse_rule, rename)) if rename else DEFAULT_RULES
    tag = name or cloud or "undercloud"

    def ask() -> Entries:
        from nodegate.openstack.cloud import connect
        from nodegate.openstack.hostsfile import entries_of
        from nodegate.openstack.servers import servers_on

        found = entries_of(servers_on(connect(cloud), network), network, rules)
        if not found.entries:
            why = "; ".join(found.problems) or "the cloud has no server"
            raise Unsafe(f"{why}: nothing was changed (--remove takes the block out of {file})")
        return found

    if file == "-":
        found = ask()
        print(block(found.entries, tag), end="")
        left_out = Conflict.exit_code if found.problems else 0
        _finish(Outcome(said="", problems=found.problems, exit_code=left_out))
        return
    job = Job(
        file=Path(file), tag=tag, entries=(lambda: Entries(entries=())) if remove else ask, check=check, diff=diff, sudo=sudo,
    )  # fmt: skip
    if watch is None:
        _finish(once(job))
        return
    if check or diff or remove:
        raise typer.BadParameter("does not go with --check, --diff or --remove", param_hint="--watch")
    output.note(f"keeping {file} current, every {watch:g} s")
    _watch(job, watch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it, in a sentence; `diff` is the text of --diff, `exit_code` of the command."""

    said: str
    changed: bool = False
    diff: str = ""
    problems: tuple[str, ...] = ()
    exit_code: int = 0


def once(job: Job) -> Outcome:
    """Bring the file up to date, or only say what would change. Raises NodegateError; the file is as before then."""
    from nodegate import systemfile
    from nodegate.openstack import writefile
    from nodegate.openstack.hostsfile import updated, without_collisions

    wanted = job.entries()
    before = systemfile.read(job.file)
    found = without_collisions(before, wanted, job.tag)
    after = updated(before, found.entries, job.tag)
    left_out = Conflict.exit_code if found.problems else 0
    if after == before:
        said = f"{job.file} is up to date ({len(found.entries)} lines)"
        return Outcome(said=said, problems=found.problems, exit_code=left_out)
    if job.check or job.diff:
        said = f"{job.file} is out of date"
        text = _diff(job.file, before, after) if job.diff else ""
        return Outcome(said=said, diff=text, problems=found.problems, exit_code=DIFFERS)
    _write(job, before, after)
    said = f"{job.file}: {len(found.entries)} lines written, backup in {job.file}{writefile.BACKUP_SUFFIX}"
    return Outcome(said=said, changed=True, problems=found.problems, exit_code=left_out)


def _diff(file: Path, before: str, after: str) -> str:
    old, new = (text.expandtabs().splitlines(keepends=True) for text in (before, after))
    return "".join(difflib.unified_diff(old, new, str(file), f"{file} (new)"))


def _write(job: Job, before: str, after: str) -> None:
    from nodegate.openstack import writefile

    expected = writefile.digest(before)
    try:
        writefile.replace(job.file, after, expected=expected)
    except Refused:
        if not job.sudo or _is_root():
            raise
        writefile.replace_as_root(job.file, after, expected=expected)


def _is_root() -> bool:
    import os

    return os.geteuid() == 0


def _watch(job: Job, every: float) -> None:
    """For ever; what goes wrong is said once, and the file stays as it is until all is well again."""
    from nodegate.cli import output

    known: tuple[str, ...] = ()
    while True:
        try:
            outcome = once(job)
        except NodegateError as error:
            problems: tuple[str, ...] = (str(error),)
        else:
            problems = outcome.problems
            if outcome.changed:
                output.note(outcome.said)
        if problems != known:
            for problem in problems or ("all is well again",):
                output.note(problem)
        known = problems
        time.sleep(every)


def _finish(outcome: Outcome) -> None:
    from nodegate.cli import output

    print(output.clean(outcome.diff), end="")
    for line in (*outcome.problems, outcome.said):
        if line:
            output.note(line)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)
