"""The state directory: what survives a restart, who may read it, and who runs on it."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nodegate.errors import Conflict, Refused, Unavailable
from nodegate.systemfile.private import write_private


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """`NODEGATE_STATE`, else `nodegate` under the XDG state directory."""
    if named := environ.get("NODEGATE_STATE"):
        return Path(named)
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/root")) / ".local/state")
    return Path(base) / "nodegate"


class StateDir:
    """One nodegate's directory; its files are readable by the owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.registry = self.path / "registry.db"
        self.token = self.path / "token"
        self.admin = self.path / "admin"
        self.lock = self.path / "lock"
        self.policies = self.path / "policies"
        self.config = self.path / "config"

    def prepare(self) -> None:
        """Make the directory (mode 0700). Raises Unavailable when that is impossible."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise Unavailable(
                f"state directory {self.path}: {error.strerror}; choose another with --state"
            ) from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise Unavailable(
                f"state directory {self.path} is not writable for this user; choose another with --state"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process. Raises Conflict when another nodegate runs on it, Unavailable when
        the disk does not take the lock, or another user's lock is in the way."""
        try:
            handle = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._no_lock(error) from error
        try:
            self._take(handle)
            yield
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def _take(self, handle: int) -> None:
        """Lock the open file, and write into it whose it is now."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            owner = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            raise Conflict(
                f"a nodegate (process {owner}) already runs on {self.path}; "
                "stop it with `nodegate down`, or give this one its own --state"
            ) from error
        except OSError as error:
            raise self._no_lock(error) from error

    def _no_lock(self, error: OSError) -> Unavailable:
        advice = "mend that, or choose another directory with --state"
        return Unavailable(f"state directory {self.path}: {self.lock.name}: {error.strerror}; {advice}")

    def owner(self) -> int | None:
        """The process id of the nodegate that runs on this directory now, None if there is none. Raises Refused
        when the directory is another user's, Unavailable when it cannot be looked into."""
        try:
            handle = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise Refused(
                f"{self.lock} belongs to another user; ask as the user that runs nodegate"
            ) from error
        except OSError as error:
            raise self._no_lock(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            return int(text) if text.isdigit() else None
        else:
            return None
        finally:
            os.close(handle)

    def admin_token(self) -> str:
        """The bearer token of the admin API; made at the first start, mode 0600."""
        try:
            token = self.token.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            token = ""
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"{self.token} cannot be read: {error}; mend or remove it") from error
        if token:
            return token
        token = secrets.token_urlsafe(32)
        write_private(self.token, token + "\n")
        return token
