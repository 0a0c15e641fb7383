"""`nodegate neighbours add` and `remove`: the node's own file, changed with the running node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nodegate.errors import NodegateError

if TYPE_CHECKING:
    from nodegate.host.neighbours.files import Edit
    from nodegate.host.neighbours.store import Pending


def prepared(file: Path | None, only_file: bool, key: str | None, edit: Edit) -> Pending | None:
    """The file's change, worked out before the node is asked: a file with faults stops all."""
    from nodegate.host.neighbours import store
    from nodegate.host.neighbours.files import KEYS, edited

    if file is None:
        if only_file or key:
            raise typer.BadParameter("name the file with --file")
        return None
    keys = (key,) if key else KEYS
    return store.prepare(file, lambda text: edited(str(file), text, edit, keys=keys))


def finish(done: str, count: int | None, wanted: int, pending: Pending | None, *, as_json: bool) -> None:
    """Write the file, and say what was done."""
    from nodegate.cli import output
    from nodegate.host.neighbours import store

    backup = None
    if pending is not None:
        try:
            backup = store.commit(pending)
        except NodegateError as error:
            if count is None:
                raise
            raise type(error)(f"{done} in the running node, but not in the file: {error}") from error
    if as_json:
        file = None if pending is None else str(pending.path)
        document = {done: count, "file": file, "file_changed": backup is not None}
        output.print_json(document | {"backup": None if backup is None else str(backup)})
        return
    if count is not None:
        more = (
            ""
            if count == wanted
            else f" of {wanted}; the others {'were there' if done == 'added' else 'were not'}"
        )
        output.note(f"{done} {count}{more}")
    if pending is not None:
        output.note(
            f"{pending.path} is changed, as it was: {backup}" if backup else f"{pending.path} needs no change"
        )
