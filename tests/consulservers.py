"""Several servers of one Consul cluster."""

from __future__ import annotations

import http.client
from contextlib import suppress
from typing import Self

from consul import ConsulAgent, ConsulError, Ports
from support import until_sync


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
