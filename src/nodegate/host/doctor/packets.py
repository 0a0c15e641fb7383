"""A packet from a stranger, and what a rule set does with it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TCP = 6
STRANGERS = ("93.184.215.14", "2606:2800:21f:cb07::14")
"""Public addresses that stand for everybody: in no list of private or bogus networks, in nobody's allow list."""
UNUSED_PORT = 64_977
"""A port that no rule names: what happens to it is the default."""


class Way(StrEnum):
    """What becomes of a packet; UNKNOWN where the rules say things that are not understood here."""

    ACCEPT = "accept"
    DROP = "drop"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a connection, or one of another IP protocol than TCP (then `port` is 0)."""

    source: str
    interface: str
    protocol: int = TCP
    port: int = 0

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.source else 4


def packets(
    interfaces: tuple[str, ...], *, port: int = 0, protocol: int = TCP, sources: tuple[str, ...] = STRANGERS
) -> tuple[Packet, ...]:
    """One packet from each source by each interface."""
    return tuple(
        Packet(source=source, interface=interface, protocol=protocol, port=port)
        for source in sources
        for interface in interfaces or ("eth0",)
    )


def widest(ways: tuple[Way, ...]) -> Way:
    """The way of the luckiest packet: one that gets in is enough to be open."""
    for way in (Way.ACCEPT, Way.UNKNOWN):
        if way in ways:
            return way
    return Way.DROP
