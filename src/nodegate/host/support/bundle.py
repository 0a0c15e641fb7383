"""The bundle: cleaned texts in one tar.gz, with a manifest that says what was taken, removed, and left out."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nodegate.errors import Unavailable
from nodegate.host.support.collect import Item
from nodegate.host.support.redact import Redactor
from nodegate.model import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the manifest. `removed` counts secrets by kind; `missing` says why there is no such file."""

    name: str
    source: str
    size: int = 0
    removed: tuple[tuple[str, int], ...] = ()
    missing: str | None = None


def clean(items: Iterable[Item], known: tuple[str, ...]) -> tuple[list[tuple[str, bytes]], list[Entry]]:
    """The files without secrets, and the manifest's entries. Pure but for what `items` reads."""
    files, entries = [], []
    for item in items:
        if item.missing is not None:
            why = Redactor(known=known)(item.missing)
            entries.append(Entry(name=item.name, source=item.source, missing=why))
            continue
        redactor = Redactor(known=known, counts=Counter())
        body = redactor(item.text).encode()
        removed = tuple(sorted(redactor.counts.items()))
        files.append((item.name, body))
        entries.append(Entry(name=item.name, source=item.source, size=len(body), removed=removed))
    return files, entries


def manifest(entries: Iterable[Entry], *, at: Instant) -> dict[str, object]:
    """The manifest as a document."""
    found = list(entries)
    return {
        "made_at": at,
        "files": [
            {"name": entry.name, "source": entry.source, "bytes": entry.size, "removed": dict(entry.removed)}
            for entry in found
            if entry.missing is None
        ],
        "left_out": [
            {"name": entry.name, "source": entry.source, "why": entry.missing}
            for entry in found
            if entry.missing
        ],
    }


def write_bundle(path: Path, files: Iterable[tuple[str, bytes]], *, at: Instant, folder: str) -> None:
    """Write the archive, readable by its owner alone; an existing file is never overwritten.

    Raises Unavailable when it cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Unavailable(f"{path} exists already; name another file with --output") from error
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}; name another file with --output"
        ) from error
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, body in files:
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size, info.mtime, info.mode = len(body), int(at), 0o600
            archive.addfile(info, io.BytesIO(body))


def manifest_file(document: dict[str, object]) -> tuple[str, bytes]:
    """The manifest as a file of the bundle."""
    return "MANIFEST.json", json.dumps(document, indent=2).encode()
