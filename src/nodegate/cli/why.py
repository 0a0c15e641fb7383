"""`nodegate why`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.cli.options import Admin, AsJson, State, Token, client

if TYPE_CHECKING:
    from nodegate.views.why import Explanation


def why(
    *,
    request_id: Annotated[
        str, typer.Argument(metavar="REQUEST-ID", help="From the answer's X-Request-Id, or from the log.")
    ],
    log: Annotated[
        Path | None,
        typer.Option(
            "--log", metavar="DIR", help="Look into the access log of this directory, with no gateway."
        ),
    ] = None,
    as_json: AsJson = False,
    state: State = None,
    admin: Admin = None,
    token: Token = None,
) -> None:
    """Explain how one request was answered: who asked what, which rule, which node, where the time went."""
    from nodegate.cli import output

    found = _local(request_id, log) if log is not None else _asked(request_id, state, admin, token)
    if as_json:
        output.print_json(found)
    else:
        output.console().print(output.facts_table(_facts(found)))


def _asked(request_id: str, state: Path | None, admin: str | None, token: str | None) -> Explanation:
    """By the gateway that the options name; where none runs, from the log it left in the state directory."""
    import os

    from nodegate.cli.target import has_daemon
    from nodegate.daemon.state import default_state_dir

    if admin is None and not has_daemon(state):
        return _local(request_id, state or default_state_dir(os.environ))
    with client(state, admin, token) as daemon:
        return daemon.request(request_id)


def _local(request_id: str, directory: Path) -> Explanation:
    """From the log alone: which policy ruled then, and its numbers, are not known."""
    from nodegate.telemetry.accesslog import find_request
    from nodegate.views.why import explain

    return explain(find_request(directory, request_id))


def _facts(found: Explanation) -> dict[str, object]:
    facts: dict[str, object] = {"request": found.id, "asked": found.asked, "outcome": found.outcome}
    facts |= {
        name: value
        for name, value in (
            ("rule", found.rule),
            ("said", found.reason),
            ("limit", found.limit),
            ("node", found.node),
        )
        if value is not None
    }
    if found.times:
        spent = ", ".join(f"{stretch.name} {stretch.ms} ms" for stretch in found.times)
        facts["time"] = f"{found.total_ms} ms: {spent}" if found.total_ms is not None else spent
    elif found.total_ms is not None:
        facts["time"] = f"{found.total_ms} ms"
    if found.retries:
        facts["tries"] = found.retries + 1
    if found.termination is not None:
        facts["ended"] = f"{found.termination.text} ({found.termination.code})"
    for number, text in enumerate(found.advice):
        facts["what to do" if number == 0 else " " * number] = text
    return facts
