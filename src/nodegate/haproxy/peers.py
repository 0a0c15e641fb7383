"""What several gateways' HAProxies tell each other: the `peers` section, and limits over all of them together.

Of two gateways that write one entry of a shared table, the last one to write wins: 8 parallel clients were let
through 717 times on a budget of 500. So each gateway writes entries of its own, whose keys end in its mark, reads
those of the others too, and adds up: 502. What a table tells at once (bans) needs no marks.
docs/decisions/0011-shared-limits.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from nodegate.haproxy.config import Peers, Words, words

SECTION = "gateways"
MARK = "@"
"""Stands between an account and the gateway that wrote the entry; accounts have none of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another gateway's HAProxy: its name, and `ADDRESS:PORT`, an IP address."""

    name: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """With whom HAProxy shares counters. Without `listen` with nobody; `me` is this gateway's name.

    With `limits` budgets and rates count over all gateways; without, bans are shared only. `certificate` and
    `authority` are PEM files, both or none.
    """

    me: str = ""
    listen: str = ""
    others: tuple[Peer, ...] = ()
    limits: bool = True
    certificate: str = ""
    authority: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks of the other gateways, where limits are shared."""
        return tuple(mark(peer.name) for peer in self.others) if self.listen and self.limits else ()

    @property
    def own_mark(self) -> str:
        """What this gateway's own entries end in, empty where limits are not shared."""
        return mark(self.me) if self.listen and self.limits else ""


def mark(name: str) -> str:
    """A gateway's mark: short, because it stands in every key of a table with 200,000 of them."""
    return MARK + blake2b(name.encode(), digest_size=4).hexdigest()


def unmarked(key: str) -> str:
    """The account of an entry, whichever gateway wrote it."""
    return key.partition(MARK)[0]


def process_lines(sharing: Sharing) -> tuple[Words, ...]:
    """What `global` needs."""
    return (words("localpeer", sharing.me),) if sharing.listen else ()


def sections(sharing: Sharing) -> tuple[Peers, ...]:
    """The `peers` section. HAProxy has no way to change it at run time, so another gateway is a reload; the
    tables go over to the new process, because the old one connects to it as to a peer."""
    if not sharing.listen:
        return ()
    secured = sharing.certificate and sharing.authority
    files = ("ssl", "crt", sharing.certificate, "ca-file", sharing.authority, "verify", "required")
    # Names in certificates are not looked at: who holds one of this authority's is a gateway.
    tls = words(*files) if secured else ()
    others = sorted((peer for peer in sharing.others if peer.name != sharing.me), key=lambda peer: peer.name)
    return (
        Peers(
            name=SECTION,
            lines=(
                words("bind", sharing.listen, *tls),
                *([words("default-server", *tls)] if tls else []),
                words("server", sharing.me),
                *(words("server", peer.name, peer.place) for peer in others),
            ),
        ),
    )


def table_words(sharing: Sharing) -> Words:
    """What a shared `stick-table` line ends in."""
    return words("peers", SECTION) if sharing.listen else ()


def own_key(sample: str, sharing: Sharing) -> str:
    """`sample` as the key of this gateway's own entry."""
    return f"{sample},concat({sharing.own_mark})" if sharing.own_mark else sample


def spent_elsewhere(sample: str, counter: str, sharing: Sharing, *when: str) -> Iterable[Words]:
    """Lines that add to `txn.spent` what the other gateways counted for the key `sample`; `counter` is the
    converter that reads it from the table, such as `table_gpc_rate(0,st_clients)`."""
    for other in sharing.marks:
        yield words(
            "http-request", "set-var(txn.spent)", f"{sample},concat({other}),{counter},add(txn.spent)",
            *(("if", *when) if when else ()),
        )  # fmt: skip
