"""TOML documents that know on which line each key stands, so that messages point into the file.

The standard library parses; this adds only the positions, which it does not give.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nodegate.errors import BadDocument, Fault

KeyPath = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

_TOKEN = re.compile(
    r'''(?P<skip>[ \t]+|\#[^\n]*)
      | (?P<string>"""(?:\\.|[^\\])*?"{3,5} | \'{3}.*?\'{3,5} | "(?:\\.|[^"\\\n])*" | \'[^\'\n]*\')
      | (?P<mark>[\n\[\]{},=.])
      | (?P<bare>[^\s\[\]{},=.\#"\']+)
      | .''',
    re.VERBOSE | re.DOTALL,
)
_TOML_PLACE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed document: its data, the line of each key path, and the text it was read from."""

    file: str
    data: dict[str, Any]
    lines: dict[KeyPath, int]
    text: str = ""

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
    """`("nodes", 0, "url")` → `nodes[0].url`; a part that TOML would quote is quoted."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            quoted = json.dumps(part, ensure_ascii=False).encode(errors="backslashreplace").decode()
            word = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else quoted
            text += f".{word}" if text else word
    return text


def parse(text: str, *, file: str) -> Document:
    """Parse TOML `text`; `file` is the name used in messages.

    Raises BadDocument with the line when the text is not TOML.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        return Document(file=file, data=tomllib.loads(text), lines=_Lines(text).walk(), text=text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = int(place.group(1)) if place else len(text.rstrip().split("\n"))
        message = _TOML_PLACE.sub("", str(error)).removesuffix("(at end of document)").strip()
        raise _not_toml(file, line, message) from error
    except RecursionError as error:
        raise _not_toml(file, None, "nested too deeply") from error
    except ValueError as error:  # a number with more digits than Python converts
        raise _not_toml(file, None, str(error)) from error


def _not_toml(file: str, line: int | None, message: str) -> BadDocument:
    return BadDocument([Fault(file=file, line=line, key="", message=f"not valid TOML: {message}")])


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
        raise BadDocument(faults_of(error, document, model)) from error


def faults_of(
    error: ValidationError, document: Document, model: type[BaseModel] | None = None
) -> list[Fault]:
    """Pydantic's findings as faults that point into `document`, in words for who wrote it.

    Findings of one place (each member of a union has its own) become one fault. With `model`, an unknown
    key is answered with the known one that is spelt alike.
    """
    messages: dict[KeyPath, list[str]] = {}
    findings = error.errors(include_url=False)
    inside = {finding["loc"][:-1] for finding in findings}
    for item in findings:
        if item["type"] == "too_short" and item["loc"] in inside:
            continue  # it counts the good elements only, and the bad ones are told
        key = _place(item["loc"], document.data, missing=item["type"] == "missing")
        message = _words(item)
        if item["type"] == "extra_forbidden" and model is not None:
            message += _alike(str(key[-1]), _names_at(model, key[:-1]))
        messages.setdefault(key, []).append(message)
    return [document.fault(key, _joined(found)) for key, found in messages.items()]


def _place(loc: KeyPath, data: object, *, missing: bool) -> KeyPath:
    """`loc` without what pydantic adds to it (`str`, `[key]`, `function-after[…]`): what is not in the data."""
    place: KeyPath = ()
    for position, part in enumerate(loc):
        inside = (isinstance(data, Mapping) and part in data) or (
            isinstance(data, Sequence) and isinstance(part, int) and part < len(data)
        )
        if not inside:
            return (*place, part) if missing and position == len(loc) - 1 else place
        data = data[part]  # type: ignore[index]  # narrowed by `inside`
        place = (*place, part)
    return place


_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "model_type": "should be a table",
    "dict_type": "should be a table",
    "mapping_type": "should be a table",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "string_type": "should be a string",
    "int_type": "should be an integer",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
}


def _words(item: ErrorDetails) -> str:
    if item["type"] in {"missing", "extra_forbidden"}:
        return _WORDS[item["type"]]
    if item["type"] == "value_error":
        return item["msg"].removeprefix("Value error, ")
    message = _WORDS.get(item["type"]) or re.sub(
        r"^(Input|String|Value|Tuple|List) (?=should )", "", item["msg"]
    )
    value = item["input"]
    found = f", not {json.dumps(value)[:80]}" if isinstance(value, str | int | float) else ""
    return message[:1].lower() + message[1:] + found


def _joined(messages: list[str]) -> str:
    """`should be A, not X` and `should be B, not X` → `should be A or B, not X`."""
    if len(messages) == 1:
        return messages[0]
    ends = {message.rpartition(", not ")[2] if ", not " in message else "" for message in messages}
    end = f", not {ends.copy().pop()}" if len(ends) == 1 and "" not in ends else ""
    stems = dict.fromkeys(message.removesuffix(end).removeprefix("should be ") for message in messages)
    return f"should be {' or '.join(stems)}{end}"


def _names_at(model: type[BaseModel], key: KeyPath) -> list[str]:
    """The field names of the model that stands at `key` below `model`; none if there is no model there."""
    here: object = model
    for part in key:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = _certain(field.annotation) if field is not None else None
        else:  # an element of a list or of a mapping: its type is the last argument
            arguments = [argument for argument in get_args(here) if argument is not Ellipsis]
            here = arguments[-1] if arguments else None
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _certain(annotation: object) -> object:
    """`Model` for `Model | None`: a table that may be left out is one when it is there."""
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    optional = len(arguments) == 1 and type(None) in get_args(annotation)
    return arguments[0] if optional else annotation


def _alike(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


@dataclass(frozen=True, slots=True)
class _Token:
    """A string, a bare word, or a mark; `line` is where it begins."""

    text: str
    line: int


class _Lines:
    """Walks a text that is known to be TOML and notes where each table, key and array element begins."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._tokens = _tokens(text)
        self._next = 0
        self._elements: dict[KeyPath, int] = {}  # how many tables each array of tables has so far

    def walk(self) -> dict[KeyPath, int]:
        """Line (from 1) of each key path."""
        table: KeyPath = ()
        while self._next < len(self._tokens):
            if self._peek() == "\n":
                self._next += 1
            elif self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.lines

    def _peek(self) -> str:
        return self._tokens[self._next].text if self._next < len(self._tokens) else "\n"

    def _header(self) -> KeyPath:
        line = self._tokens[self._next].line
        self._next += 1
        if array := self._peek() == "[":
            self._next += 1
        parts = self._key(end="]")
        self._next += 1 if array else 0
        path: KeyPath = ()
        for position, part in enumerate(parts, start=1):
            path = (*path, part)
            self.lines.setdefault(path, line)
            if array and position == len(parts):
                self._elements[path] = self._elements.get(path, 0) + 1
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
                self.lines.setdefault(path, line)
        if not array:
            self.lines[path] = line  # [a.b] above may have brought [a] in by the way
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._tokens[self._next].line
        path = table
        for part in self._key(end="="):
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._value(path)

    def _key(self, *, end: str) -> list[str]:
        """The parts of a dotted key, up to and with the mark `end`."""
        parts = []
        while (text := self._peek()) != end:
            if text != ".":
                parts.append(tomllib.loads(f"text = {text}")["text"] if text[0] in "\"'" else text)
            self._next += 1
        self._next += 1
        return parts

    def _value(self, path: KeyPath) -> None:
        opening = self._peek()
        if opening not in {"[", "{"}:
            while self._peek() not in {"\n", ",", "]", "}"}:
                self._next += 1
            return
        self._next += 1
        count = 0
        while (text := self._peek()) not in {"]", "}"}:
            if text in {"\n", ","}:
                self._next += 1
            elif opening == "{":
                self._pair(path)
            else:
                self.lines[(*path, count)] = self._tokens[self._next].line
                self._value((*path, count))
                count += 1
        self._next += 1


def _tokens(text: str) -> list[_Token]:
    tokens = []
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            tokens.append(_Token(match.group(), line))
        line += match.group().count("\n")
    return tokens
