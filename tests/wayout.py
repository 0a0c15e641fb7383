"""A way out for hosts of `hostlab`: a web proxy on the test's own address, for apt and pip.

    with way_out(net.address) as way:
        way.show(root)          # apt and pip in that root file system use it from now on

What they ask is fetched from wherever this machine itself fetches Debian's and Python's packages.
"""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hostimage import mirror

PORTS = (80, 443)
PATIENCE = 60.0
BLOCK = 1 << 16
AUTHORITY = "/etc/way-out.pem"
APT = """\
Acquire::http::Proxy "{url}";
Acquire::http::Pipeline-Depth "0";
Acquire::Retries "3";
Dpkg::Options "--force-unsafe-io";
"""


@dataclass(frozen=True)
class WayOut:
    """The proxy's URL, as the hosts see it."""

    url: str

    def show(self, root: Path) -> None:
        """Tell apt and pip of it."""
        (root / "etc/apt/apt.conf.d/01way-out").write_text(APT.format(url=self.url))
        pip = ["[global]", f"proxy = {self.url}", "timeout = 60"]
        if authority := _pip_option("cert"):
            shutil.copy(authority, root / AUTHORITY.lstrip("/"))
            pip.append(f"cert = {AUTHORITY}")
        if index := _pip_option("index-url"):
            pip.append(f"index-url = {index}")
        (root / "etc/pip.conf").write_text("\n".join(pip) + "\n")


@contextmanager
def way_out(address: str) -> Iterator[WayOut]:
    """The proxy on a free port of `address`, until the block ends. Skips the test where this machine cannot reach
    its own mirror of Debian."""
    where = urlsplit(next(iter(mirror()), ""))
    if where.scheme != "http":
        pytest.skip("this machine names no mirror of Debian that is reached by http")
    try:
        socket.create_connection((where.hostname or "", where.port or 80), timeout=10).close()
    except OSError as error:
        pytest.skip(f"this machine does not reach {where.hostname}: {error}")
    with _Server((address, 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield WayOut(f"http://{address}:{server.server_address[1]}")
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


class _Handler(socketserver.BaseRequestHandler):
    """One connection: CONNECT, or one request with an absolute URL, whose answer ends it."""

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            self.request.settimeout(PATIENCE)
            head, rest = self._head()
            method, target, version = head[0].split(" ")
            url = urlsplit(f"//{target}" if method == "CONNECT" else target)
            port = url.port or 80
            if port not in PORTS:
                raise ValueError(f"port {port} is not the web's")
            with socket.create_connection((url.hostname or "", port), timeout=PATIENCE) as server:
                if method == "CONNECT":
                    self.request.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                else:
                    path = url.path + (f"?{url.query}" if url.query else "")
                    kept = [
                        line
                        for line in head[1:]
                        if line.partition(":")[0].lower() not in {"connection", "proxy-connection"}
                    ]
                    lines = [f"{method} {path or '/'} {version}", *kept, "Connection: close", "", ""]
                    server.sendall("\r\n".join(lines).encode())
                server.sendall(rest)
                _relay(self.request, server)

    def _head(self) -> tuple[list[str], bytes]:
        """The lines of the request's head, and what came behind it. Raises ValueError for none."""
        found = b""
        while b"\r\n\r\n" not in found:
            block = self.request.recv(BLOCK)
            if not block or len(found) > BLOCK:
                raise ValueError("no request")
            found += block
        head, _, rest = found.partition(b"\r\n\r\n")
        return head.decode("latin-1").split("\r\n"), rest


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until one side ends."""
    with selectors.DefaultSelector() as ready:
        for left, right in ((one, other), (other, one)):
            left.settimeout(PATIENCE)
            ready.register(left, selectors.EVENT_READ, right)
        while events := ready.select(PATIENCE):
            for key, _ in events:
                assert isinstance(key.fileobj, socket.socket)
                block = key.fileobj.recv(BLOCK)
                if not block:
                    return
                key.data.sendall(block)


def _pip_option(name: str) -> str:
    """What this machine's pip is set to, empty for its own choice."""
    if given := os.environ.get(f"PIP_{name.upper().replace('-', '_')}"):
        return given
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", f"global.{name}"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout.strip().strip("'\"") if done.returncode == 0 else ""
