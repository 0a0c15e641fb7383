"""What the kernel's rule set, as `nft -j list ruleset` prints it, does with a packet. Pure.

The chains are walked as the kernel walks them (nft(8)): every base chain of the hook in the order of its priority,
each must accept. A match that is not understood counts as "may match": if that could change the outcome, it is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from nodegate.host.doctor.packets import TCP, Packet, Way

_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132, "vrrp": 112}
_FAMILIES = {4: ("ip", "inet"), 6: ("ip6", "inet")}
_VERDICTS = {"accept": Way.ACCEPT, "drop": Way.DROP, "reject": Way.DROP, "queue": Way.UNKNOWN}
_SILENT = {
    "counter",
    "log",
    "limit",
    "comment",
    "mangle",
    "set",
    "meter",
    "quota",
    "notrack",
    "flow",
    "ct count",
}
"""Statements that decide nothing. A limit is taken as not reached: one packet now and then gets in, and what is for
those `over` the limit is not for it."""
_TRACKED = {"state": "new", "status": "none"}
"""What connection tracking knows of a first packet."""
_DEEPEST = 64

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """Chains, their rules in order, and named sets, each by family, table and name."""

    chains: Mapping[Key, Mapping[str, Any]]
    rules: Mapping[Key, tuple[list[Any], ...]]
    sets: Mapping[Key, list[Any]]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Ruleset:
        """From nft's JSON. Raises KeyError or TypeError for another document."""
        chains: dict[Key, Mapping[str, Any]] = {}
        rules: dict[Key, list[list[Any]]] = {}
        sets: dict[Key, list[Any]] = {}
        for entry in document["nftables"]:
            for kind, item in entry.items():
                if kind == "chain":
                    chains[item["family"], item["table"], item["name"]] = item
                elif kind == "rule":
                    rules.setdefault((item["family"], item["table"], item["chain"]), []).append(item["expr"])
                elif kind in {"set", "map"}:
                    sets[item["family"], item["table"], item["name"]] = item.get("elem", [])
        return cls(chains=chains, rules={key: tuple(found) for key, found in rules.items()}, sets=sets)

    def filters(self) -> bool:
        """Whether anything is filtered at all on the way in."""
        return any(chain.get("hook") == "input" for chain in self.chains.values())

    def way(self, packet: Packet) -> Way:
        """What becomes of the packet on its way to a process of this host."""
        outcome = Way.ACCEPT
        for key, chain in sorted(self.chains.items(), key=lambda item: _order(item[1])):
            if (
                chain.get("hook") in {"prerouting", "input"}
                and chain.get("type") == "filter"
                and key[0] in _FAMILIES[packet.version]
            ):
                found = self._walk(key, packet, 0) or _VERDICTS.get(
                    chain.get("policy", "accept"), Way.UNKNOWN
                )
                if found is Way.DROP:
                    return Way.DROP
                if found is Way.UNKNOWN:
                    outcome = Way.UNKNOWN
        return outcome

    def forwards(self, port: int) -> bool:
        """Whether a rule sends what comes for the port elsewhere (a published port of Docker): input rules do not see
        it then."""
        return any(
            _names_port(statements, port)
            and any("dnat" in item or _is_xt(item, "DNAT") for item in statements)
            for statements in (rule for rules in self.rules.values() for rule in rules)
        )

    def _walk(self, key: Key, packet: Packet, depth: int) -> Way | None:
        """The verdict of a chain, None when it gives none."""
        if depth > _DEEPEST:
            return Way.UNKNOWN
        perhaps: set[Way | None] = set()
        for statements in self.rules.get(key, ()):
            matched, verdict, ends = self._rule(key, statements, packet, depth)
            if matched is False or (verdict is None and not ends):
                continue
            if matched is None:
                perhaps.add(verdict)
            else:
                return _settled(verdict, perhaps)
        policy = self.chains.get(key, {}).get("policy")
        return _settled(_VERDICTS.get(policy or ""), perhaps)

    def _rule(
        self, key: Key, statements: Iterable[Mapping[str, Any]], packet: Packet, depth: int
    ) -> tuple[bool | None, Way | None, bool]:
        """Whether the rule matches, its verdict (None: none), and whether it ends the chain without one."""
        matched: bool | None = True
        for item in statements:
            name, value = next(iter(item.items()))
            if name == "match":
                found = self._match(key, value, packet)
                if found is False:
                    return False, None, False
                matched = matched if found else None
            elif _spares(name, value, packet):
                return False, None, False
            elif name in _VERDICTS:
                return matched, _VERDICTS[name], True
            elif name == "return":
                return matched, None, True
            elif name in {"jump", "goto"}:
                verdict = self._walk((key[0], key[1], value["target"]), packet, depth + 1)
                return matched, verdict, name == "goto"
            elif name == "vmap":
                return self._vmap(key, value, packet, depth, matched)
            elif name not in _SILENT:
                matched = None  # xt and others
        return matched, None, False

    def _vmap(
        self, key: Key, value: Mapping[str, Any], packet: Packet, depth: int, matched: bool | None
    ) -> tuple[bool | None, Way | None, bool]:
        """A map from values to verdicts."""
        mine = _value(value["key"], packet)
        for wanted, verdict in _elements(value["data"], key, self.sets):
            found = None if mine is None else _is_in(mine, wanted, key, self.sets)
            if found is not False:
                _, way, ends = self._rule(key, [verdict], packet, depth)
                return (matched if found else None), way, ends
        return False, None, False

    def _match(self, key: Key, match: Mapping[str, Any], packet: Packet) -> bool | None:
        if not _concerns(match["left"], packet):
            return False
        mine = _value(match["left"], packet)
        operator = match.get("op", "==")
        if mine is None or operator not in {"==", "!=", "in"}:
            return None
        found = _is_in(mine, match["right"], key, self.sets)
        return found if found is None or operator != "!=" else not found


