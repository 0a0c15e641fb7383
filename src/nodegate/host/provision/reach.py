"""Finds where each host's SSH answers, before Ansible starts: hardened already, bare, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodegate.host.provision.document import Fleet, Host

PATIENCE = 5.0
"""Seconds for a greeting; an SSH daemon far away needs one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayIn:
    """How Ansible gets into a host."""

    user: str
    port: int


async def find_ways(
    fleet: Fleet, hosts: Sequence[Host], *, patience: float = PATIENCE
) -> Mapping[str, WayIn | str]:
    """By the host's name its way in, or why there is none. The hardened port is preferred. Never raises."""
    found = await asyncio.gather(*(_find(fleet, host, patience) for host in hosts))
    return {host.name: way for host, way in zip(hosts, found, strict=True)}


async def _find(fleet: Fleet, host: Host, patience: float) -> WayIn | str:
    ssh = fleet.ssh
    final, first = host.ssh_port or ssh.port, host.first_port or ssh.first_port
    ways = (WayIn(user=ssh.user, port=final), WayIn(user=ssh.first_user or ssh.user, port=first))
    knocks = [asyncio.create_task(_fault(host.address, way.port, patience)) for way in ways]
    faults = []
    for way, knock in zip(ways, knocks, strict=True):
        if (fault := await knock) is None:
            for other in knocks:  # a hardened host drops what comes for its old port: nobody waits for that
                other.cancel()
            return way
        faults.append(fault)
    return "; ".join(
        f"{host.address} port {way.port}: {fault}" for way, fault in zip(ways, faults, strict=True)
    )


async def _fault(address: str, port: int, patience: float) -> str | None:
    """Why SSH does not answer there; None if it does."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                greeting = await reader.readline()
            finally:
                writer.close()
    except TimeoutError:
        return f"no answer in {patience:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except ValueError:
        return "what answers there is not SSH"
    return None if greeting.startswith(b"SSH-") else "what answers there is not SSH"
