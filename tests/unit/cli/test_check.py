"""`nodegate check` end to end: exit codes and the one line, against real servers."""

from __future__ import annotations

import datetime
import inspect
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nodegate.cli import check as module
from nodegate.cli import run
from nodegate.errors import Unavailable
from support import free_port

INFO: dict[str, Any] = {
    "appName": "IRI",
    "appVersion": "1.10.0-RELEASE",
    "latestMilestoneIndex": 1_000,
    "latestSolidSubtangleMilestoneIndex": 1_000,
    "neighbors": 5,
    "features": ["RemotePOW"],
    "coordinatorAddress": "A" * 81,
}
Reply = tuple[int, Any]
Behave = Callable[[str], Reply]
LIMIT: Reply = (401, {"error": "COMMAND is not available on this node"})


def iri(info: dict[str, Any] = INFO, *, limited: Reply = LIMIT) -> Behave:
    """An IRI node: this node info, and this answer to every other command."""
    return lambda body: (200, info) if json.loads(body)["command"] == "getNodeInfo" else limited


class Handler(BaseHTTPRequestHandler):
    """Hands every request to the server's `behave`."""

    def answer(self) -> None:
        node: Server = self.server.node  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        node.bodies.append(body)
        status, reply = node.behave(body)
        raw = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None:
        pass