def _spares(name: str, value: Any, packet: Packet) -> bool:
    """Whether the statement ends its rule for such a packet."""
    if name == "reject":
        return not _rejects(value, packet)
    if name in {"set", "meter"}:  # what is counted for each address
        inner = value.get("stmt", [])
        inner = inner if isinstance(inner, list) else [inner]
        return any(_spares(what, item, packet) for one in inner for what, item in one.items())
    return name in {"limit", "quota", "ct count"} and bool(value.get("inv"))


def _rejects(value: Mapping[str, Any] | None, packet: Packet) -> bool:
    """Whether a reject is for such a packet: nft leaves the family away in its listing when the answer implies it."""
    answer = (value or {}).get("type")
    implied = {
        "icmp": packet.version == 4,
        "icmpv6": packet.version == 6,
        "tcp reset": packet.protocol == TCP,
    }
    return implied.get(answer or "", True)


def _settled(verdict: Way | None, perhaps: set[Way | None]) -> Way | None:
    return Way.UNKNOWN if perhaps - {verdict} else verdict


def _order(chain: Mapping[str, Any]) -> tuple[int, int]:
    return (0 if chain.get("hook") == "prerouting" else 1, chain.get("prio", 0))


def _concerns(left: Any, packet: Packet) -> bool:
    """Whether a field is one that such a packet has at all."""
    protocol = left.get("payload", {}).get("protocol") if isinstance(left, dict) else None
    if protocol in {"ip", "ip6"}:
        return bool((protocol == "ip6") == (packet.version == 6))
    if protocol in {"tcp", "udp", "icmp", "icmpv6", "sctp"}:
        return _PROTOCOLS[protocol] == packet.protocol
    return True


def _value(left: Any, packet: Packet) -> str | int | None:
    """The packet's value of a field; None for fields that are not known here."""
    if not isinstance(left, dict):
        return None
    payload, meta = left.get("payload", {}), left.get("meta", {}).get("key")
    field = payload.get("field")
    if field == "dport" and packet.protocol == TCP:
        return packet.port
    if field == "saddr":
        return packet.source
    if meta == "l4proto" or field in {"protocol", "nexthdr"}:
        return packet.protocol
    if meta == "nfproto":
        return f"ipv{packet.version}"
    if meta == "protocol":
        return "ip6" if packet.version == 6 else "ip"
    if meta in {"iif", "iifname"}:
        return packet.interface
    if "fib" in left:  # the way back exists, and the packet is for this host
        return "local" if left["fib"].get("result") == "type" else packet.interface
    return _TRACKED.get(left.get("ct", {}).get("key"))


def _is_in(mine: str | int, right: Any, key: Key, sets: Mapping[Key, list[Any]]) -> bool | None:
    """Whether the value is the one, or among those, that a rule names; None where that cannot be told."""
    if isinstance(right, dict):
        if "set" in right or "elem" in right:
            elements = right["set"] if "set" in right else [right["elem"]["val"]]
            return _any(_is_in(mine, element, key, sets) for element in elements)
        if "range" in right:
            low, high = right["range"]
            return _between(mine, low, high)
        if "prefix" in right:
            network = ip_network(f"{right['prefix']['addr']}/{right['prefix']['len']}", strict=False)
            return ip_address(str(mine)) in network
        return None
    if isinstance(right, list):
        return _any(_is_in(mine, element, key, sets) for element in right)
    if isinstance(right, str) and right.startswith("@"):
        elements = sets.get((key[0], key[1], right[1:]))
        return None if elements is None else _any(_is_in(mine, element, key, sets) for element in elements)
    if isinstance(mine, int):
        return (_PROTOCOLS.get(right) if isinstance(right, str) else right) == mine
    if isinstance(right, str) and right.endswith("*"):
        return mine.startswith(right[:-1])
    return bool(mine == right)


def _between(mine: str | int, low: Any, high: Any) -> bool:
    if isinstance(mine, int):
        return bool(low <= mine <= high)
    first, here, last = ip_address(low), ip_address(mine), ip_address(high)
    return first.version == here.version and int(first) <= int(here) <= int(last)


def _any(answers: Iterable[bool | None]) -> bool | None:
    found = list(answers)
    return True if True in found else None if None in found else False


def _elements(data: Any, key: Key, sets: Mapping[Key, list[Any]]) -> list[Any]:
    if isinstance(data, str):
        return sets.get((key[0], key[1], data.removeprefix("@")), [])
    found: list[Any] = data["set"]
    return found


def _names_port(statements: Iterable[Mapping[str, Any]], port: int) -> bool:
    for item in statements:
        left = item.get("match", {}).get("left", {})
        if isinstance(left, dict) and left.get("payload", {}).get("field") == "dport":
            return bool(item["match"]["right"] == port)
    return False


def _is_xt(item: Mapping[str, Any], name: str) -> bool:
    return isinstance(item.get("xt"), dict) and item["xt"].get("name") == name
