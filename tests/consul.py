"""Real Consul for tests: Debian's package, unpacked beside the system, and agents on loopback ports.

    agent = ConsulAgent()          # a dev agent, in memory
    agent.start(); …; agent.stop()

`durable=True` keeps data over `kill()` and `start()`. All methods block; they take milliseconds but for starts.
Tests call `consul_binary()` first (a fixture is enough): it skips them with the reason where there is no Consul.
"""

from __future__ import annotations

import datetime
import fcntl
import http.client
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support import free_port, until_sync

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "consul"
RELEASE = "bullseye"
"""The only Debian release that has a Consul; its 1.8.7 needs nothing but libc."""


@cache
def consul_binary() -> Path:
    """The path of `consul`, fetched once for all test processes. Skips the test, with the reason, where it cannot
    be had."""
    if found := shutil.which("consul"):
        return Path(found)
    binary = CACHE / "root" / "usr" / "bin" / "consul"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            reason = _fetch(CACHE)
            if reason:
                pytest.skip(f"no Consul: {reason}")
    return binary


def _fetch(folder: Path) -> str:
    """Unpack the package below `folder`; the reason in words when that does not work."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return "this system has no apt"
    mirror = _mirror()
    if not mirror:
        return "no Debian mirror is set up on this system"
    work = folder / "apt"
    shutil.rmtree(work, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "deb"):
        (work / part).mkdir(parents=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (work / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {RELEASE} main\n")
    options = [
        f"Dir::Etc::sourcelist={work}/sources.list", "Dir::Etc::sourceparts=-", f"Dir::State::lists={work}/lists",
        f"Dir::Cache={work}/cache", f"Dir::Cache::archives={work}/cache/archives", "APT::Sandbox::User=root",
    ]  # fmt: skip
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    try:
        for command in ([*apt, "update"], [*apt, "download", "consul"]):
            subprocess.run(command, cwd=work / "deb", check=True, capture_output=True, timeout=300)
        (package,) = (work / "deb").glob("consul_*.deb")
        draft = folder / "root.new"
        shutil.rmtree(draft, ignore_errors=True)
        subprocess.run(["dpkg", "-x", package, draft], check=True, capture_output=True, timeout=120)
        draft.rename(folder / "root")
    except subprocess.CalledProcessError as error:
        return f"{' '.join(map(str, error.cmd[:1]))} fails: {error.stderr.decode(errors='replace').strip()[:300]}"
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return f"it cannot be fetched: {error}"
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ""


def _mirror() -> str | None:
    """The host that the system itself takes its packages from."""
    for file in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        with suppress(OSError):
            for line in file.read_text().splitlines():
                words = line.split()
                if words[:1] == ["URIs:"] and len(words) > 1:
                    return words[1]
                if words[:1] == ["deb"]:
                    return next((word for word in words if "://" in word), None)
    return None


@dataclass(frozen=True)
class Ports:
    """All ports of one agent."""

    http: int
    dns: int
    server: int
    serf_lan: int
    serf_wan: int
    https: int

    @classmethod
    def free(cls) -> Ports:
        return cls(*(free_port() for _ in range(6)))


class ConsulError(Exception):
    """Consul answered with an error status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class ConsulAgent:
    """One agent, server and client in one.

    `acl` is the management token of an agent that denies everything else. `tls` serves HTTPS too, with
    certificates from `certificates()`. `config` is laid over the configuration. `prefix` goes in front of the
    command line (`ip netns exec NAME`). `peers` make it one of several servers: see `servers`.
    """

    def __init__(
        self,
        *,
        node: str | None = None,
        address: str = "127.0.0.1",
        ports: Ports | None = None,
        durable: bool = False,
        acl: str | None = None,
        tls: Certificates | None = None,
        config: Mapping[str, Any] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.binary = consul_binary()
        self.node = node or f"c{uuid.uuid4().hex[:6]}"
        self.address = address
        self._given = ports
        self.ports = ports or Ports.free()
        self.durable = durable
        self.acl = acl
        self.tls = tls
        self.config = dict(config or {})
        self.prefix = tuple(prefix)
        self.home = Path(tempfile.mkdtemp(prefix="ngc-"))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.ports.http}"

    @property
    def https(self) -> str:
        return f"https://{self.address}:{self.ports.https}"

    @property
    def log(self) -> str:
        file = self.home / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def launch(self) -> None:
        """Start the process and do not wait."""
        (self.home / "agent.json").write_text(json.dumps(self._configuration()))
        mode = () if self.durable else ("-dev",)
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(self.binary), "agent", *mode, "-config-file", str(self.home / "agent.json")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def start(self, *, ready: bool = True) -> None:
        """Start, or start again on the same ports and data; with `ready` wait until it serves."""
        fresh = self._given is None and self.process is None
        for attempt in range(3):
            self.launch()
            if not ready or self._came_up():
                return
            if not fresh or attempt == 2 or "address already in use" not in self.log:
                break
            self.ports = Ports.free()  # somebody else took one of the ports meanwhile
        raise AssertionError(f"consul did not come up: {self.log[-2000:]}")

    def _came_up(self) -> bool:
        until_sync(lambda: self.ready() or not self.alive, within=30, what="consul is ready")
        return self.alive

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ready(self) -> bool:
        """Whether it has a leader and knows itself to be alive."""
        try:
            checks = self.get("/v1/health/state/passing")
        except (OSError, ConsulError, http.client.HTTPException):
            return False
        return any(check["CheckID"] == "serfHealth" and check["Node"] == self.node for check in checks)

    def kill(self) -> None:
        """SIGKILL, as a power failure."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It hangs: connections are taken, nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """An orderly end without leaving the cluster; data stay."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.terminate()
        self.start()

    def stop(self) -> None:
        """End it and remove everything it wrote."""
        if self.alive:
            self._end(signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGCONT)
            os.killpg(self.process.pid, number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _configuration(self) -> dict[str, Any]:
        ports = self.ports
        document: dict[str, Any] = {
            "node_name": self.node,
            "bind_addr": self.address,
            "advertise_addr": self.address,
            "client_addr": self.address,
            "ports": {
                "http": ports.http, "dns": ports.dns, "server": ports.server, "serf_lan": ports.serf_lan,
                "serf_wan": ports.serf_wan, "grpc": -1, "https": ports.https if self.tls else -1,
            },
            "disable_update_check": True,
            "enable_script_checks": True,
            "leave_on_terminate": False,
            "log_level": "warn",
            "performance": {"raft_multiplier": 1},
            "limits": {"http_max_conns_per_client": 200},
        }  # fmt: skip
        if self.durable:
            document |= {"server": True, "bootstrap_expect": 1, "data_dir": str(self.home / "data")}
        if self.acl:
            tokens = {"master": self.acl, "agent": self.acl}
            document["acl"] = {"enabled": True, "default_policy": "deny", "tokens": tokens}
        if self.tls:
            document |= {
                "ca_file": str(self.tls.ca), "cert_file": str(self.tls.certificate), "key_file": str(self.tls.key),
            }  # fmt: skip
        return document | self.config

    # The API

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None) -> Any:
        """One request; the answer's JSON, or its text. Raises ConsulError for a status of 400 or more."""
        connection = http.client.HTTPConnection(self.address, self.ports.http, timeout=10)
        secret = token if token is not None else self.acl
        try:
            text = body if body is None or isinstance(body, str) else json.dumps(body)
            connection.request(method, path, text, {"X-Consul-Token": secret} if secret else {})
            response = connection.getresponse()
            raw = response.read().decode()
            if response.status >= 400:
                raise ConsulError(response.status, raw)
            with suppress(ValueError):
                return json.loads(raw)
            return raw
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Any:
        return self.call("GET", path, **options)

    def put(self, path: str, body: object = None, **options: Any) -> Any:
        return self.call("PUT", path, body, **options)

    def register(self, service: str, service_id: str | None = None, **fields: Any) -> None:
        """`/v1/agent/service/register`; fields are Consul's (Port, Tags, Meta, Check, Weights, …)."""
        self.put("/v1/agent/service/register", {"Name": service, "ID": service_id or service, **fields})

    def deregister(self, service_id: str) -> None:
        self.put(f"/v1/agent/service/deregister/{service_id}")

    def say(self, check_id: str, status: str, output: str = "") -> None:
        """Update a TTL check."""
        self.put(f"/v1/agent/check/update/{check_id}", {"Status": status, "Output": output})

    def checks(self) -> dict[str, Any]:
        """All checks in the catalogue, by check id."""
        return {check["CheckID"]: check for check in self.get("/v1/health/state/any")}

    def instances(self, service: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/v1/catalog/service/{service}")
        return found

    def new_token(self, name: str, rules: str) -> str:
        """A token with a policy of these rules."""
        self.put("/v1/acl/policy", {"Name": name, "Rules": rules})
        secret: str = self.put("/v1/acl/token", {"Policies": [{"Name": name}]})["SecretID"]
        return secret


class ConsulServers:
    """`count` servers of one cluster, on ports of the loopback. A context manager."""

    def __init__(self, count: int = 3, *, acl: str | None = None) -> None:
        ports = [Ports.free() for _ in range(count)]
        joins = [f"127.0.0.1:{one.serf_lan}" for one in ports]
        config = {"bootstrap_expect": count, "retry_join": joins, "retry_interval": "1s"}
        self.agents = [ConsulAgent(durable=True, ports=one, acl=acl, config=config) for one in ports]

    def __enter__(self) -> Self:
        try:
            for agent in self.agents:
                agent.launch()
            for agent in self.agents:
                until_sync(agent.ready, within=60, what=f"server {agent.node} is ready")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        for agent in self.agents:
            agent.stop()

    @property
    def urls(self) -> list[str]:
        return [agent.url for agent in self.agents]

    def leader(self) -> ConsulAgent:
        """The server that leads now."""

        def found() -> ConsulAgent | None:
            for asked in (agent for agent in self.agents if agent.alive):
                with suppress(OSError, ConsulError, http.client.HTTPException):
                    place = asked.get("/v1/status/leader")
                    for agent in self.agents:
                        if agent.alive and place == f"{agent.address}:{agent.ports.server}":
                            return agent
            return None

        agent: ConsulAgent = until_sync(found, within=60, what="the servers have a leader")
        return agent


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, and a certificate of 127.0.0.1 that it signed, with its key."""

    ca: Path
    certificate: Path
    key: Path


def certificates(folder: Path, common_name: str = "server.dc1.consul") -> Certificates:
    """New certificates in `folder`."""
    authority, authority_key = _signed("test authority", None, None)
    certificate, key = _signed(common_name, authority, authority_key)
    files = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    files.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def _signed(
    common_name: str, issuer: x509.Certificate | None, issuer_key: ec.EllipticCurvePrivateKey | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(issuer_key or key, hashes.SHA256()), key
