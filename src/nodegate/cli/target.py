"""Which daemon a command speaks to, and with which token."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nodegate.daemon.state import StateDir, default_state_dir
from nodegate.errors import BadDocument, Fault, Refused, Unavailable
from nodegate.settings import checked_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The admin API's URL and its bearer token."""

    url: str
    token: str


def find_daemon(
    state: Path | None, admin: str | None, token: str | None, environ: Mapping[str, str] = os.environ
) -> Target:
    """The daemon that the options name.

    The state directory (None: the default one) has the files `admin` with the URL and `token`. With `admin`
    the URL is given and `token` must be too, unless the state directory belongs to that very daemon: a
    token is never sent to an address it was not made for.

    Raises Unavailable when no daemon left its address there, Refused when the files may not be read,
    BadDocument for an impossible URL or a missing token.
    """
    directory = StateDir(state or default_state_dir(environ))
    if admin is None:
        url = _read(directory.admin, directory.path)
        return Target(url=_checked(url), token=token or _read(directory.token, directory.path))
    url = _checked(admin)
    return Target(url=url, token=token or _own_token(directory, url))


def has_daemon(state: Path | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a daemon left its address in the state directory (None: the default one)."""
    return StateDir(state or default_state_dir(environ)).admin.is_file()


def _own_token(directory: StateDir, url: str) -> str:
    try:
        if _checked(_read(directory.admin, directory.path)) == url:
            return _read(directory.token, directory.path)
    except Unavailable:
        pass
    raise BadDocument(
        [
            Fault(
                file="--admin",
                line=None,
                key="",
                message=f"{url} needs its token: set NODEGATE_TOKEN (`nodegate token` prints it on that machine)",
            )
        ]
    )


def _checked(url: str) -> str:
    try:
        return checked_url(url if "://" in url else f"http://{url}")
    except ValueError as error:
        raise BadDocument([Fault(file="--admin", line=None, key="", message=str(error))]) from error


def _read(path: Path, directory: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        text = ""
    except PermissionError as error:
        raise Refused(f"{path} may not be read by this user; ask as the user that runs nodegate") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{path} cannot be read: {error}") from error
    if not text and path.name == "token":
        raise Unavailable(f"{path} is gone; nodegate makes a new one when it is started again")
    if not text:
        raise Unavailable(
            f"no nodegate runs with the state directory {directory}; "
            "start one with `nodegate up`, or name another with --state DIR or --admin URL"
        )
    return text
