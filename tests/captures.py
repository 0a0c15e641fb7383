"""Captures as bytes, with their ground truth: connections, requests and answers are laid out packet by packet.

made = Traffic(random.Random(1))
made.exchange(client, requests=[Call("getNodeInfo", answer=200)])
data = pcap(made.packets)
"""

from __future__ import annotations

import ipaddress
import json
import random
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

PORT = 14265
MSS = 1460
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


class Packet(NamedTuple):
    """One IP packet with its time in seconds."""

    time: float
    ip: bytes


@dataclass
class Call:
    """One request: the body, and how long the node takes for the answer; `wait` None: there is none."""

    body: bytes
    wait: float | None = 0.01
    answer: bytes = b'{"duration":1}'
    status: int = 200
    method: str = "POST"
    target: str = "/"
    chunked: bool = False
    until_close: bool = False
    headers: str = ""
    continues: bool = False

    @property
    def request(self) -> bytes:
        head = (
            f"{self.method} {self.target} HTTP/1.1\r\nHost: node\r\nX-IOTA-API-Version: 1\r\n{self.headers}"
        )
        if self.body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n"
        return head.encode() + b"\r\n" + self.body

    @property
    def reply(self) -> bytes:
        head = f"HTTP/1.1 {self.status} X\r\nServer: lab\r\nContent-Type: application/json\r\n"
        if self.method == "HEAD":
            return f"{head}Content-Length: {len(self.answer)}\r\n\r\n".encode()
        if self.until_close:
            return f"{head}Connection: close\r\n\r\n".encode() + self.answer
        if not self.chunked:
            return f"{head}Content-Length: {len(self.answer)}\r\n\r\n".encode() + self.answer
        chunks = [self.answer[place : place + 1000] for place in range(0, len(self.answer), 1000)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body + b"0\r\n\r\n"


def command(name: str, **arguments: object) -> bytes:
    return json.dumps({"command": name, **arguments}).encode()


def rpc(method: str, number: int = 1) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": [{"to": "0x1"}, "latest"]}


@dataclass
class Connection:
    """One TCP connection; sequence numbers may wrap."""

    client: str
    port: int
    server: str
    server_port: int
    seq: int
    ack: int
    packets: list[Packet]

    def send(self, time: float, data: bytes = b"", flags: int = ACK, *, from_client: bool = True) -> None:
        """One segment; the state goes on with it."""
        here, there = (self.seq, self.ack) if from_client else (self.ack, self.seq)
        ends = ((self.client, self.port), (self.server, self.server_port))
        source, target = ends if from_client else ends[::-1]
        tcp = struct.pack(
            "!HHIIBBHHH", source[1], target[1], here, there if flags & ACK else 0, 0x50, flags, 65535, 0, 0
        )
        self.packets.append(Packet(time, ip(source[0], target[0], tcp + data)))
        moved = (here + len(data) + (1 if flags & (SYN | FIN) else 0)) % (1 << 32)
        if from_client:
            self.seq = moved
        else:
            self.ack = moved

    def open(self, time: float) -> None:
        self.send(time, flags=SYN)
        self.send(time + 0.0001, flags=SYN | ACK, from_client=False)
        self.send(time + 0.0002)

    def close(self, time: float) -> None:
        self.send(time, flags=FIN | ACK)
        self.send(time + 0.0001, flags=FIN | ACK, from_client=False)
        self.send(time + 0.0002)

    def stream(
        self, time: float, data: bytes, *, from_client: bool, acknowledge: bool = True, mss: int = MSS
    ) -> float:
        """Data in segments, each second one acknowledged; the time of the last."""
        for number, place in enumerate(range(0, len(data), mss)):
            time += 0.00001
            self.send(time, data[place : place + mss], ACK | PSH, from_client=from_client)
            if acknowledge and (number % 2 or place + mss >= len(data)):
                self.send(time + 0.000002, from_client=not from_client)
        return time


@dataclass
class Traffic:
    """Packets, and what is true of them."""

    random: random.Random
    packets: list[Packet] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    unanswered: dict[str, int] = field(default_factory=dict)
    port: int = 20000

    def connection(self, client: str, *, server: str = "192.0.2.1", server_port: int = PORT) -> Connection:
        self.port += 1
        seq, ack = self.random.randrange(1 << 32), self.random.randrange(1 << 32)
        return Connection(client, self.port, server, server_port, seq, ack, self.packets)

    def exchange(
        self, client: str, calls: Sequence[Call], *, start: float = 1000.0, server: str = "192.0.2.1",
        between: float = 0.005, close: bool = True, name: Callable[[Call], str] | None = None,
    ) -> float:  # fmt: skip
        """A client's connection with one call after the other; a call without an answer is the last."""
        line = self.connection(client, server=server)
        line.open(start)
        now = start + 0.001
        for call in calls:
            self._count(self.asked, call, name)
            if call.continues:
                head, _, body = call.request.partition(b"\r\n\r\n")
                now = line.stream(now, head + b"\r\n\r\n", from_client=True)
                now = line.stream(now + 0.001, b"HTTP/1.1 100 Continue\r\n\r\n", from_client=False)
                now = line.stream(now + 0.001, body, from_client=True)
            else:
                now = line.stream(now, call.request, from_client=True)
            if call.wait is None:
                self._count(self.unanswered, call, name)
                return now
            self._count(self.answered, call, name)
            now = line.stream(now + call.wait, call.reply, from_client=False) + between
        if close:
            line.close(now)
        return now

    def sorted(self) -> list[Packet]:
        return sorted(self.packets, key=lambda packet: packet.time)

    @staticmethod
    def _count(where: dict[str, int], call: Call, name: Callable[[Call], str] | None) -> None:
        key = name(call) if name else str(json.loads(call.body)["command"])
        where[key] = where.get(key, 0) + 1


def ip(source: str, target: str, tcp: bytes) -> bytes:
    """An IP packet, of the version that the addresses have."""
    one, other = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if one.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64) + one.packed + other.packed + tcp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0) + one.packed + other.packed
    return head + tcp


