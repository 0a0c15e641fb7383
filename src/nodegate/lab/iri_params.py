"""How IRI reads the parameters of a command, and what it says of bad ones. Pure."""

from __future__ import annotations

import math
from typing import Any

from nodegate.lab.answers import Rejected, Reply
from nodegate.lab.iri import MAX_REQUEST_LIST, IriNode, Params, exception, java_class
from nodegate.lab.trytes import NULL_HASH, is_trytes

_LARGEST = 2**31 - 1


def invalid(node: IriNode, text: str) -> Rejected:
    """A validation error, in the release's own way."""
    release = node.profile.release
    return Rejected(Reply(status=release.validation_status, document={release.validation_key: text}))


def present(node: IriNode, params: Params, name: str) -> Any:
    """The value of a parameter that must be there."""
    if name not in params:
        raise invalid(node, "Invalid parameters")
    return params[name]


def integer(node: IriNode, params: Params, name: str) -> int:
    """A number, cut to an integer as Java does."""
    value = present(node, params, name)
    if value is None:
        raise Rejected(exception(None))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(node, f"Invalid {name} input")
    if isinstance(value, float) and not math.isfinite(value):
        return 0 if math.isnan(value) else _LARGEST if value > 0 else -_LARGEST - 1
    return max(-_LARGEST - 1, min(_LARGEST, int(value)))


def trytes(node: IriNode, params: Params, name: str, length: int) -> str:
    """A string of exactly `length` trytes."""
    value = present(node, params, name)
    if value is None:
        raise Rejected(exception(None))
    if not isinstance(value, str):
        raise Rejected(exception(f"{java_class(value)} cannot be cast to java.lang.String"))
    if not is_trytes(value, length):
        raise invalid(node, f"Invalid {name} input")
    return value


def texts(node: IriNode, params: Params, name: str, length: int | None = None) -> list[str]:
    """A list of strings, each of exactly `length` trytes if given."""
    value = present(node, params, name)
    if value is None:
        raise Rejected(exception(None))
    if not isinstance(value, list):
        raise Rejected(exception(f"{java_class(value)} cannot be cast to java.util.List"))
    if len(value) > MAX_REQUEST_LIST:
        raise invalid(node, "Could not complete request")
    for item in value:
        if item is None:
            raise Rejected(exception(None))
        if not isinstance(item, str):
            raise Rejected(exception(f"{java_class(item)} cannot be cast to java.lang.String"))
        if length is not None and not is_trytes(item, length):
            raise invalid(node, f"Invalid {name} input")
    return value


def hashes(node: IriNode, params: Params, name: str) -> list[str]:
    """A list of 81-tryte hashes of which none is all nines."""
    found = texts(node, params, name, 81)
    if NULL_HASH in found:
        raise invalid(node, f"Invalid {name} input")
    return found
