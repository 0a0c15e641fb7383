"""What HAProxy reports of itself, read into values. Odd bytes raise Malformed, never anything else."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

from nodegate.errors import Malformed, Refused
from nodegate.haproxy import registration
from nodegate.haproxy.servers import read_traits
from nodegate.haproxy.wire import accepted
from nodegate.model import Server, ServerState, ServerTraffic

Key = tuple[str, str]

_DRAIN = 0x08 | 0x10  # forced, inherited (HAProxy's SRV_ADMF_FDRAIN, SRV_ADMF_IDRAIN)
_MAINT = 0x01 | 0x02 | 0x20 | 0x40
"""Forced, inherited, by DNS, by name. Not 0x04: it says that the configuration file disabled the server, which stays
said when the server is made ready; the file sets 0x01 with it."""
_STOPPED = 0
_SERVER_ROW = "2"
_STATE_COLUMNS = (
    "be_name", "srv_name", "srv_addr", "srv_port", "srv_op_state", "srv_admin_state", "srv_uweight",
)  # fmt: skip
_STAT_COLUMNS = ("type", "pxname", "svname", "scur", "slim", "stot", "econ", "eresp", "wredis", "cookie")
_SUCCESS = re.compile(r"Success=(?P<done>[01])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What `show info` tells of a worker: process id, uptime in seconds, the operator's description, and
    whether it is on its way out."""

    pid: int
    uptime: float
    version: str
    description: str
    stopping: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """What `show proc` tells of a master: its process id, and those of its present and replaced workers."""

    master: int
    workers: tuple[int, ...]
    old_workers: tuple[int, ...]


def read_info(reply: str) -> Info:
    """The reply to `show info`. Raises Malformed when a field is missing or not a number."""
    fields = dict(line.partition(": ")[::2] for line in accepted(reply).splitlines())
    try:
        return Info(
            pid=int(fields["Pid"]),
            uptime=float(fields["Uptime_sec"]),
            version=fields["Version"],
            description=fields.get("description", ""),
            stopping=int(fields.get("Stopping", "0")) != 0,
        )
    except (KeyError, ValueError) as error:
        raise Malformed(f"HAProxy's `show info` cannot be understood: {error}") from error


def read_processes(reply: str) -> Processes:
    """The reply to the master's `show proc`. Raises Malformed when there is no master in it."""
    found: dict[str, list[int]] = {"master": [], "workers": [], "old workers": []}
    section = "master"
    for line in accepted(reply).splitlines():
        if line.startswith("# "):
            section = line.removeprefix("# ").strip()
        elif (cells := line.split()) and cells[0].isascii() and cells[0].isdigit():
            found.setdefault(section, []).append(int(cells[0]))
    if len(found["master"]) != 1:
        raise Malformed("HAProxy's `show proc` names no master process")
    return Processes(
        master=found["master"][0],
        workers=tuple(found["workers"]),
        old_workers=tuple(found["old workers"]),
    )


def read_reload(reply: str) -> str:
    """What HAProxy said while it loaded. Raises Refused with these words when the old worker stayed, and
    Malformed when the reply says neither."""
    match = _SUCCESS.search(reply)
    if match is None:
        raise Malformed(f"HAProxy's reply to `reload` cannot be understood: {reply[:200]!r}")
    text = reply[match.end() :].strip().removeprefix("--").strip()
    if match["done"] == "0":
        raise Refused(text or "no reason given")
    return text


def read_map(reply: str) -> dict[str, str]:
    """The entries of a map, from `show map NAME`. Raises Malformed, or Refused when there is no such map."""
    entries: dict[str, str] = {}
    for line in accepted(reply).splitlines():
        cells = line.split(" ", 2)
        if len(cells) != 3 or not cells[0].startswith("0x"):
            raise Malformed(f"HAProxy's map has a line that cannot be understood: {line[:200]!r}")
        entries[cells[1]] = cells[2]
    return entries


