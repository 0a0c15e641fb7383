"""`nodegate policy`: look at policies, check, compare, apply, and try them out."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodegate.cli import policytrial
from nodegate.cli.options import Admin, AsJson, State, Token, client
from nodegate.errors import BadDocument, Fault

if TYPE_CHECKING:
    from nodegate.policy.difference import Difference
    from nodegate.views.policy import PolicyApplied

policy = typer.Typer(no_args_is_help=True, add_completion=False)

PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Policy document (TOML).")]
Kind = Annotated[str | None, typer.Option("--kind", "-k", help="Kind of node, where the file does not say.")]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="FILE|shipped",
        help="Compare with this file, or with the shipped policy (default: the policy in force).",
    ),
]

KEY_BYTES = 32
"""Random bytes of an API key: nobody guesses them, so that a plain hash keeps them."""


@policy.callback()
def _group() -> None:
    """Say what clients may ask of the nodes, at what price; see docs/firewall.md."""


@policy.command("show")
def show(
    *,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help="Only this kind.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="The policy as this document would make it.")
    ] = None,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Show the effective policy: every method with its class, price, rates, timeout and lane."""
    from nodegate.cli import output, policytables
    from nodegate.cli.inforce import InForce, in_force, load_file

    if file is not None:
        loaded = load_file(file, kind)
        found = [InForce(policy=loaded.policy, where=f"{file} over the shipped policy")]
    else:
        kinds = [kind] if kind is not None else _kinds(state, admin, token)
        found = [in_force(each, None, state, admin, token) for each in kinds]
    if as_json:
        output.print_json({"policies": [policytables.policy_document(each) for each in found]})
        return
    screen = output.console()
    for number, each in enumerate(found):
        if number:
            screen.print()
        screen.print(policytables.policy_title(each))
        screen.print(policytables.methods_table(each.policy))
        screen.print(output.facts_table(policytables.policy_facts(each.policy)))


@policy.command("check")
def check(*, file: PolicyFile, kind: Kind = None, as_json: AsJson = False) -> None:
    """Check a document without applying it: file, line and key of every finding. Exit 3 on errors."""
    from nodegate.cli import output
    from nodegate.cli.inforce import load_file
    from nodegate.policy.check import Level
    from nodegate.policy.check import check as find

    try:
        findings = find(load_file(file, kind))
    except BadDocument as error:
        rows = [_fault_row("error", fault) for fault in error.faults]
    else:
        rows = [_fault_row(finding.level.value, finding.fault) for finding in findings]
    errors = sum(row["level"] == Level.ERROR for row in rows)
    if as_json:
        output.print_json({"file": str(file), "ok": not errors, "findings": rows})
    else:
        for row in rows:
            place = row["file"] if row["line"] is None else f"{row['file']}:{row['line']}"
            key = f"{row['key']}: " if row["key"] else ""
            print(output.clean(f"{place}: {row['level']}: {key}{row['message']}"))
        output.note(f"{file}: {errors} errors, {len(rows) - errors} warnings" if rows else f"{file}: good")
    if errors:
        raise typer.Exit(BadDocument.exit_code)


