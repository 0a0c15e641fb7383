"""What stands between clients and a node in `overhead`: the gateway, and other proxies in its place.

All reach the same node: an HAProxy that gives the answer of a lab node at once, so that the node is no bottleneck
and takes little of the machine.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.environment import clean_environment, free_port
from bench.rig import Daemon, until
from nodegate.dataplane.binary import find_haproxy
from nodegate.errors import Unavailable
from nodegate.lab.exchange import ClientConnection, Target
from nodegate.lab.load import GET_NODE_INFO, IRI_HEADERS

HAPROXY = """\
global
    maxconn 4000
{more}
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend clients
    bind 127.0.0.1:{port}
"""
"""What a plain proxy and the node have in common."""

NODE = """\
    http-request return status 200 content-type application/json file {answer}
"""
PLAIN = """\
    default_backend nodes
backend nodes
    server node 127.0.0.1:{node}
"""

NGINX = """\
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
worker_processes auto;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    upstream nodes {{
        server 127.0.0.1:{node};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""
"""As a plain proxy that keeps its connections on both sides; its limits on requests per connection would cost it
new ones, which HAProxy does not make either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Something to send requests to: a name for the table, and the processes whose CPU it costs (none for the
    node itself)."""

    name: str
    url: str
    pids: tuple[int, ...] = ()


@asynccontextmanager
async def node(directory: Path, answer: bytes) -> AsyncIterator[Place]:
    """The node: `answer` to every request, by one thread."""
    file = directory / "answer.json"
    await asyncio.to_thread(file.write_bytes, answer)
    port = free_port()
    text = HAPROXY.format(port=port, more="    nbthread 1") + NODE.format(answer=file)
    async with _haproxy(directory / "node.cfg", text, port):
        yield Place(name="the node itself", url=f"http://127.0.0.1:{port}")


@asynccontextmanager
async def plain_haproxy(directory: Path, behind: Place) -> AsyncIterator[Place]:
    """The same HAProxy as nodegate's, with nothing but a server in its configuration."""
    port = free_port()
    text = HAPROXY.format(port=port, more="") + PLAIN.format(node=_port(behind))
    async with _haproxy(directory / "plain.cfg", text, port) as pid:
        yield Place(name="plain HAProxy", url=f"http://127.0.0.1:{port}", pids=(pid,))


@asynccontextmanager
async def nginx(directory: Path, behind: Place) -> AsyncIterator[Place | None]:
    """The nginx that is installed, None when there is none."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        yield None
        return
    port = free_port()
    file = directory / "nginx.conf"
    text = NGINX.format(directory=directory, port=port, node=_port(behind))
    await asyncio.to_thread(file.write_text, text, encoding="utf-8")
    async with _process([binary, "-p", str(directory), "-c", str(file)], clean_environment(), port) as pid:
        workers = tuple(child.pid for child in psutil.Process(pid).children(recursive=True))
        yield Place(name="nginx", url=f"http://127.0.0.1:{port}", pids=(pid, *workers))


@asynccontextmanager
async def gateway(directory: Path, behind: Place, name: str, policy: str) -> AsyncIterator[Place]:
    """nodegate as `nodegate up` runs it; `policy` is the value of the pool's setting. CPU is that of its
    HAProxy: what nodegate itself takes does not grow with requests."""
    settings = (
        f'[probe]\ninterval = 10.0\n[pools.main]\npolicy = "{policy}"\n'
        f'[[nodes]]\nid = "node"\nkind = "iri"\nurl = "{behind.url}"\n'
    )
    async with Daemon(directory, settings) as daemon:
        place = Place(name=name, url=daemon.url, pids=(await daemon.haproxy_pid(),))
        await until(lambda: serves(place), what=f"{name} answers")
        yield place


async def ask(url: str) -> tuple[int, bytes]:
    """Status and body of one getNodeInfo. Raises Unavailable when there is no answer."""
    port = int(url.rpartition(":")[2])
    target = Target(host="127.0.0.1", port=port, path="/", name=f"127.0.0.1:{port}", tls=None)
    lines = [f"{name}: {value}\r\n" for name, value in IRI_HEADERS.items()]
    head = f"POST / HTTP/1.1\r\nHost: {target.name}\r\nContent-Length: {len(GET_NODE_INFO)}\r\n{''.join(lines)}\r\n"
    connection = ClientConnection(target, without_body=False)
    try:
        answer = await connection.exchange(head.encode(), GET_NODE_INFO)
    except (OSError, EOFError) as error:
        raise Unavailable(f"{url}: {error}") from error
    finally:
        connection.close()
    return answer.status, answer.body


async def serves(place: Place) -> bool:
    """Whether a request is answered there."""
    try:
        status, _ = await ask(place.url)
    except Unavailable:
        return False
    return status == 200


@asynccontextmanager
async def _haproxy(file: Path, text: str, port: int) -> AsyncIterator[int]:
    await asyncio.to_thread(file.write_text, text, encoding="utf-8")
    binary = find_haproxy()
    environment = {**clean_environment(), **binary.environment}
    async with _process([str(binary.path), "-db", "-f", str(file)], environment, port) as pid:
        yield pid


@asynccontextmanager
async def _process(command: Sequence[str], environment: dict[str, str], port: int) -> AsyncIterator[int]:
    """A server in the foreground, once it listens on `port`. Raises Unavailable with its own words."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )

    async def listens() -> bool:
        if process.returncode is not None:
            _, said = await process.communicate()
            raise Unavailable(f"{command[0]} ended: {said.decode(errors='replace').strip()}")
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    try:
        await until(listens, what=f"{command[0]} listens", within=20)
        yield process.pid
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(5):
                    await process.communicate()
            except TimeoutError:
                process.kill()
                await process.wait()


def _port(place: Place) -> int:
    return int(place.url.rpartition(":")[2])