def read_servers(state: str, stat: str) -> tuple[dict[Key, Server], dict[Key, ServerTraffic]]:
    """All servers and their counters, from the replies to `show servers state` and `show stat`.

    A server that is in one of them only (added or deleted in between) is left out: the next look will
    see it, and so is the registration page's. Raises Malformed when a column is missing or a value is not what it must be.
    """
    rows = {(row[0], row[1]): row[2:] for row in _stat_rows(stat)}
    servers: dict[Key, Server] = {}
    traffic: dict[Key, ServerTraffic] = {}
    for backend, name, *cells in _state_rows(state):
        key = (backend, name)
        if (row := rows.get(key)) is None or backend == registration.BACKEND:
            continue
        current, limit, total, connect_errors, response_errors, redispatches, cookie = row
        try:
            servers[key] = _server(backend, name, tuple(cells), cookie, limit, current)
            traffic[key] = _traffic(total, (connect_errors, response_errors, redispatches), current)
        except ValueError as error:
            raise Malformed(f"HAProxy's report of server {backend}/{name} is odd: {error}") from error
    return servers, traffic


def free_number(state: str) -> int:
    """A server's numeric id from which on all are free in every backend, from the reply to `show servers
    state`. Raises Malformed."""
    try:
        return max((int(number) for _, number in _state_rows(state, ("be_name", "srv_id"))), default=0) + 1
    except ValueError as error:
        raise Malformed(f"HAProxy's `show servers state` is odd: {error}") from error


def read_sessions(stat: str) -> int:
    """How many requests all servers carry now, from the reply to `show stat`. Raises Malformed."""
    try:
        return sum(_count(row[2]) for row in _stat_rows(stat))
    except ValueError as error:
        raise Malformed(f"HAProxy's `show stat` is odd: {error}") from error


# Read every second, and most servers say what they said before: an old value is cheaper than a new one.
@lru_cache(maxsize=32_768)
def _server(backend: str, name: str, cells: tuple[str, ...], cookie: str, limit: str, current: str) -> Server:
    address, port, operational, administrative, weight = cells
    tls, verify, sni = read_traits(cookie)
    state = _administrative(int(administrative))
    return Server(
        backend=backend,
        name=name,
        address=address,
        port=int(port),
        weight=int(weight),
        state=state,
        maxconn=_count(limit) or None,
        tls=tls,
        verify=verify,
        sni=sni,
        marked_down=int(operational) == _STOPPED and state is not ServerState.MAINT,
        sessions=_count(current),
    )


@lru_cache(maxsize=32_768)
def _traffic(total: str, errors: tuple[str, ...], current: str) -> ServerTraffic:
    return ServerTraffic(
        requests=_count(total),
        errors=sum(map(_count, errors)),  # those that another server made good count too
        sessions=_count(current),
    )


def _administrative(bits: int) -> ServerState:
    if bits & _MAINT:
        return ServerState.MAINT
    return ServerState.DRAIN if bits & _DRAIN else ServerState.READY


def _state_rows(reply: str, columns: Sequence[str] = _STATE_COLUMNS) -> Iterator[tuple[str, ...]]:
    version, header, *lines = [*accepted(reply).split("\n"), "", ""]
    if version != "1":
        raise Malformed("HAProxy's `show servers state` is not of version 1")
    names = header.removeprefix("# ").split(" ")
    pick = itemgetter(*_positions("show servers state", names, columns))
    for line in filter(None, lines):
        cells = line.split(" ")
        if len(cells) != len(names):
            raise Malformed(f"HAProxy's `show servers state` has an odd line: {line[:200]!r}")
        yield pick(cells)


def _stat_rows(reply: str) -> Iterator[tuple[str, ...]]:
    """The wanted columns of each server, without the column that says that it is one."""
    header, *lines = accepted(reply).split("\n")
    positions = _positions("show stat", header.removeprefix("# ").split(","), _STAT_COLUMNS)
    pick, last = itemgetter(*positions), max(positions) + 1
    for line in filter(None, lines):
        cells = _csv_cells(line) if '"' in line else line.split(",", last)
        if len(cells) <= last:
            raise Malformed(f"HAProxy's `show stat` has an odd line: {line[:200]!r}")
        kind, *row = pick(cells)
        if kind == _SERVER_ROW:
            yield tuple(row)


def _csv_cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except (csv.Error, StopIteration) as error:
        raise Malformed(f"HAProxy's `show stat` is not CSV: {line[:200]!r}") from error


def _positions(command: str, header: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    if missing := [name for name in wanted if name not in header]:
        raise Malformed(f"HAProxy's `{command}` has no column {', '.join(missing)}")
    return tuple(header.index(name) for name in wanted)


def _count(text: str) -> int:
    """A number that is left out when it does not apply."""
    return int(text) if text else 0
