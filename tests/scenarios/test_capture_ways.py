"""The ways by which packets come to `nodegate capture`: IPv6 and VLAN on an interface, tcpdump over SSH, a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import netlab
from captures import PORT, daily, ethernet
from nodegate.lab.lab import Lab, LabOptions
from nodegate.model import Seconds
from support import free_port, until, until_sync
from terminal import NEEDS_TMUX, Terminal

pytestmark = pytest.mark.scenario

NODEGATE = (sys.executable, "-m", "nodegate")
PATIENCE = 90.0
ADDRESSES = bytes.fromhex("ffffffffffff 020000000001")  # no bridge passes on what comes from nowhere
STALL = "getTransactionsToApprove"
NODE = f"""
import json, socket, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Node(ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["command"] == "{STALL}":
            time.sleep(600)
        body = b'{{"duration": 0}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
Node(("::", {PORT}), Answer).serve_forever()
"""
SEND = """
import socket, struct, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind(("eth0", 0))
data = open(sys.argv[1], "rb").read()
place = 0
while place < len(data):
    (size,) = struct.unpack_from("!I", data, place)
    sock.send(data[place + 4:place + 4 + size])
    place += 4 + size
"""
SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
"""


@contextmanager
def capturing(host: netlab.Host, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`nodegate capture` in the host, once it listens."""
    process = subprocess.Popen(
        ["ip", "netns", "exec", host.name, *NODEGATE, "capture", *arguments, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until_sync(lambda: _sniffers(host) or process.poll() is not None, within=PATIENCE, what="it listens")
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def _sniffers(host: netlab.Host) -> bool:
    return len(host.run("cat", "/proc/net/packet").stdout.splitlines()) > 1


def report(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says once it was interrupted."""
    process.send_signal(signal.SIGINT)
    said, trouble = process.communicate(timeout=PATIENCE)
    assert said, trouble
    found: dict[str, Any] = json.loads(said)
    return found


def rows(document: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Command → calls and answered."""
    return {row["command"]: (row["calls"], row["answered"]) for row in document["commands"]}


def ask(host: netlab.Host, url: str, command: str, seconds: str = "30") -> int:
    body = json.dumps({"command": command})
    words = (
        "curl",
        "-s",
        "-g",
        "-m",
        seconds,
        "-o",
        "/dev/null",
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
        url,
    )
    return host.run(*words).returncode


def test_requests_over_ipv6_are_seen_on_the_interface() -> None:
    with netlab.network(2) as net:
        node, client = net.hosts
        for place, host in enumerate(net.hosts, 1):
            done = host.run("ip", "-6", "addr", "add", f"fd00:15::{place}/64", "dev", "eth0", "nodad")
            if done.returncode != 0:
                pytest.skip(f"no IPv6 here: {done.stderr.strip()}")
        node.spawn(sys.executable, "-c", NODE)
        url = f"http://[fd00:15::1]:{PORT}"
        until_sync(lambda: ask(client, url, "getNodeInfo") == 0, within=PATIENCE, what="the node")
        with capturing(node, "-i", "eth0") as capture:
            for _ in range(3):
                assert ask(client, url, "getNodeInfo") == 0
            assert ask(client, url, STALL, "2") != 0
            found = report(capture)
    assert rows(found) == {"getNodeInfo": (3, 3), STALL: (1, 0)}
    assert found["oldest"][0]["client"].startswith("fd00:15::2")


def test_tagged_frames_are_read_behind_their_tag(tmp_path: Path) -> None:
    traffic = daily(40, hung=2)
    frames = [ADDRESSES + ethernet(packet.ip, 0x8100)[12:] for packet in traffic.sorted()]
    (tmp_path / "frames").write_bytes(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
    with netlab.network(2) as net:
        node, client = net.hosts
        for host in net.hosts:  # the frames are a little larger than what the link takes without a tag
            assert host.run("ip", "link", "set", "eth0", "mtu", "9000").returncode == 0
            subprocess.run(["ip", "-n", host.switch, "link", "set", host.port, "mtu", "9000"], check=True)
        with capturing(node, "-i", "eth0", "--after", "0") as capture:
            sent = client.run(sys.executable, "-c", SEND, tmp_path / "frames")
            assert sent.returncode == 0, sent.stderr
            found = report(capture)
    assert found["dropped"] == 0
    assert found["requests"] == sum(traffic.asked.values())
    unanswered = {row["command"]: row["unanswered"] for row in found["commands"] if row["unanswered"]}
    assert unanswered == dict(traffic.unanswered)


@contextmanager
def ssh_daemon(folder: Path) -> Iterator[tuple[str, ...]]:
    """An SSH daemon of the test's own; gives the words that log in."""
    port = free_port()
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "sshd").write_text(SSHD.format(port=port, folder=folder))
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", folder / "sshd"], stderr=subprocess.PIPE)
    try:
        until_sync(lambda: _greets(port) or daemon.poll() is not None, within=30, what="the SSH daemon")
        options = (
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "BatchMode=yes",
            "LogLevel=ERROR",
        )
        words = [word for option in options for word in ("-o", option)]
        yield ("ssh", "-F", "none", "-i", str(folder / "client"), "-p", str(port), *words, "root@127.0.0.1")
    finally:
        daemon.terminate()
        daemon.communicate(timeout=30)


def _greets(port: int) -> bool:
    return (
        subprocess.run(
            ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"], capture_output=True, check=False
        ).returncode
        == 0
    )


@pytest.mark.skipif(not Path("/usr/sbin/sshd").exists(), reason="needs sshd: Debian package openssh-server")
def test_tcpdump_on_another_host_is_read_over_ssh(tmp_path: Path) -> None:
    """The line of the guide: `ssh HOST tcpdump … -w - | nodegate capture -`."""
    if os.geteuid() == 0 and pwd.getpwnam("root").pw_shell.endswith(("nologin", "false")):
        pytest.skip("root may not log in on this machine")
    with ExitStack() as stack:
        net = stack.enter_context(netlab.network(2, needs=["tcpdump", "ssh"]))
        node, client = net.hosts
        node.spawn(sys.executable, "-c", NODE)
        url = f"http://{node.address}:{PORT}"
        until_sync(lambda: ask(client, url, "getNodeInfo") == 0, within=PATIENCE, what="the node")
        login = stack.enter_context(ssh_daemon(tmp_path))
        dump = f"ip netns exec {node.name} tcpdump -i eth0 -U -s 0 -w - 'tcp port {PORT}' 2> {tmp_path}/dump"
        line = f"{shlex.join((*login, dump))} | {shlex.join(NODEGATE)} capture - --json --for 600"
        pipe = subprocess.Popen(
            ["bash", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        stack.callback(pipe.communicate, timeout=60)
        stack.callback(pipe.kill)
        until_sync(
            lambda: _sniffers(node) or pipe.poll() is not None, within=PATIENCE, what="tcpdump listens"
        )
        for _ in range(4):
            assert ask(client, url, "getNodeInfo") == 0
        assert ask(client, url, STALL, "2") != 0
        until_sync(lambda: _ended(node), within=PATIENCE, what="tcpdump ends")
        said, trouble = pipe.communicate(timeout=PATIENCE)
    assert said, trouble
    assert rows(json.loads(said)) == {"getNodeInfo": (4, 4), STALL: (1, 0)}


def _ended(host: netlab.Host) -> bool:
    """Ask the host's tcpdump to end; whether it has."""
    for pid in host.pids():
        if Path(f"/proc/{pid}/comm").read_text().strip() == "tcpdump":
            os.kill(pid, signal.SIGINT)
    return not _sniffers(host)


@NEEDS_TMUX
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to capture")
async def test_the_live_tables_follow_the_node_in_a_terminal() -> None:
    async with Lab(LabOptions(interval=Seconds(0.2), trust_loopback=True)) as running:
        (node,) = await running.start(1)
        port = node.url.rpartition(":")[2]
        headers = {"X-IOTA-API-Version": "1"}
        with (
            Terminal("capture", "-i", "lo", "--port", port, columns=110) as capture,
            Terminal("sockets", "--port", port, "--watch", "--interval", "0.3", columns=80) as sockets,
        ):
            await sockets.until("PORT", "CLOSE_WAIT", "PROCESS", f"{port} ", " ok")
            async with httpx.AsyncClient(trust_env=False) as client, asyncio.TaskGroup() as traffic:

                async def asks() -> None:
                    while True:
                        await client.post(node.url, json={"command": "getNodeInfo"}, headers=headers)
                        await asyncio.sleep(0.05)

                asking = traffic.create_task(asks())
                await capture.until("getNodeInfo", "COMMAND", "UNANSWERED", "0 unanswered")
                asking.cancel()
                first = sockets.screen()
                async with httpx.AsyncClient(trust_env=False) as other:
                    await other.post(node.url, json={"command": "getNodeInfo"}, headers=headers)
                    await until(
                        lambda: sockets.screen() != first, within=60, what="another connection is seen"
                    )
            for terminal in (capture, sockets):
                assert all(len(line) <= 110 for line in terminal.screen().splitlines())
                terminal.keys("C-c")
                await terminal.until("ended with 0")
