"""The runtime socket's language: commands as text, replies as values. No I/O here.

A conversation is interactive: HAProxy ends each reply with a prompt, which tells batched replies apart,
and begins each message with its severity, which tells a refusal from a success without reading words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from nodegate.errors import Malformed, Refused, Unsafe
from nodegate.haproxy.config import section_name
from nodegate.haproxy.paths import map_reference
from nodegate.haproxy.servers import Authorities, place, server_options
from nodegate.model import Server

OPENING = ("prompt", "set severity-output number")
"""What a conversation begins with; both have an empty reply."""

PROMPT = b"\n> "
PAYLOAD_CHUNK = 8_000
"""Bytes of map entries in one command: each command must fit into one of HAProxy's buffers."""

SHOW_INFO = "show info"
SHOW_SERVERS = "show servers state"
SHOW_STAT = "show stat"
SHOW_PROCESSES = "show proc"
RELOAD = "reload"

_MESSAGE = re.compile(r"(?:\+ )*(?:\[(?P<severity>\d)\]: )?(?P<text>.*)", re.DOTALL)
_WORST_GOOD_SEVERITY = 4  # syslog's warning; 3 is an error
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f]|<<")
_MAP_WORD = re.compile(r"[!-~]+")
_MAP_VALUE = re.compile(r"[!-~]+(?: [!-~]+)*")
_TABLE = re.compile(r"[a-z0-9_]+")


# ---- commands ------------------------------------------------------------------------------------------


def command_word(text: str) -> str:
    """`text` as one word of a command. Raises Unsafe for what would end the command or open a payload."""
    if _UNWRITABLE.search(text) or not text:
        raise Unsafe(f"{text!r} cannot be written in a runtime command")
    return re.sub(r"([\\ ;])", r"\\\1", text)


def target(server: Server) -> str:
    """`BACKEND/NAME`. Raises Unsafe for names that HAProxy would not take as such."""
    return f"{section_name(server.backend)}/{section_name(server.name)}"


def add_server(server: Server, trust: Authorities | None, number: int | None = None) -> tuple[str, ...]:
    """Create the server with its check, and give it its state. Raises Unsafe as `server_options` does.

    `number` is to be its numeric id, which must be free in the backend. With None HAProxy chooses one, for
    which it tries all that are in use: the 10,000th server costs it four times as much then.
    """
    options = " ".join(command_word(word) for word in server_options(server, trust))
    identity = "" if number is None else f" id {number}"
    return (
        f"add server {target(server)} {place(server)} {options}{identity}",
        f"enable health {target(server)}",
        *set_state(server),
    )


def set_state(server: Server) -> tuple[str, ...]:
    """Give the server its administrative state."""
    return (f"set server {target(server)} state {server.state.value}",)


def set_weight(server: Server) -> tuple[str, ...]:
    """Give the server its weight."""
    return (f"set server {target(server)} weight {server.weight}",)


def set_maxconn(server: Server) -> tuple[str, ...]:
    """Give the server its bound on concurrent requests; 0 is HAProxy's word for none."""
    return (f"set maxconn server {target(server)} {server.maxconn or 0}",)


def set_address(server: Server) -> tuple[str, ...]:
    """Point the server to its address and port."""
    place(server)
    return (f"set server {target(server)} addr {server.address} port {server.port}",)


def delete_server(server: Server) -> tuple[str, ...]:
    """Forget the server. HAProxy refuses while a connection is attached to it, also an idle one; those it
    closes when the server enters maintenance, so it has to leave it first."""
    name = target(server)
    return (f"set server {name} state drain", f"set server {name} state maint", f"del server {name}")


def ask_worker(pid: int, command: str) -> str:
    """`command` for one worker, by way of the master's socket: a worker on its way out listens nowhere."""
    return f"@!{pid} {command}"


def show_map(name: str) -> str:
    """All entries of a map."""
    return f"show map {command_word(map_reference(name))}"


def prepare_map(name: str) -> str:
    """Open a new version of a map; the reply is read by `map_version`."""
    return f"prepare map {command_word(map_reference(name))}"


