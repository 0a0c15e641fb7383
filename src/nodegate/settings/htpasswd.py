"""htpasswd files: users and the hashes of their passwords."""

from __future__ import annotations

import re
from pathlib import Path

from nodegate.errors import BadDocument, Fault
from nodegate.settings.sections import Settings

_USABLE = re.compile(r"\$(2[aby]|5|6)\$[./A-Za-z0-9$=]+")
_USER = re.compile(r"[!-9;-~]{1,64}")


def parse(text: str) -> tuple[tuple[str, str], ...]:
    """The users of a file with their hashes. Raises ValueError, with the line, for what HAProxy cannot check."""
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, secret = line.strip().partition(":")
        if not colon or _USER.fullmatch(user) is None:
            raise ValueError(f"line {number}: write NAME:HASH")
        if _USABLE.fullmatch(secret) is None:
            raise ValueError(
                f"line {number}: the password of {user!r} is in a form that cannot be checked; "
                "write it with `htpasswd -B` (bcrypt) or `openssl passwd -6`"
            )
        users[user] = secret
    return tuple(users.items())


def fault_of(path: Path) -> str | None:
    """What is wrong with the file, None when nothing is."""
    try:
        parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, UnicodeDecodeError) as error:
        return str(error)
    return None


def read_users(settings: Settings) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """The users of each scheme of `[fabio.auth]`. Raises BadDocument, naming the file."""
    found = []
    for name, scheme in sorted(settings.fabio.auth.items()):
        if (words := fault_of(scheme.file)) is not None:
            raise BadDocument(
                [Fault(file=str(scheme.file), line=None, key=f"fabio.auth.{name}.file", message=words)]
            )
        found.append((name, parse(scheme.file.read_text(encoding="utf-8"))))
    return tuple(found)
