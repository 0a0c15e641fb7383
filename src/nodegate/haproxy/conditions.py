"""The words that the gateway's rules are made of: conditions, and values set for one request."""

from __future__ import annotations

from nodegate.haproxy.config import Words, words


def cond(sample: str, *match: object) -> Words:
    """One anonymous condition. Variables have no type of their own, so numbers have to be called that."""
    number = ("-m", "int") if match and match[0] in {"eq", "lt", "le", "gt", "ge"} else ()
    return words("{", sample, *number, *match, "}")


def if_found(name: str) -> Words:
    """The variable has a value."""
    return cond(f"var({name})", "-m", "found")


def unless_found(name: str) -> Words:
    """The variable has no value."""
    return ("!", *if_found(name))


def unless_str(name: str, text: str) -> Words:
    """The variable is not this text."""
    return ("!", *cond(f"var({name})", "-m", "str", text))


def set_var(name: str, sample: str, *when: str) -> Words:
    """Set `txn.NAME`, with `when` only if these conditions hold."""
    return words("http-request", f"set-var(txn.{name})", sample, *(("if", *when) if when else ()))


def leave_if_ruled() -> Words:
    """End the frontend's rules once one of them has refused: `txn.pass` is not set then."""
    return words("http-request", "allow", "if", *if_found("txn.rule"))


def is_kind(kind: str) -> Words:
    """The request is for a pool under this kind's policy."""
    return cond("var(txn.kind)", "-m", "str", kind)