class Server:
    """A node on the loopback that answers what `behave` makes of a request's body."""

    def __init__(self, behave: Behave, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.bodies: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.node = self  # type: ignore[attr-defined]
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(behave: Behave, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(behave, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run `nodegate check`; its exit code and its standard output without the line's end."""

    def call(*arguments: str) -> tuple[int, str]:
        code = run(["check", *arguments])
        return code, capsys.readouterr().out.removesuffix("\n")

    return call


def test_passing(serve: Any, check: Any) -> None:
    code, line = check(serve(iri()).url)
    assert code == 0
    assert line.startswith("OK - IRI 1.10.0-RELEASE, height 1000 of 1000, 5 peers, ")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("changes", "arguments", "code", "words"),
    [
        ({"latestSolidSubtangleMilestoneIndex": 999}, [], 0, "height 999 of 1000"),
        ({"latestSolidSubtangleMilestoneIndex": 998}, [], 2, "2 heights behind"),
        ({"latestSolidSubtangleMilestoneIndex": 998}, ["--max-lag", "2"], 0, "OK"),
        ({"neighbors": 1}, [], 0, "OK"),
        ({"neighbors": 0}, [], 2, "0 peers"),
        ({"neighbors": 1}, ["-n", "2"], 2, "1 peers (at least 2)"),
        ({}, ["-m", "1.5.0"], 0, "OK"),
        ({}, ["-m", "1.11"], 2, "too old"),
        ({}, ["-r", "HORNET"], 2, "HORNET"),
        ({}, ["-r", "IRI"], 0, "OK"),
        ({}, ["--chain", "B" * 81], 2, "wrong chain"),
        ({}, ["-p"], 0, "OK"),
        ({"features": []}, ["-p"], 2, "proof of work"),
        ({"neighbors": None}, [], 2, "neighbors is null"),
        ({"latestMilestoneIndex": None}, [], 2, "latestMilestoneIndex is null"),
        ({"latestMilestoneIndex": 900}, [], 2, "is above latestMilestoneIndex 900"),
    ],
)
def test_criteria(
    serve: Any, check: Any, changes: dict[str, Any], arguments: list[str], code: int, words: str
) -> None:
    found, line = check(serve(iri({**INFO, **changes})).url, *arguments)
    assert (found, words in line) == (code, True), line


def test_a_slow_answer_is_a_warning(serve: Any, check: Any) -> None:
    def slow(body: str) -> Reply:
        time.sleep(0.1)
        return iri()(body)

    code, line = check(serve(slow).url, "-i", "-w", "0.05")
    assert code == 1
    assert line.startswith("WARNING - answers in ")


@pytest.mark.parametrize("status", [401, 403])
def test_limited_commands_count_as_blocked_by_401_and_403(serve: Any, check: Any, status: int) -> None:
    server = serve(iri(limited=(status, b"")))
    assert check(server.url)[0] == 0
    assert len(server.bodies) == 6


def test_open_commands_are_a_warning_that_names_them(serve: Any, check: Any) -> None:
    code, line = check(serve(iri(limited=(500, {"exception": "Invalid parameters"}))).url)
    assert code == 1
    assert line.startswith("WARNING - ")
    assert all(name in line for name in ("getNeighbors", "addNeighbors", "removeNeighbors", "attachToTangle"))


def test_the_limits_check_is_skipped_with_i(serve: Any, check: Any) -> None:
    server = serve(iri(limited=(200, {})))
    assert check(server.url, "-i")[0] == 0
    assert len(server.bodies) == 1


def test_required_proof_of_work_is_not_called_an_open_command(serve: Any, check: Any) -> None:
    def node(body: str) -> Reply:
        return (400, {"error": "Invalid parameters"}) if "attach" in body else iri()(body)

    server = serve(node)
    assert check(server.url, "-p")[0] == 0
    assert check(server.url)[0] == 1
    assert not any("interrupt" in body for body in server.bodies)


def test_a_dead_node_is_critical(check: Any) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    assert check(url) == (2, f"CRITICAL - {url}: connection refused (127.0.0.1:{port})")


def test_the_time_is_bounded_by_t(check: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        began = time.monotonic()
        code, line = check(f"http://127.0.0.1:{silent.getsockname()[1]}", "-t", "0.3")
        assert time.monotonic() - began < 1.5
    assert code == 2
    assert "no answer within 0.3 s" in line


def test_the_time_is_bounded_even_when_the_name_server_hangs(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(20) and [])
    began = time.monotonic()
    code, line = check("http://node.example", "-t", "0.3")
    assert time.monotonic() - began < 1.5
    release.set()
    assert code == 2
    assert "the name node.example was not resolved within 0.3 s" in line


def test_json_has_all_facts(serve: Any, check: Any) -> None:
    server = serve(iri({**INFO, "latestSolidSubtangleMilestoneIndex": 990}))
    code, text = check(server.url, "--json", "-i")
    found = json.loads(text)
    assert code == found["exit_code"] == 2
    assert (found["result"], found["failure"], found["lag"], found["height"]) == ("critical", None, 10, 990)
    assert (found["url"], found["kind"], found["address"]) == (server.url, "iri", "127.0.0.1")
    assert len(found["reasons"]) == 1
    assert found["latency_ms"] > 0
    code, text = check(f"http://127.0.0.1:{free_port()}", "--json")
    found = json.loads(text)
    assert (code, found["failure"], found["height"], found["latency_ms"]) == (2, "refused", None, None)


def test_what_a_node_says_cannot_break_the_line(serve: Any, check: Any) -> None:
    code, line = check(serve(iri({**INFO, "appName": "x\n\x1b[2JOK - fine | a=1"})).url)
    assert code == 2
    assert line.isprintable()
    assert "|" not in line
    code, line = check(serve(lambda body: (500, {"error": "bad|\n" + "x" * 5_000})).url)
    assert code == 2
    assert line.isprintable()
    assert "|" not in line
    assert len(line) <= module.MAX_LINE


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """A server's context with a self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    cert = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - day, now + day
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "node.pem"
    file.write_bytes(cert.public_bytes(encoding) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_k_really_skips_the_verification_of_the_certificate(
    serve: Any, check: Any, certificate: ssl.SSLContext
) -> None:
    server = serve(iri(), certificate)
    code, line = check(server.url)
    assert code == 2
    assert "the TLS certificate is not trusted" in line
    code, line = check("-k", server.url)
    assert (code, line[:5]) == (0, "OK - ")


def test_other_kinds_and_their_options(serve: Any, check: Any) -> None:
    server = serve(lambda body: (204, b""))
    assert check(server.url, "--kind", "http", "-o", "path=/health", "-o", "expect_status=204")[0] == 0
    code, line = check(server.url, "--kind", "http", "-o", "expect_status=200")
    assert (code, "status 204, expected 200" in line) == (2, True)
    assert check(server.url, "--kind", "evm", "-o", "peers=false", "-o", "batch=false")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["not-a-url"],
        ["http://user@192.0.2.1"],
        ["http://192.0.2.1", "--kind", "btc"],
        ["http://192.0.2.1", "--no-such-option"],
        ["http://192.0.2.1", "-n", "many"],
        ["http://192.0.2.1", "-n", "-1"],
        ["http://192.0.2.1", "-t", "0"],
        ["http://192.0.2.1", "-o", "colour"],
        ["http://192.0.2.1", "-o", "colour=red"],
        ["http://192.0.2.1", "--kind", "evm", "-p"],
        ["http://192.0.2.1", "http://192.0.2.2"],
    ],
)
def test_wrong_usage_exits_3_and_asks_nobody(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", *arguments]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


@pytest.mark.parametrize("error", [Unavailable("this machine cannot probe: no files left"), KeyError("bug")])
def test_a_fault_of_the_check_itself_is_unknown(
    check: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(module, "probe_once", fails)
    code, line = check("http://127.0.0.1:1")
    assert code == 3
    assert line.startswith("UNKNOWN - the check itself failed: ")


def test_every_option_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "check.md").read_text()
    parameters = inspect.signature(module.check, eval_str=True).parameters.values()
    options = [parameter.annotation.__metadata__[0] for parameter in parameters if parameter.name != "url"]
    # Typer keeps the first name apart from the others.
    names = [name for option in options for name in (option.default, *option.param_decls)]
    assert {"-t", "--max-lag", "--json"} <= set(names)
    assert [name for name in names if f"`{name}`" not in page] == []


def test_as_a_monitoring_system_calls_it(serve: Any) -> None:
    environment = {**os.environ, "http_proxy": f"http://127.0.0.1:{free_port()}"}
    command = [
        sys.executable,
        "-m",
        "nodegate",
        "check",
        serve(iri()).url,
        "--kind",
        "iri",
        "-t",
        "5",
        "-n",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("OK - ")
    assert done.stdout.count("\n") == 1
