"""One answer from whichever firewall a host has: what happens to a stranger's packet. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nodegate.host.doctor.facts import Facts, Unsure
from nodegate.host.doctor.nft import Ruleset
from nodegate.host.doctor.packets import STRANGERS, TCP, UNUSED_PORT, Packet, Way, packets, widest
from nodegate.host.doctor.zones import Firewalld, Ufw, parse_firewalld, parse_ufw


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """What could be read; each None when it is not there or does not run."""

    ruleset: Ruleset | None
    ufw: Ufw | None
    firewalld: Firewalld | None
    interfaces: tuple[str, ...]

    def default(self) -> Way:
        """What happens to a connection that no rule speaks of."""
        return self.tcp(UNUSED_PORT)

    def tcp(self, port: int, *, sources: tuple[str, ...] = STRANGERS) -> Way:
        """What happens to a stranger's connection to the port; the luckiest of them counts."""
        if self.ruleset is not None and self.ruleset.forwards(port):
            return Way.ACCEPT
        return self._way(packets(self.interfaces, port=port, sources=sources))

    def protocol(self, number: int, *, sources: tuple[str, ...] = STRANGERS) -> Way:
        """What happens to packets of another IP protocol from those sources."""
        return self._way(packets(self.interfaces, protocol=number, sources=sources))

    def _way(self, found: Sequence[Packet]) -> Way:
        """The kernel's rules count; what they say unclearly (iptables modules) the front ends may know."""
        if self.ruleset is not None:
            way = widest(tuple(self.ruleset.way(packet) for packet in found))
            if way is not Way.UNKNOWN:
                return way
        for front in (self.ufw, self.firewalld):
            if front is not None:
                return widest(tuple(front.way(packet) for packet in found))
        return Way.UNKNOWN

    @property
    def name(self) -> str:
        """Which firewall an operator would look at."""
        if self.ufw is not None:
            return "ufw"
        return "firewalld" if self.firewalld is not None else "nftables"


def firewall_of(facts: Facts) -> Firewall:
    """The host's firewall. Raises Unsure when none of them could be asked."""
    said = facts.maybe("ufw")
    zones = facts.maybe("firewalld")
    rules: Any = facts.maybe("nftables")
    ufw = None if said is None else parse_ufw(said)
    if rules is None and ufw is None and zones is None:
        facts.get("nftables")  # raises with the reason
    addresses = facts.maybe("addresses") or ()
    return Firewall(
        ruleset=None if rules is None else Ruleset.of(rules),
        ufw=ufw,
        firewalld=None if zones is None else parse_firewalld(zones),
        interfaces=tuple(sorted({item["interface"] for item in addresses})),
    )


def listens(facts: Facts, port: int) -> tuple[str, ...]:
    """The addresses beyond this host alone on which somebody listens. Raises Unsure when unknown."""
    found = [item["address"] for item in facts.get("listeners") if item["port"] == port]
    return tuple(
        sorted({address for address in found if not address.startswith("127.") and address != "::1"})
    )


def reached(facts: Facts, port: int) -> str | None:
    """`open`, `refused` or `filtered` as a connection from outside met it, None when nobody tried."""
    tried: Any = facts.maybe("outside")
    if tried is None:
        return None
    state = tried["ports"].get(str(port))
    return None if state is None else str(state)


def outsider(facts: Facts) -> str:
    """Who tried from outside."""
    tried: Any = facts.maybe("outside")
    return "" if tried is None else str(tried["name"])


def known(way: Way, what: str) -> Way:
    """The way; raises Unsure for UNKNOWN."""
    if way is Way.UNKNOWN:
        raise Unsure(
            f"the rules for {what} use matches that are not understood here; try it with --from HOST"
        )
    return way


__all__ = ["TCP", "Firewall", "firewall_of", "known", "listens", "outsider", "reached"]
