"""The configuration file with its digest and its servers, and what can be read back from one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from nodegate.errors import Unsafe
from nodegate.haproxy.config import Config, insert_servers, line_text, skeleton_digest, to_text, words
from nodegate.haproxy.servers import Authorities, server_line
from nodegate.model import Server

MARK = "nodegate:"
"""What stands before the digest in HAProxy's `description`."""

_DIGEST = re.compile(rf"{MARK}([0-9a-f]{{24}})(?![0-9a-f])")
_BIND = re.compile(r"^    bind (\S+)", re.MULTILINE)


def render(config: Config, servers: Iterable[Server], trust: Mapping[str, Authorities | None]) -> str:
    """The configuration file with its digest and its servers; `trust` is by backend.

    Raises Unsafe as `server_line` does.
    """
    mark = words("description", MARK + skeleton_digest(config))
    marked = replace(config, process=replace(config.process, lines=(mark, *config.process.lines)))
    return insert_servers(to_text(marked), server_lines(servers, trust))


def server_lines(servers: Iterable[Server], trust: Mapping[str, Authorities | None]) -> dict[str, list[str]]:
    """The lines of the servers by backend, in order of name. Raises Unsafe as `server_line` does."""
    lines: dict[str, list[str]] = {}
    for server in sorted(servers, key=lambda item: (item.backend, item.name)):
        still = replace(server, sessions=0, marked_down=False)
        lines.setdefault(server.backend, []).append(_server_text(still, trust.get(server.backend)))
    return lines


def is_writable(server: Server, trust: Authorities | None) -> bool:
    """Whether `render` can write the server; `server_line` says why not."""
    try:
        _server_text(replace(server, sessions=0, marked_down=False), trust)
    except Unsafe:
        return False
    return True


def digest_in(text: str) -> str:
    """The skeleton's digest in HAProxy's `description` or in a configuration file, "" when there is none."""
    match = _DIGEST.search(text)
    return match[1] if match else ""


def listen_in(text: str) -> tuple[str, ...]:
    """The addresses that a configuration file names, those for clients and the one for other gateways."""
    return tuple(place for place in _BIND.findall(text) if not place.startswith("/"))


@lru_cache(maxsize=32_768)  # a fleet's worth: the file is written after each change of a single server
def _server_text(server: Server, trust: Authorities | None) -> str:
    return line_text(("server", *server_line(server, trust)))
