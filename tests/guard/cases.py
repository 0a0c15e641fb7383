"""The corpus: requests as data, each with what the guard must say."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One body, and the first fields of the expected line."""

    kind: str
    name: str
    body: bytes
    expect: str


def cases() -> tuple[Case, ...]:
    """All cases of all files."""
    return tuple(case for file in sorted(CORPUS.glob("*.toml")) for case in _read(file))


def _read(file: Path) -> list[Case]:
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    return [
        Case(kind=data["kind"], name=item["name"], expect=item["expect"], body=_body(item))
        for item in data["cases"]
    ]


def _body(item: dict[str, Any]) -> bytes:
    if "hex" in item:
        return bytes.fromhex(item["hex"])
    if "repeat" in item:
        return "".join(text * times for text, times in item["repeat"]).encode()
    return str(item["body"]).encode()
