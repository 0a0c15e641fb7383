"""Where rendered files go: to a directory, or to standard output one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from nodegate.errors import Unavailable
from nodegate.render.rendered import Rendered

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Write the files below this directory; without it they are printed.",
    ),
]


def deliver(files: Iterable[Rendered], output: Path | None) -> None:
    """Write or print the files, and say where each belongs. Raises Unavailable when the disk does not take one."""
    for file in files:
        if output is None:
            print(f"# ---- {file.install} (mode {file.mode:04o})")
            print(file.text)
            continue
        path = output / file.path
        try:
            _write(path, file)
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error.strerror}") from error
        typer.echo(f"{path} -> {file.install}", err=True)


def _write(path: Path, file: Rendered) -> None:
    """Replace the file in one step; a secret one is never readable by others, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(file.text)
        os.fchmod(stream.fileno(), file.mode)
    draft.replace(path)
