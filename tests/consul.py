"""Real Consul for tests: Debian's package, unpacked beside the system, and agents on loopback ports.

    agent = ConsulAgent()          # a dev agent, in memory
    agent.start(); …; agent.stop()

`durable=True` keeps data over `kill()` and `start()`. All methods block; they take milliseconds but for starts.
Tests call `consul_binary()` first (a fixture is enough): it skips them with the reason where there is no Consul.
"""

from __future__ import annotations

import http.client
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
from pathlib import Path
from typing import Any, Self

from consulcerts import Certificates, certificates
from consulpackage import consul_binary
from support import free_port, until_sync

__all__ = [
    "Certificates", "ConsulAgent", "ConsulError", "Ports", "certificates", "consul_binary",
]  # fmt: skip


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

    def clear(self, keys: str) -> None:
        """Deregister all services of this agent, and delete all keys below `keys`."""
        for service in self.get("/v1/agent/services"):
            self.deregister(service)
        self.call("DELETE", f"/v1/kv/{keys}?recurse")

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