def ethernet(packet: bytes, *tags: int) -> bytes:
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    head = bytes(12) + b"".join(struct.pack("!HH", tag, 7) for tag in tags)
    return head + struct.pack("!H", kind) + packet


def pcap(
    packets: Iterable[Packet], *, link: int = 1, wrap: Callable[[bytes], bytes] = ethernet, order: str = "<",
    nanoseconds: bool = False, snaplen: int = 262144,
) -> bytes:  # fmt: skip
    """A classic capture file."""
    magic, unit = (0xA1B23C4D, 1e9) if nanoseconds else (0xA1B2C3D4, 1e6)
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)]
    for packet in packets:
        frame = wrap(packet.ip)
        seconds = int(packet.time)
        fraction = round((packet.time - seconds) * unit)
        data = frame[:snaplen]
        parts.append(struct.pack(order + "IIII", seconds, fraction, len(data), len(frame)) + data)
    return b"".join(parts)


def pcapng(
    packets: Iterable[Packet], *, link: int = 1, wrap: Callable[[bytes], bytes] = ethernet, order: str = "<",
    resolution: int | None = None,
) -> bytes:  # fmt: skip
    """A capture in the newer format; `resolution` is the power of ten of its clock, None: not said (6)."""
    options = b"" if resolution is None else struct.pack(order + "HHBxxxHH", 9, 1, resolution, 0, 0)
    parts = [
        block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)),
        block(order, 1, struct.pack(order + "HHI", link, 0, 262144) + options),
    ]
    for packet in packets:
        frame = wrap(packet.ip)
        ticks = round(packet.time * 10 ** (6 if resolution is None else resolution))
        head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
        parts.append(block(order, 6, head + frame + bytes(-len(frame) % 4)))
    return b"".join(parts)


def block(order: str, kind: int, body: bytes) -> bytes:
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def daily(requests: int, *, hung: int, seed: int = 7, clients: int = 40, between: float = 0.005) -> Traffic:
    """A node's day in small: keep-alive clients, small and big bodies both ways, chunks, refusals, and the call of
    2018 with a reference that never gets an answer."""
    dice = random.Random(seed)
    made = Traffic(dice)
    bodies = [
        (8, Call(command("getNodeInfo"), answer=b"x" * 700)),
        (4, Call(command("getBalances", addresses=["A" * 81] * 3, threshold=100), answer=b"y" * 200)),
        (4, Call(command("findTransactions", addresses=["B" * 81]), answer=b"z" * 4000, chunked=True)),
        (1, Call(command("getTrytes", hashes=["C" * 81]), answer=b"T" * 21000)),
        (1, Call(command("broadcastTransactions", trytes=["D" * 2673] * 3), answer=b"{}")),
        (2, Call(command("attachToTangle"), answer=b'{"error":"no"}', status=401)),
    ]
    weights = [weight for weight, _ in bodies]
    stall = Call(command("getTransactionsToApprove", depth=3, reference="E" * 81), wait=None)
    each = max(1, requests // (clients * 4))
    number = 0
    while requests > 0:
        calls = [call for _, call in dice.choices(bodies, weights, k=min(each, requests))]
        requests -= len(calls)
        if hung > 0 and number % 2 == 0:
            calls.append(stall)
            hung -= 1
        client = f"198.51.100.{number % clients + 1}"
        made.exchange(client, calls, start=1000.0 + number * 0.01, between=between)
        number += 1
    for place in range(hung):
        made.exchange(f"198.51.100.{200 + place % 40}", [stall], start=1001.0)
    return made
