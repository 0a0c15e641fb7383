"""What a renderer returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One file: its path below the output directory, its text, and its mode. `install` is where it belongs
    on the machine."""

    path: str
    text: str
    install: str
    mode: int = 0o644
