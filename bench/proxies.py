"""The peers of the gateway: the same HAProxy and nginx as plain proxies, and nodes that answer at once."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from bench.environment import free_port
from bench.rig import until
from nodegate.dataplane.binary import find_haproxy
from nodegate.errors import Unavailable

MAXCONN = 2_000

QUICK_NODES = """
global
    maxconn {maxconn}
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend nodes
{binds}
    http-request return status 200 content-type application/json file {answer} unless {{ req.hdr(user-agent) -m beg nodegate/ }}
    default_backend probed
backend probed
    server lab {lab}
"""
"""Nodes that answer what they are asked at once and always the same, and pass probes on to a lab's node:
slower ones would be measured in place of the proxies in front of them."""

PLAIN_HAPROXY = """
global
    maxconn {maxconn}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
{duties}
frontend clients
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
{servers}
"""

DUTIES = """\
    log stdout format raw local0 info
    option httplog
    option forwardfor
    option redispatch
    retry-on all-retryable-errors
"""
"""What those who answer for nodes have HAProxy do, and what nodegate does too: a log, whose lines are thrown away here,
the client's address for the node, and a second try where a node fails."""

NGINX_CONFIG = """
daemon off;
{user}
worker_processes auto;
pid {place}/nginx.pid;
error_log {place}/nginx.log;
events {{ worker_connections {maxconn}; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    upstream nodes {{
{servers}
{upstream}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://nodes;
{location}
        }}
    }}
}}
"""

PLAIN, DUTIFUL = "plain HAProxy", "HAProxy with log and retries"

NGINX, NGINX_TUNED = "nginx as installed", "nginx tuned"
"""nginx with nothing but `proxy_pass`, which opens a connection to the node for each request, as most run it; and
nginx told to keep its connections to the nodes, as HAProxy does by itself."""

_TUNING = {
    NGINX: ("", ""),
    NGINX_TUNED: (
        "        keepalive 64;",
        '            proxy_http_version 1.1;\n            proxy_set_header Connection "";',
    ),
}


class Proxy:
    """A proxy in a child process on a port of its own. Use it as an async context manager."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, *, environ: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._environ = dict(environ or os.environ)
        self._process: asyncio.subprocess.Process | None = None

    def own_processes(self) -> list[int]:
        """The process and its workers."""
        assert self._process is not None
        return [self._process.pid, *(child.pid for child in psutil.Process(self._process.pid).children())]

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environ, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await until(self._listens, what=f"{self.name} listens on {self.port}")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(5):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _listens(self) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            raise Unavailable(f"{self.name} ended with code {self._process.returncode} when it was started")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def quick_nodes(place: Path, *, ports: Sequence[int], lab: str, answer: bytes) -> Proxy:
    """Nodes on these ports that all give `answer`; `lab` is the host and port that probes go to."""
    file = place / "answer.json"
    file.write_bytes(answer)
    binds = "\n".join(f"    bind 127.0.0.1:{port}" for port in ports)
    text = QUICK_NODES.format(maxconn=MAXCONN, binds=binds, answer=file, lab=lab)
    return _haproxy("the nodes", place / "nodes.cfg", text, ports[0])


def plain_haproxy(place: Path, nodes: Sequence[int]) -> Proxy:
    """HAProxy with nothing but what it needs to be a proxy."""
    return _peer(PLAIN, place, nodes, "")


def dutiful_haproxy(place: Path, nodes: Sequence[int]) -> Proxy:
    """HAProxy as one would run it in front of nodes: with `DUTIES`."""
    return _peer(DUTIFUL, place, nodes, DUTIES)


def _peer(name: str, place: Path, nodes: Sequence[int], duties: str) -> Proxy:
    port = free_port()
    servers = "\n".join(f"    server node-{node} 127.0.0.1:{node}" for node in nodes)
    text = PLAIN_HAPROXY.format(maxconn=MAXCONN, port=port, servers=servers, duties=duties)
    return _haproxy(name, place / f"{name.replace(' ', '-')}.cfg", text, port)


def both_nginx(place: Path, nodes: Sequence[int]) -> list[Proxy]:
    """nginx as installed and nginx tuned; none when it is not installed."""
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if binary is None:
        return []
    return [_nginx(binary, name, place / name.replace(" ", "-"), nodes) for name in _TUNING]


def _nginx(binary: str, name: str, place: Path, nodes: Sequence[int]) -> Proxy:
    place.mkdir()
    port, (upstream, location) = free_port(), _TUNING[name]
    servers = "\n".join(f"        server 127.0.0.1:{node};" for node in nodes)
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers could not enter the directory
    config = place / "nginx.conf"
    config.write_text(
        NGINX_CONFIG.format(user=user, place=place, maxconn=MAXCONN, port=port, servers=servers,
                            upstream=upstream, location=location)
    )  # fmt: skip
    return Proxy(name, [binary, "-p", str(place), "-c", str(config)], port)


def _haproxy(name: str, file: Path, text: str, port: int) -> Proxy:
    file.write_text(text)
    binary = find_haproxy()
    return Proxy(name, [str(binary.path), "-db", "-f", str(file)], port, environ=binary.full_environment())