@policy.command("diff")
def diff(
    *,
    file: PolicyFile,
    kind: Kind = None,
    against: Against = None,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Show what a document would change, method by method and in words."""
    from nodegate.cli import output
    from nodegate.cli.inforce import in_force, load_file
    from nodegate.policy.difference import differences

    loaded = load_file(file, kind)
    former = in_force(loaded.policy.kind, against, state, admin, token)
    found = differences(former.policy, loaded.policy)
    if as_json:
        output.print_json(
            {
                "kind": loaded.policy.kind,
                "against": former.where,
                "differences": [_difference(each) for each in found],
            }
        )
        return
    output.note(f"{file} against {former.where}")
    _print_differences([_difference(each) for each in found])


@policy.command("apply")
def apply(
    *,
    file: PolicyFile,
    kind: Kind = None,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Put a document in force: checked first, whole or not at all. Numbers change without a reload."""
    from nodegate.cli.inforce import load_file
    from nodegate.policy.check import require_sound

    loaded = load_file(file, kind)
    require_sound(loaded)
    with client(state, admin, token) as daemon:
        applied = daemon.apply_policy(loaded.policy.kind, _text(file, loaded.policy.kind), str(file))
    _tell(applied, as_json=as_json)


@policy.command("reset")
def reset(
    *,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of node.")],
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Go back to the shipped policy of a kind."""
    with client(state, admin, token) as daemon:
        applied = daemon.withdraw_policy(kind)
    _tell(applied, as_json=as_json)


@policy.command("keygen")
def keygen(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key in the policy and in logs.")],
    as_json: AsJson = False,
) -> None:
    """Make an API key. It is shown once; the policy only needs its hash."""
    from pydantic import TypeAdapter, ValidationError

    from nodegate.cli import output
    from nodegate.policy.clients import KEY_HEADER, key_hash
    from nodegate.policy.values import MethodName

    try:
        TypeAdapter(MethodName).validate_python(name)
    except ValidationError as error:
        message = f"{name!r} is no name for a key: use up to 64 letters, digits and _ . : -"
        raise BadDocument([Fault(file="NAME", line=None, key="", message=message)]) from error
    secret = secrets.token_urlsafe(KEY_BYTES)
    digest = key_hash(secret.encode())
    table = name if name.replace("-", "").replace("_", "").isalnum() else f'"{name}"'
    lines = f'[keys.{table}]\nhash = "{digest}"'
    if as_json:
        output.print_json({"name": name, "key": secret, "header": KEY_HEADER, "hash": digest, "toml": lines})
        return
    output.note(f"The key, shown this once; its owner sends it as {KEY_HEADER}:")
    print(secret)
    output.note("For the policy (`nodegate policy apply`):")
    print(lines)


policy.command("try")(policytrial.try_)
policy.command("replay")(policytrial.replay)


def _kinds(state: Path | None, admin: str | None, token: str | None) -> list[str]:
    """The kinds with a policy at the gateway that the options name; where none runs, all shipped ones."""
    from nodegate.cli.target import has_daemon
    from nodegate.policy.document import KINDS

    if admin is None and not has_daemon(state):
        return list(KINDS)
    with client(state, admin, token) as daemon:
        return [row.kind for row in daemon.policies().policies]


def _text(file: Path, kind: str) -> str:
    """The document's text, saying its kind. Raises BadDocument."""
    from nodegate.documents import load

    text = file.read_text(encoding="utf-8-sig")
    return text if "kind" in load(file).data else f'kind = "{kind}"\n{text}'


def _fault_row(level: str, fault: Fault) -> dict[str, Any]:
    return {
        "level": level,
        "file": fault.file,
        "line": fault.line,
        "key": fault.key,
        "message": fault.message,
    }


def _difference(each: Difference) -> dict[str, str]:
    return {"place": each.place, "effect": each.effect.value, "text": each.text}


def _print_differences(rows: list[dict[str, str]]) -> None:
    from nodegate.cli import output, policytables

    if rows:
        output.console().print(policytables.differences_table(rows))
    else:
        output.note("nothing changes")


def _tell(applied: PolicyApplied, *, as_json: bool) -> None:
    from nodegate.cli import output

    if as_json:
        output.print_json(applied)
        return
    _print_differences([row.model_dump() for row in applied.differences])
    for row in applied.warnings:
        place = row.file if row.line is None else f"{row.file}:{row.line}"
        output.note(f"{place}: warning: {row.key}: {row.message}")
    how = f"HAProxy was reloaded: {applied.reload}" if applied.reload else "without a reload"
    output.note(f"{applied.kind}: version {applied.version} is in force, {how}")
