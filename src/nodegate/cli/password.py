"""`nodegate password`: who may log in to the dashboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodegate.cli.options import State
from nodegate.errors import BadDocument, Fault, NotFound

if TYPE_CHECKING:
    from nodegate.dashboard.passwords import Passwords
    from nodegate.dashboard.roles import Role

password = typer.Typer(no_args_is_help=True, help="Say who may log in to the dashboard.")

RoleOption = Annotated[
    str,
    typer.Option(
        "--role", "-r", metavar="operator|viewer", help="An operator changes things, a viewer only looks."
    ),
]


@password.command("set")
def set_(*, role: RoleOption = "operator", state: State = None) -> None:
    """Set the password of a role. It counts at once, also for a gateway that runs; who logged in with the former
    one has to log in again.

    Asked for at the terminal, else read from standard input as one line.
    """
    who, known = _role(role), _passwords(state)
    if sys.stdin.isatty():
        text = typer.prompt(f"New password of the {who.value}", hide_input=True, confirmation_prompt=True)
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    known.put(who, text)
    print(f"the password of the {who.value} is set, in {known.path}")


@password.command("remove")
def remove(*, role: RoleOption = "operator", state: State = None) -> None:
    """Take a role's password away; the admin token still opens the dashboard."""
    who, known = _role(role), _passwords(state)
    if not known.remove(who):
        raise NotFound(f"the {who.value} has no password")
    print(f"the {who.value} has no password any more")


@password.command("list")
def list_(*, state: State = None) -> None:
    """Say which roles have a password."""
    from nodegate.dashboard.roles import Role

    known = _passwords(state).hashes()
    for role in Role:
        print(f"{role.value}: {'set' if role in known else 'not set'}")


def _role(name: str) -> Role:
    from nodegate.dashboard.roles import Role

    try:
        return Role(name)
    except ValueError as error:
        message = f"{name!r} is no role; there are {', '.join(role.value for role in Role)}"
        raise BadDocument([Fault(file="--role", line=None, key="", message=message)]) from error


def _passwords(state: Path | None) -> Passwords:
    import os

    from nodegate.daemon.state import StateDir, default_state_dir
    from nodegate.dashboard.passwords import Passwords

    directory = StateDir(state or default_state_dir(os.environ))
    directory.prepare()
    return Passwords(directory.path)
