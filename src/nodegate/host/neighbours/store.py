"""Replacing a node's file: whole or not at all, with mode and owner kept, and the version before kept beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nodegate import systemfile
from nodegate.errors import Conflict, Refused

BACKUPS = 10
"""So many versions of a file are kept; older ones are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A change that is worked out and not written: `before` is what the file had, `after` what it gets."""

    path: Path
    before: str
    after: str


def prepare(path: Path, edit: Callable[[str], str]) -> Pending:
    """What the file would become. Raises as `systemfile.read`, as `edit` does, and Refused when the file cannot be replaced
    by this user: known before anything else is changed."""
    before = systemfile.read(path)
    after = edit(before)
    folder = path.resolve().parent
    if after != before and not os.access(folder, os.W_OK):
        raise Refused(f"{path} may not be replaced by this user (its folder is not writable); try with sudo")
    return Pending(path=path, before=before, after=after)


def commit(pending: Pending, now: datetime | None = None) -> Path | None:
    """Write the change; returns the backup, None when there was nothing to change.

    A link is followed: what it leads to is replaced. Raises Conflict when somebody changed the file meanwhile,
    Refused or Unavailable when it cannot be written; it is as before then.
    """
    if pending.after == pending.before:
        return None
    target = pending.path.resolve()
    if systemfile.read(target) != pending.before:
        raise Conflict(f"{pending.path} was changed by somebody else meanwhile; run the command again")
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S%fZ")
    backup = target.with_name(f"{target.name}.nodegate-{stamp}.bak")
    systemfile.replace(target, pending.after, backup=backup)
    _forget(target)
    return backup


def _forget(target: Path) -> None:
    """Delete backups beyond the newest; one that cannot be deleted does no harm."""
    kept = sorted(target.parent.glob(f"{_escaped(target.name)}.nodegate-*.bak"))
    for old in kept[:-BACKUPS]:
        old.unlink(missing_ok=True)


def _escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)
