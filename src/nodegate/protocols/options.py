"""Options of a node's kind: one table per kind says which there are and what they may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nodegate.model import Node, Scalar

Check = Callable[[Scalar], str | None]
"""What is wrong with an option's value, None when nothing is."""


def faults(node: Node, table: Mapping[str, Check]) -> tuple[str, ...]:
    """One sentence for each option of `node` that `table` does not know or refuses, in order of name."""
    found = []
    for name, value in sorted(node.options.items()):
        if name not in table:
            known = f"known are {', '.join(sorted(table))}" if table else "there are none"
            found.append(f"{name}: kind {node.kind} has no such option; {known}")
        elif (wrong := table[name](value)) is not None:
            found.append(f"{name}: {wrong}")
    return tuple(found)


def truth(value: Scalar) -> str | None:
    """A yes or no."""
    return None if isinstance(value, bool) else f"write true or false, not {value!r}"


def count(value: Scalar) -> str | None:
    """A whole number of at least 1."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if whole else f"write a whole number of at least 1, not {value!r}"


def is_on(node: Node, name: str, *, default: bool) -> bool:
    """The yes-or-no option `name`; anything else than true or false counts as `default`."""
    value = node.options.get(name, default)
    return value if isinstance(value, bool) else default
