"""JSON with one meaning."""

from __future__ import annotations

import json


def strict_json(text: str | bytes) -> object:
    """JSON without what parsers disagree about: duplicate names, NaN, bottomless nesting. Raises ValueError."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the key {twice!r} stands there twice")
        return members

    def refused(word: str) -> object:
        raise ValueError(f"{word} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refused)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
