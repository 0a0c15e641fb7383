"""HAProxy's counters as values: methods, rules, clients and bans. No I/O here."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from nodegate.errors import Malformed
from nodegate.haproxy import wire
from nodegate.haproxy.counters import BANS, CLIENTS, CLIENTS_1M, METHODS, RULES
from nodegate.haproxy.peers import unmarked
from nodegate.model import Instant

_ENTRY = re.compile(r"0x[0-9a-f]+: key=(?P<key>\S+) use=\d+ exp=(?P<exp>-?\d+)(?P<rest>.*)")
_KEY = "key:"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCount:
    """One method of a kind: admitted requests, those of the last 10 s, answers 4xx and 5xx, bytes to clients."""

    kind: str
    method: str
    requests: int
    rate: int
    errors: int
    failures: int
    bytes_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    """How often a rule refused, and how often in the last minute."""

    kind: str
    rule: str
    refused: int
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCount:
    """One client (IPv6 by /64) or API key of a kind: requests in all and in 10 s, under way now, units
    spent in 10 s and in a minute, refusals in a minute that count towards a ban."""

    kind: str
    client: str
    key: str | None
    requests: int
    rate: int
    concurrent: int
    cost_10s: int
    cost_1m: int
    refusals_1m: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """A client that is refused until then."""

    client: str
    until: Instant
    automatic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """All counters at one moment."""

    methods: tuple[MethodCount, ...] = ()
    rules: tuple[RuleCount, ...] = ()
    clients: tuple[ClientCount, ...] = ()
    bans: tuple[Ban, ...] = ()


READ = (METHODS, RULES, CLIENTS, CLIENTS_1M, BANS)
"""The tables that `read_tables` needs, in this order."""


def read_tables(replies: tuple[str, ...], now: Instant) -> Tables:
    """The replies to `show table` for each of `READ`. Raises Malformed for what cannot be understood."""
    methods, rules, short, long, bans = (_summed(_entries(reply)) for reply in replies)
    return Tables(
        methods=tuple(_method(key, row) for key, row in sorted(methods.items())),
        rules=tuple(_rule(key, row) for key, row in sorted(rules.items())),
        clients=tuple(_client(key, row, long.get(key, {})) for key, row in sorted(short.items())),
        bans=_bans(bans, now),
    )


READ_REFUSALS = (RULES, BANS)
"""The tables that `read_refusals` needs: small ones, whatever the number of clients."""


def read_refusals(replies: tuple[str, ...], now: Instant) -> Tables:
    """Only rules and bans, from the replies for each of `READ_REFUSALS`. Raises Malformed."""
    rules, bans = (_summed(_entries(reply)) for reply in replies)
    return Tables(rules=tuple(_rule(key, row) for key, row in sorted(rules.items())), bans=_bans(bans, now))


def _bans(rows: Mapping[str, Mapping[str, int]], now: Instant) -> tuple[Ban, ...]:
    return tuple(
        Ban(client=key, until=Instant(row["gpt0"]), automatic=row["gpc0"] > 0)
        for key, row in sorted(rows.items())
        if row["gpt0"] > now
    )


def counted_as(client: str) -> str:
    """What a client's counters and bans are keyed by: an IPv4 address, or the /64 of an IPv6 address.

    Raises Malformed for what is no address and no such network.
    """
    text = client.strip()
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise Malformed(f"{client!r} is not an IP address") from error
    address = network.network_address
    if isinstance(address, ipaddress.IPv4Address):
        if network.prefixlen != 32:
            raise Malformed(f"{client!r}: clients are counted by address; close networks with client.denied")
        return str(address)
    if (mapped := address.ipv4_mapped) is not None:
        return str(mapped)
    if network.prefixlen < 64:
        raise Malformed(
            f"{client!r}: IPv6 clients are counted by /64; close larger networks with client.denied"
        )
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)


def _entries(reply: str) -> Iterator[tuple[str, dict[str, int]]]:
    for line in wire.accepted(reply).splitlines():
        if not line or line.startswith("#"):
            continue
        match = _ENTRY.fullmatch(line.strip())
        if match is None:
            raise Malformed(f"HAProxy's table has a line that cannot be understood: {line[:200]!r}")
        row: dict[str, int] = {}
        for word in match["rest"].split():
            name, _, value = word.partition("=")
            try:
                row[re.sub(r"\(\d+\)$", "", name)] = int(value)
            except ValueError as error:
                raise Malformed(f"HAProxy's table has an odd counter: {word!r}") from error
        yield match["key"], row


def _summed(entries: Iterable[tuple[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """The entries by account: where several gateways count, each has an entry of its own."""
    rows: dict[str, dict[str, int]] = {}
    for key, row in entries:
        account = unmarked(key)
        if (known := rows.get(account)) is None:
            rows[account] = row
        else:
            for counter, number in row.items():
                known[counter] = known.get(counter, 0) + number
    return rows


def _method(key: str, row: Mapping[str, int]) -> MethodCount:
    kind, _, method = key.partition("/")
    return MethodCount(
        kind=kind,
        method=method,
        requests=_at(row, "http_req_cnt"),
        rate=_at(row, "http_req_rate"),
        errors=_at(row, "http_err_cnt"),
        failures=_at(row, "http_fail_cnt"),
        bytes_out=_at(row, "bytes_out_cnt"),
    )


def _rule(key: str, row: Mapping[str, int]) -> RuleCount:
    kind, _, rule = key.partition("/")
    return RuleCount(kind=kind, rule=rule, refused=_at(row, "gpc0"), rate=_at(row, "gpc0_rate"))


def _client(key: str, row: Mapping[str, int], long: Mapping[str, int]) -> ClientCount:
    kind, _, client = key.partition("|")
    return ClientCount(
        kind=kind,
        client=client,
        key=client.removeprefix(_KEY) if client.startswith(_KEY) else None,
        requests=_at(row, "http_req_cnt"),
        rate=_at(row, "http_req_rate"),
        concurrent=_at(row, "conn_cur"),
        cost_10s=_at(row, "gpc0_rate"),
        cost_1m=long.get("gpc0_rate", 0),
        refusals_1m=long.get("gpc1_rate", 0),
    )


def _at(row: Mapping[str, int], name: str) -> int:
    try:
        return row[name]
    except KeyError as error:
        raise Malformed(f"HAProxy's table lacks the counter {name}") from error
