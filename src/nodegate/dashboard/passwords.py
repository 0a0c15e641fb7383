"""The passwords of the dashboard: one per role, as argon2 hashes in the file `passwords` of the state directory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from nodegate.dashboard.roles import Role
from nodegate.errors import BadDocument, Fault, Unavailable
from nodegate.systemfile.private import write_private

FILE = "passwords"
SHORTEST = 10
"""Characters a password has at least: a login lets nobody guess more than some ten thousand times a day."""
LONGEST = 1024
"""Characters a password has at most, so that nobody makes the hash function work on megabytes."""

_HASHER = PasswordHasher()


class Passwords:
    """The file. It is read again whenever it has changed: a new password counts at once."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE
        self._seen: tuple[int, int] | None = None
        self._hashes: dict[Role, str] = {}

    def hashes(self) -> Mapping[Role, str]:
        """Role → hash, empty when there is no file. Raises Unavailable when it cannot be understood."""
        try:
            facts = os.stat(self.path)
        except FileNotFoundError:
            self._seen, self._hashes = None, {}
            return self._hashes
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be read: {error.strerror}") from error
        if (facts.st_mtime_ns, facts.st_ino) != self._seen:
            self._hashes = self._read()
            self._seen = (facts.st_mtime_ns, facts.st_ino)
        return self._hashes

    def role_of(self, password: str) -> Role | None:
        """Whose password that is, None for nobody's. Takes a tenth of a second of CPU and 64 MiB on purpose:
        call it in a thread. Raises as `hashes`."""
        if len(password) > LONGEST:
            return None
        return next((role for role, known in self.hashes().items() if _is(known, password)), None)

    def put(self, role: Role, password: str) -> None:
        """Set a role's password. Raises BadDocument for one that is too short or too long, Unavailable."""
        if not SHORTEST <= len(password) <= LONGEST:
            message = f"a password has {SHORTEST} to {LONGEST} characters, this one has {len(password)}"
            raise BadDocument([Fault(file="password", line=None, key="", message=message)])
        if any(other is not role and _is(known, password) for other, known in self.hashes().items()):
            message = "the other role has this password already: nodegate could not tell who logs in"
            raise BadDocument([Fault(file="password", line=None, key="", message=message)])
        self._write({**self.hashes(), role: _HASHER.hash(password)})

    def remove(self, role: Role) -> bool:
        """Take a role's password away; False when it had none. Raises Unavailable."""
        kept = {other: known for other, known in self.hashes().items() if other is not role}
        if len(kept) == len(self.hashes()):
            return False
        self._write(kept)
        return True

    def _read(self) -> dict[Role, str]:
        try:
            document = json.loads(self.path.read_text("utf-8"))
            return {Role(name): str(known) for name, known in document.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise Unavailable(
                f"{self.path} cannot be understood: {error}; remove it and set the passwords anew"
            ) from error

    def _write(self, hashes: Mapping[Role, str]) -> None:
        document = {role.value: known for role, known in sorted(hashes.items())}
        write_private(self.path, json.dumps(document, indent=1) + "\n")


def _is(known: str, password: str) -> bool:
    try:
        return _HASHER.verify(known, password)
    except (Argon2Error, InvalidHashError):
        return False
