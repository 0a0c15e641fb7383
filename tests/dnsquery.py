"""One DNS question over UDP, in bytes: enough to see whom Consul names."""

from __future__ import annotations

import secrets
import socket
import struct

A, SRV = 1, 33


def addresses(name: str, server: tuple[str, int], *, timeout: float = 2.0) -> list[str]:
    """The IPv4 addresses of `name`, in the order of the answer; empty when there are none."""
    return [socket.inet_ntoa(data) for data, _ in _ask(name, A, server, timeout)]


def services(name: str, server: tuple[str, int], *, timeout: float = 2.0) -> list[int]:
    """The ports in the SRV records of `name`, sorted."""
    return sorted(struct.unpack(">HHH", data[:6])[2] for data, _ in _ask(name, SRV, server, timeout))


def _ask(name: str, kind: int, server: tuple[str, int], timeout: float) -> list[tuple[bytes, int]]:
    """The answers of that kind: data, and the time to live in seconds."""
    number = secrets.randbits(16)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split(".")) + b"\0"
    question = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.sendto(question, server)
        while True:
            reply = sock.recv(65_535)
            if struct.unpack(">H", reply[:2])[0] == number:
                return _answers(reply, kind)


def _answers(reply: bytes, kind: int) -> list[tuple[bytes, int]]:
    questions, answers = struct.unpack(">HH", reply[4:8])
    at = 12
    for _ in range(questions):
        at = _skip_name(reply, at) + 4
    found: list[tuple[bytes, int]] = []
    for _ in range(answers):
        at = _skip_name(reply, at)
        this, _, ttl, length = struct.unpack(">HHIH", reply[at : at + 10])
        if this == kind:
            found.append((reply[at + 10 : at + 10 + length], ttl))
        at += 10 + length
    return found


def _skip_name(reply: bytes, at: int) -> int:
    while reply[at]:
        if reply[at] >= 0xC0:
            return at + 2
        at += 1 + reply[at]
    return at + 1
