"""HAProxy's configuration as typed sections, and the one renderer that turns them into text.

Nothing decides here: a section is an ordered list of directives, a directive a list of words. Every word
is quoted on its own, so a value can neither end its line nor become a second word.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nodegate.errors import Unsafe

Words = tuple[str, ...]

MAX_WORDS = 64
"""HAProxy reads at most this many words on one line (MAX_LINE_ARGS in its source)."""

_PLAIN = re.compile(r"[A-Za-z0-9_.,:;/@%+=\[\]{}()<>*^|!?&~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_SERVER_LINE = "    server "
_IPV6_PLACE = re.compile(r"\[(?P<host>[^\]]*)\]:(?P<port>[0-9]+)")
_EVERYWHERE = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared, not bound


def words(*parts: object) -> Words:
    """One directive of `parts`; numbers are written in decimal."""
    return tuple(str(part) for part in parts)


def quote(word: str) -> str:
    """`word` as exactly one word of a configuration line.

    Single quotes take everything literally, `$` and `\\` too. Raises Unsafe for what no quoting can carry:
    control characters (a line break would start a new directive) and text that is not Unicode.
    """
    if _CONTROL.search(word) or not _is_unicode(word):
        raise Unsafe(f"{word!r} has a character that HAProxy's configuration cannot carry: remove it")
    if _PLAIN.fullmatch(word):
        return word
    return "'" + word.replace("'", r"'\''") + "'"


def literal(text: str) -> str:
    """`text` for a place where HAProxy expects a log-format: `%` stands for itself."""
    return text.replace("%", "%%")


def section_name(name: str) -> str:
    """`name` if HAProxy takes it as the name of a section or a server. Raises Unsafe otherwise."""
    if _NAME.fullmatch(name) is None:
        raise Unsafe(f"{name!r} is not a name for HAProxy: use letters, digits, '.', '_', ':' and '-'")
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Global:
    """`global`: the process."""

    lines: tuple[Words, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """`defaults`: what all frontends and backends after it start from."""

    lines: tuple[Words, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """`peers NAME`: other HAProxies that share counters. Their lines are no `server` lines of a backend, and
    no server is ever added to them."""

    name: str
    lines: tuple[Words, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Userlist:
    """`userlist NAME`: who may use what asks for a name and a password."""

    name: str
    lines: tuple[Words, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """`frontend NAME`: where clients come in."""

    name: str
    lines: tuple[Words, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """`backend NAME`: servers that answer for each other. The servers come and go, so they are no part of
    this: `insert_servers` adds their lines to the text."""

    name: str
    lines: tuple[Words, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration. Sections appear in the text in the order of the fields."""

    process: Global = field(default_factory=Global)
    defaults: Defaults = field(default_factory=Defaults)
    peers: tuple[Peers, ...] = ()
    users: tuple[Userlist, ...] = ()
    frontends: tuple[Frontend, ...] = ()
    backends: tuple[Backend, ...] = ()


def to_text(config: Config) -> str:
    """The configuration file without servers. Raises Unsafe when a value cannot be written or a name
    occurs twice."""
    _refuse_twins(config)
    sections: list[tuple[Words, tuple[Words, ...]]] = [
        (("global",), config.process.lines),
        (("defaults",), config.defaults.lines),
    ]
    sections += [(("peers", section_name(item.name)), item.lines) for item in config.peers]
    sections += [(("userlist", section_name(item.name)), item.lines) for item in config.users]
    sections += [(("frontend", section_name(item.name)), item.lines) for item in config.frontends]
    sections += [(("backend", section_name(item.name)), item.lines) for item in config.backends]
    return "\n".join(_block(header, lines) for header, lines in sections)


def line_text(directive: Words) -> str:
    """One directive as it stands in its section, without the line's end."""
    if not 0 < len(directive) <= MAX_WORDS:
        raise Unsafe(f"a directive has 1 to {MAX_WORDS} words, this one {len(directive)}: {directive[:4]}")
    return "    " + " ".join(quote(word) for word in directive)


def skeleton_digest(config: Config) -> str:
    """Digest (24 hex digits) of all that only a reload can change: everything but the servers."""
    return hashlib.sha256(to_text(config).encode()).hexdigest()[:24]


def insert_servers(text: str, servers: Mapping[str, Sequence[str]]) -> str:
    """`text` with the lines of `servers` (by backend) at the end of their backends.

    Servers of a backend that the text does not have are left out: nothing could lead to them.
    """
    blocks = []
    for block in text.split("\n\n"):
        kind, _, name = block.partition("\n")[0].partition(" ")
        lines = servers.get(name, ()) if kind == "backend" else ()
        blocks.append("\n".join([block.rstrip("\n"), *lines]))
    return "\n\n".join(blocks) + "\n"


def split_servers(text: str) -> tuple[str, dict[str, list[str]]]:
    """The inverse of `insert_servers`: the text without servers, and the lines of each backend."""
    servers: dict[str, list[str]] = {}
    kept: list[str] = []
    backend = ""
    for line in text.splitlines():
        if line.startswith("backend "):
            backend = line.removeprefix("backend ")
        if backend and line.startswith(_SERVER_LINE):  # those of `peers`, before all backends, stay
            servers.setdefault(backend, []).append(line)
        else:
            kept.append(line)
    return "\n".join(kept) + "\n", servers


def host_port(host: str, port: int) -> str:
    """`HOST:PORT`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(place: str) -> tuple[str, int]:
    """The parts of `HOST:PORT`, brackets removed. Raises Unsafe when it is not that."""
    if (match := _IPV6_PLACE.fullmatch(place)) is not None:
        return match["host"], int(match["port"])
    host, colon, port = place.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise Unsafe(f"{place!r} is not HOST:PORT")
    return host, int(port)


def own_place(place: str) -> str:
    """`HOST:PORT` at which this machine itself reaches what listens on `place`: on the loopback where that is every
    address. Raises Unsafe as `split_host_port`."""
    host, port = split_host_port(place)
    return host_port(_EVERYWHERE.get(host, host), port)


def _block(header: Words, lines: Sequence[Words]) -> str:
    return "\n".join([" ".join(header), *(line_text(line) for line in lines)]) + "\n"


def _refuse_twins(config: Config) -> None:
    for sections in (config.frontends, config.backends):
        names = [section.name for section in sections]
        if twins := {name for name in names if names.count(name) > 1}:
            raise Unsafe(f"two sections are named {', '.join(sorted(twins))}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