def fill_map(name: str, version: int, entries: Mapping[str, str]) -> tuple[str, ...]:
    """Fill a prepared version with `entries` and make it the map, in one step for requests.

    Raises Unsafe for an entry that a map cannot hold.
    """
    file = command_word(map_reference(name))
    adds = [f"add map @{version} {file} <<\n{chunk}" for chunk in _chunks(map_lines(entries))]
    return (*adds, f"commit map @{version} {file}")


def map_lines(entries: Mapping[str, str]) -> tuple[str, ...]:
    """The lines of a map's file, one for each entry. Raises Unsafe for an entry that a map cannot hold."""
    for key, value in entries.items():
        if _MAP_WORD.fullmatch(key) is None or key.startswith("#"):
            raise Unsafe(f"{key!r} cannot be a map's key: use printable ASCII without spaces")
        if _MAP_VALUE.fullmatch(value) is None:
            raise Unsafe(f"{value!r} cannot stand in a map: use printable ASCII, with single spaces at most")
    return tuple(f"{key} {value}" for key, value in entries.items())


def set_entry(name: str, key: str, value: str) -> tuple[str, ...]:
    """Set one entry of a map, whether it is there or not; only the last reply tells whether it is done."""
    (line,) = map_lines({key: value})
    file = command_word(map_reference(name))
    return (f"del map {file} {key}", f"add map {file} <<\n{line}\n")


def show_table(name: str) -> str:
    """All entries of a stick table."""
    return f"show table {_table(name)}"


def set_table(name: str, key: str, values: Mapping[str, int]) -> str:
    """Set counters of one key of a stick table."""
    data = " ".join(f"data.{counter} {value}" for counter, value in values.items())
    return f"set table {_table(name)} key {command_word(key)} {data}"


def clear_table(name: str, key: str) -> str:
    """Forget one key of a stick table."""
    return f"clear table {_table(name)} key {command_word(key)}"


def _table(name: str) -> str:
    if _TABLE.fullmatch(name) is None:
        raise Unsafe(f"{name!r} is no table's name")
    return name


def set_certificate(file: str, pem: str) -> tuple[str, ...]:
    """Offer a new certificate and key for the listener's `file`; `commit_certificate` takes it over."""
    lines = [line.strip() for line in pem.splitlines() if line.strip()]
    return (f"set ssl cert {command_word(file)} <<\n" + "\n".join(lines) + "\n",)


def commit_certificate(file: str) -> str:
    """Serve new connections with the certificate that was offered."""
    return f"commit ssl cert {command_word(file)}"


def abort_certificate(file: str) -> str:
    """Forget the certificate that was offered."""
    return f"abort ssl cert {command_word(file)}"


def _chunks(lines: Iterable[str]) -> Iterator[str]:
    chunk = ""
    for line in lines:
        if len(chunk) + len(line) > PAYLOAD_CHUNK:
            yield chunk
            chunk = ""
        chunk += line + "\n"
    if chunk:
        yield chunk


# ---- replies -------------------------------------------------------------------------------------------


def split_replies(data: bytes, count: int) -> tuple[str, ...]:
    """The replies to `count` commands of an interactive conversation. Raises Malformed when `data` is not
    that many, each ended by the prompt."""
    parts = data.split(PROMPT)
    if len(parts) != count + 1 or parts[-1]:
        raise Malformed(f"HAProxy gave {len(parts) - 1} replies to {count} commands")
    return tuple(part.decode(errors="replace") for part in parts[:-1])


def accepted(reply: str) -> str:
    """The reply's text without its severity. Raises Refused, with HAProxy's words, for an error."""
    match = _MESSAGE.match(reply)
    assert match is not None  # every part may be empty
    text = match["text"].strip()
    severity = match["severity"]
    if (severity is not None and int(severity) < _WORST_GOOD_SEVERITY) or text.startswith("Unknown command"):
        raise Refused(" ".join(text.splitlines()[0].split()) if text else "no reason given")
    return text


def is_refusal(reply: str) -> bool:
    """Whether the reply is an error."""
    try:
        accepted(reply)
    except Refused:
        return True
    return False


def map_version(reply: str) -> int:
    """The version that `prepare map` opened. Raises Malformed, or Refused with HAProxy's words."""
    _, colon, number = accepted(reply).rpartition(":")
    if not colon or not (number.strip().isascii() and number.strip().isdigit()):
        raise Malformed(f"HAProxy's reply to `prepare map` cannot be understood: {reply[:200]!r}")
    return int(number)
