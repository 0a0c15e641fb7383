"""Lists of nodes as files: what `nodes import` reads and `nodes export` writes.

- `json`: `{"nodes": [{"url": …, "kind": …}, …]}`
- `toml`: `[[nodes]]` tables as in nodegate.toml
- `plain`: `KIND URL` on each line; all else has its default, so only kind and URL survive an export
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from nodegate.documents import Document, KeyPath, parse, validate
from nodegate.errors import BadDocument, Fault
from nodegate.model import Intent, Node
from nodegate.ports import Adapter
from nodegate.registry.records.node import NodeDocument, document_of, kind_faults
from nodegate.registry.records.strictjson import strict_json
from nodegate.settings import Scalar

Format = Literal["json", "toml", "plain"]
FORMATS: tuple[Format, ...] = ("json", "toml", "plain")

_DEFAULTS: Mapping[str, object] = {
    "weight": 100,
    "maxconn": None,
    "intent": Intent.SERVE.value,
    "tls_verify": True,
    "options": {},
    "address": None,
}


class NodesDocument(BaseModel):
    """A list of nodes, as import and export write it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    nodes: list[NodeDocument]


def format_of(filename: str) -> Format:
    """The format that a file's name stands for: `.json`, `.toml`, plain for any other."""
    suffix = filename.lower().rpartition(".")[2]
    return "json" if suffix == "json" else "toml" if suffix == "toml" else "plain"


def parse_nodes(
    text: str, format: Format, file: str, *, adapters: Mapping[str, Adapter] | None = None
) -> list[Node]:
    """The nodes that `text` describes, in its order; `file` is its name in messages.

    With `adapters`, kinds and options are checked too. Raises BadDocument with every fault: what is not
    the format, unknown or wrong fields, ids that stand there twice. Lines are given for TOML and plain.
    """
    document = _READERS[format](text.removeprefix("\ufeff"), file)
    nodes = [entry.node() for entry in validate(NodesDocument, document).nodes]
    faults = duplicate_faults(nodes, document)
    if adapters is not None:
        for number, node in enumerate(nodes):
            faults += kind_faults(node, adapters, document, ("nodes", number))
    if faults:
        raise BadDocument(faults)
    return nodes


def format_nodes(nodes: Iterable[Node], format: Format) -> str:
    """The nodes as text that `parse_nodes` reads back: the same, but for source and version, in JSON and
    TOML; kind and URL alone in the plain format."""
    return _WRITERS[format]([document_of(node) for node in nodes])


def duplicate_faults(nodes: Sequence[Node], document: Document) -> list[Fault]:
    """Ids that are taken by an earlier node of the same document."""
    first: dict[str, int] = {}
    faults = []
    for number, node in enumerate(nodes):
        other = first.setdefault(node.id, number)
        if other != number:
            line = document.line_of(("nodes", other))
            place = f"nodes[{other}]" if line is None else f"the node in line {line}"
            faults.append(document.fault(("nodes", number, "id"), f"the id {node.id!r} is taken by {place}"))
    return faults


def _read_json(text: str, file: str) -> Document:
    try:
        data = strict_json(text)
    except json.JSONDecodeError as error:
        raise _bad(file, error.lineno, f"not valid JSON: {error.msg}") from error
    except ValueError as error:
        raise _bad(file, None, f"not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise _bad(file, None, 'write one object: {"nodes": [{"url": …, "kind": …}]}')
    return Document(file=file, data=data, lines={})


def _read_toml(text: str, file: str) -> Document:
    return parse(text, file=file)


def _read_plain(text: str, file: str) -> Document:
    entries: list[dict[str, str]] = []
    lines: dict[KeyPath, int] = {}
    faults = []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.partition("#")[0].split()
        if len(words) == 2:
            lines["nodes", len(entries)] = number
            entries.append({"kind": words[0], "url": words[1]})
        elif words:
            message = f"write KIND URL, such as `iri http://192.0.2.1:14265`, not {line.strip()!r}"
            faults.append(Fault(file=file, line=number, key="", message=message))
    if faults:
        raise BadDocument(faults)
    return Document(file=file, data={"nodes": entries}, lines=lines)


def _bad(file: str, line: int | None, message: str) -> BadDocument:
    return BadDocument([Fault(file=file, line=line, key="", message=message)])


def _write_json(documents: list[dict[str, Any]]) -> str:
    return json.dumps({"nodes": documents}, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def _write_toml(documents: list[dict[str, Any]]) -> str:
    return "\n".join(_toml_table(document) for document in documents) or "nodes = []\n"


def _write_plain(documents: list[dict[str, Any]]) -> str:
    return "".join(f"{document['kind']} {document['url']}\n" for document in documents)


def _toml_table(document: dict[str, Any]) -> str:
    """One `[[nodes]]` table; what has its default is left out, as an operator would."""
    written = {
        key: value for key, value in document.items() if key not in _DEFAULTS or value != _DEFAULTS[key]
    }
    options = written.pop("options", {})
    lines = ["[[nodes]]", *(f"{key} = {_toml_value(value)}" for key, value in written.items())]
    if options:
        lines += ["[nodes.options]"]
        lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in options.items()]
    return "\n".join(lines) + "\n"


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Scalar) -> str:
    """A string, number or boolean. JSON's spelling is TOML's, once the one control character that JSON
    leaves as it is (delete) is escaped."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


_READERS: Mapping[Format, Callable[[str, str], Document]] = {
    "json": _read_json,
    "toml": _read_toml,
    "plain": _read_plain,
}
_WRITERS: Mapping[Format, Callable[[list[dict[str, Any]]], str]] = {
    "json": _write_json,
    "toml": _write_toml,
    "plain": _write_plain,
}
