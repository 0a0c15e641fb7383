"""One tree of errors: who is at fault, in words an operator can act on.

Every error carries `code`, the HTTP status that the admin API answers with, and `exit_code`, what the
command line exits with; both tables live here so that no boundary invents its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class NodegateError(Exception):
    """Root of all errors that nodegate raises on purpose."""

    code = 500
    exit_code = 1


class Unavailable(NodegateError):
    """A component does not answer (registry, HAProxy, daemon); trying again later may help."""

    code = 503
    exit_code = 4


class Refused(NodegateError):
    """The request is understood and not allowed, whoever asks again."""

    code = 403
    exit_code = 5


class NotFound(NodegateError):
    """What was named does not exist."""

    code = 404
    exit_code = 6


class Conflict(NodegateError):
    """Somebody else changed it first (compare-and-set lost), or the name is taken."""

    code = 409
    exit_code = 7


class Malformed(NodegateError):
    """Bytes from outside do not mean what they should: a node's answer, HAProxy's reply, a record."""

    code = 502
    exit_code = 8


class Unsafe(NodegateError):
    """Doing it would endanger service; says what to change or which switch overrides."""

    code = 422
    exit_code = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong in a document an operator wrote.

    `line` counts from 1 and is None where the document has no lines (a JSON body, an environment
    variable). `key` is the dotted path of the field, such as `pools.main.balance`.
    """

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class BadDocument(NodegateError):
    """A document has faults; carries all of them, not only the first."""

    code = 422
    exit_code = 3

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))
