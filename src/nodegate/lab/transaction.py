"""One IOTA transaction: 2673 trytes with fields at fixed places, and the hash that names it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from nodegate.lab.trytes import NULL_HASH, curl, number, value_of

TRANSACTION_TRYTES: Final = 2673
SUPPLY: Final = 2_779_530_283_277_761
"""All iotas there are: (3**33 - 1) / 2."""

# Field: (first tryte, length), as the protocol lays a transaction out.
_PLACES: Final[Mapping[str, tuple[int, int]]] = {
    "address": (2187, 81),
    "value": (2268, 27),
    "obsolete_tag": (2295, 27),
    "timestamp": (2322, 9),
    "current_index": (2331, 9),
    "last_index": (2340, 9),
    "bundle": (2349, 81),
    "trunk": (2430, 81),
    "branch": (2511, 81),
    "tag": (2592, 27),
    "attached_at": (2619, 9),
    "attached_after": (2628, 9),
    "attached_before": (2637, 9),
    "nonce": (2646, 27),
}
_LATEST_TIME = (3**27 - 1) // 2  # the largest number that 9 trytes hold


def field(trytes: str, name: str) -> str:
    """The trytes of one field of a transaction."""
    start, length = _PLACES[name]
    return trytes[start : start + length]


def replaced(trytes: str, **fields: str) -> str:
    """The transaction with some fields replaced; each value is padded with 9 to its field's length."""
    for name, value in fields.items():
        start, length = _PLACES[name]
        trytes = trytes[:start] + value[:length].ljust(length, "9") + trytes[start + length :]
    return trytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction that some node knows. `value` is in iota."""

    hash: str
    trytes: str
    address: str
    value: int
    bundle: str
    tag: str
    obsolete_tag: str
    trunk: str
    branch: str
    current_index: int
    last_index: int


@lru_cache(maxsize=1024)
def hash_of(trytes: str) -> str:
    """The hash that names a transaction. Remembered, because a client attaches, stores and broadcasts the
    same one and each hash costs about 4 ms of CPU."""
    return curl(trytes)


def parsed(trytes: str) -> Transaction:
    """`trytes` (2673 of them) as a transaction."""
    return Transaction(
        hash=hash_of(trytes),
        trytes=trytes,
        address=field(trytes, "address"),
        value=value_of(field(trytes, "value")),
        bundle=field(trytes, "bundle"),
        tag=field(trytes, "tag"),
        obsolete_tag=field(trytes, "obsolete_tag"),
        trunk=field(trytes, "trunk"),
        branch=field(trytes, "branch"),
        current_index=value_of(field(trytes, "current_index")),
        last_index=value_of(field(trytes, "last_index")),
    )


def attached(trytes: str, *, trunk: str, branch: str, milliseconds: int, nonce: str) -> str:
    """The transaction with what attaching to the tangle writes into it. The nonce is made up: a lab does no
    proof of work."""
    tag = field(trytes, "tag")
    return replaced(
        trytes,
        trunk=trunk,
        branch=branch,
        tag=tag if tag.strip("9") else field(trytes, "obsolete_tag"),
        attached_at=number(milliseconds, 9),
        attached_after="9" * 9,
        attached_before=number(_LATEST_TIME, 9),
        nonce=nonce,
    )


def milestone(*, coordinator: str, index: int, trunk: str, branch: str, bundle: str, seconds: int) -> str:
    """The trytes of the milestone `index`, issued at `seconds` since the epoch."""
    return replaced(
        "9" * TRANSACTION_TRYTES,
        address=coordinator,
        obsolete_tag=number(index, 27),
        timestamp=number(seconds, 9),
        current_index=number(0, 9),
        last_index=number(0, 9),
        bundle=bundle,
        trunk=trunk,
        branch=branch,
        tag=number(index, 27),
        attached_at=number(seconds * 1000, 9),
    )


GENESIS: Final = Transaction(
    hash=NULL_HASH,
    trytes="9" * TRANSACTION_TRYTES,
    address=NULL_HASH,
    value=0,
    bundle=NULL_HASH,
    tag="9" * 27,
    obsolete_tag="9" * 27,
    trunk=NULL_HASH,
    branch=NULL_HASH,
    current_index=0,
    last_index=0,
)
