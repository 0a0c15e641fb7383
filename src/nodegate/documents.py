"""TOML documents that know on which line each key stands, so that messages point into the file.

The standard library parses; this adds only the positions, which it does not give.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nodegate.errors import BadDocument, Fault

KeyPath = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

_HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=(.*)$"""
)
_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(?:\.|$)""")
_TOML_PLACE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed document: its data, and the line of each key path."""

    file: str
    data: dict[str, Any]
    lines: dict[KeyPath, int]

    def line_of(self, key: Sequence[str | int]) -> int | None:
        """Line of `key`, or of its nearest ancestor that has one; None for an empty document."""
        path = tuple(key)
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return None

    def fault(self, key: Sequence[str | int], message: str) -> Fault:
        """A fault at `key` of this document."""
        return Fault(file=self.file, line=self.line_of(key), key=dotted(key), message=message)


def dotted(key: Sequence[str | int]) -> str:
    """`("nodes", 0, "url")` → `nodes[0].url`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse(text: str, *, file: str) -> Document:
    """Parse TOML `text`; `file` is the name used in messages.

    Raises BadDocument with the line when the text is not TOML.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = int(place.group(1)) if place else max(1, text.count("\n"))
        message = _TOML_PLACE.sub("", str(error)).strip()
        raise BadDocument(
            [Fault(file=file, line=line, key="", message=f"not valid TOML: {message}")]
        ) from error
    return Document(file=file, data=data, lines=_key_lines(text))


def load(path: Path) -> Document:
    """Read and parse the TOML file at `path`. Raises BadDocument, also when it cannot be read."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise BadDocument([Fault(file=str(path), line=None, key="", message=message)]) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadDocument([Fault(file=str(path), line=line, key="", message="not UTF-8")]) from error
    return parse(text, file=str(path))


def validate(model: type[M], document: Document) -> M:
    """The document's data as `model`. Raises BadDocument with every fault and its line."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise BadDocument(faults_of(error, document)) from error


def faults_of(error: ValidationError, document: Document) -> list[Fault]:
    """Pydantic's findings as faults that point into `document`."""
    faults = []
    for item in error.errors(include_url=False):
        key = tuple(part for part in item["loc"] if not str(part).startswith("function-"))
        message = (
            "unknown key" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        )
        faults.append(document.fault(key, message[:1].lower() + message[1:]))
    return faults


def _key_lines(text: str) -> dict[KeyPath, int]:
    """Line (from 1) of each table header and each key; keys inside inline values have none."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    pending = ""  # the value that is still open at the end of the line before
    for number, line in enumerate(text.splitlines(), start=1):
        if pending:
            pending = _still_open(pending + "\n" + line)
            continue
        if (key := _KEY.match(line)) is not None:
            path = table
            for part in _parts(key.group(1)):
                path = (*path, part)
                lines.setdefault(path, number)
            pending = _still_open(key.group(2))
        elif (header := _HEADER.match(line)) is not None:
            table = _table_path(_parts(header.group(2)), counts, array=header.group(1) == "[[")
            for length in range(1, len(table) + 1):
                lines.setdefault(table[:length], number)
    return lines


def _table_path(parts: list[str], counts: dict[KeyPath, int], *, array: bool) -> KeyPath:
    """The data path a header opens; `counts` remembers how many elements each array of tables has."""
    path: KeyPath = ()
    for position, part in enumerate(parts):
        path = (*path, part)
        last = position == len(parts) - 1
        if last and array:
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _parts(key: str) -> list[str]:
    return ["".join(groups) for groups in _PART.findall(key)]


def _still_open(value: str) -> str:
    """`value` when it continues on the next line (an array or a multi-line string), else ""."""
    try:
        tomllib.loads("x =" + value)
    except tomllib.TOMLDecodeError:
        return value
    return ""
