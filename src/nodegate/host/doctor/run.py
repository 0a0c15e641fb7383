"""Audits of several hosts at once: gather, look from outside, judge. One host's failure never stops the others."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nodegate.errors import Malformed, NodegateError, Unavailable
from nodegate.host.doctor.exposure import exposed, questions
from nodegate.host.doctor.facts import Expect, Facts, Result
from nodegate.host.doctor.gather.outside import look
from nodegate.host.doctor.hosts import Host, address_of, offered_methods, run_script
from nodegate.host.doctor.judge import judge_facts
from nodegate.host.doctor.script import script
from nodegate.model import Answer, Instant, Seconds

AT_ONCE = 16
"""Hosts at a time: each is one ssh and some seconds of waiting."""
ROUNDS = 4
"""Turns of questions and answers; IRI's check has three."""

Progress = Callable[[str, str], None]
"""Called with a host's name and what happens to it."""
Values = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What became of one host: its results, or in `error` why there are none. `seconds` is how long it took."""

    host: str
    results: tuple[Result, ...] = ()
    error: NodegateError | None = None
    system: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to audit: the hosts, who looks at them from outside (None: this machine, for other hosts), what is
    expected, and more for the gathering script."""

    hosts: tuple[Host, ...]
    stranger: Host | None
    expect: Expect
    ask: Mapping[str, object]


async def audit(request: Request, *, now: Instant, progress: Progress) -> tuple[Audit, ...]:
    """Every host, in the order given. `now` is the time by which certificates are judged."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(host: Host) -> tuple[Values | NodegateError, float]:
        async with limit:
            began = asyncio.get_running_loop().time()
            progress(host.name, "asked")
            try:
                found: Values | NodegateError = await _facts(host, request)
                progress(host.name, "answered")
            except NodegateError as error:
                progress(host.name, "failed")
                found = error
            return found, asyncio.get_running_loop().time() - began

    gathered = await asyncio.gather(*(one(host) for host in request.hosts))
    known = {
        host.name: found
        for host, (found, _) in zip(request.hosts, gathered, strict=True)
        if isinstance(found, dict)
    }
    holders = shared_holders(known)
    audits = []
    for host, (found, seconds) in zip(request.hosts, gathered, strict=True):
        if isinstance(found, NodegateError):
            audits.append(Audit(host=host.name, error=found, seconds=seconds))
            continue
        facts = Facts(values={**found, "vrrp_holders": holders}, now=now)
        identity = facts.maybe("identity")
        system = str(identity.get("system", "")) if isinstance(identity, dict) else ""
        results = judge_facts(facts, request.expect)
        audits.append(Audit(host=host.name, results=results, system=system, seconds=seconds))
    return tuple(audits)


async def _facts(host: Host, request: Request) -> Values:
    """All facts of a host, those from outside among them. Raises NodegateError when the host tells none."""
    values, offers = await asyncio.gather(
        run_script(host, script("main", request.expect.ask(**request.ask))), _fact(offered_methods(host))
    )
    broken = [name for name, fact in values.items() if not isinstance(fact, dict)]
    if broken:
        raise Malformed(f"{host.name}: facts of an unexpected form: {', '.join(map(str, broken[:3]))}")
    values["ssh_offers"] = offers
    return {**values, **await _outside(host, request, values)}


async def _outside(host: Host, request: Request, values: Mapping[str, Any]) -> Values:
    """What a stranger meets. Nobody looks at this machine from outside unless another host does it."""
    if request.stranger is None and host.is_local:
        why = {"unknown": "a host cannot see itself from outside: name another one with --from HOST"}
        return {"outside": why, "exposed": why}
    stranger = request.stranger or Host()
    wanted = request.expect.wanted
    found = values.get("ssh_listeners", {}).get("value") or ()
    ports = sorted(
        {wanted.client_port, wanted.node_port, wanted.admin_port, *(int(item["port"]) for item in found)}
    )
    try:
        target = own_address(values) if host.is_local else await address_of(host)
        seen = await _look(stranger, {"target": target, "ports": ports})
        name = "this machine" if stranger.is_local else stranger.name
        states = dict(seen["ports"])
    except (NodegateError, KeyError, TypeError, ValueError) as error:
        why = {"unknown": f"nothing could be seen from outside: {error}"}
        return {"outside": why, "exposed": why}
    outside = {"value": {"name": name, "ports": states}}
    asked = [port for port in (wanted.client_port, wanted.node_port) if states.get(str(port)) == "open"]
    return {
        "outside": outside,
        "exposed": await _fact(_exposed(stranger, target, asked, request.expect.kind)),
    }


async def _look(stranger: Host, ask: Mapping[str, object]) -> dict[str, Any]:
    """From another host by a script there, from this machine at once."""
    if stranger.is_local:
        return await asyncio.to_thread(look, ask)
    return await run_script(stranger, script("outside", ask))


async def _exposed(stranger: Host, target: str, ports: Sequence[int], kind: str) -> dict[str, list[Any]]:
    """The commands that any of the open ports takes. Raises Malformed or Unavailable when one cannot be judged."""
    commands: list[str] = []
    for port in ports if kind in {"iri", "evm"} else ():
        answers: tuple[Answer, ...] = ()
        for _ in range(ROUNDS):
            asked = questions(kind, answers)
            if not asked:
                break
            sent = [
                {"path": item.path, "headers": dict(item.headers), "body": item.body.decode()}
                for item in asked
            ]
            told = await _look(stranger, {"target": target, "port": port, "questions": sent})
            answers += tuple(_answer(item, port) for item in told["answers"])
        commands += [name for name in exposed(kind, answers) if name not in commands]
    return {"asked": list(ports), "commands": commands}


def _answer(item: Any, port: int) -> Answer:
    if not isinstance(item, list):
        raise Unavailable(f"port {port} was open and gave no answer: {item}")
    return Answer(status=int(item[0]), body=base64.b64decode(item[1]), duration=Seconds(0.0))


async def _fact(waiting: Any) -> dict[str, Any]:
    """The value of a fact that is gathered here, or why there is none."""
    try:
        return {"value": await waiting}
    except (NodegateError, KeyError, TypeError, ValueError) as error:
        return {"unknown": str(error)}


def own_address(values: Mapping[str, Any]) -> str:
    """The first address of this host that others may use. Raises Unavailable without one."""
    for item in values.get("addresses", {}).get("value") or ():
        if not str(item["address"]).startswith("fe80"):
            return str(item["address"])
    raise Unavailable("this host has no address that others could reach")


def shared_holders(known: Mapping[str, Values]) -> dict[str, Any]:
    """Who of the audited hosts holds each shared address; unknown while only one of the gateways was asked."""
    shared: dict[str, list[str]] = {}
    members = 0
    for values in known.values():
        state = values.get("keepalived", {}).get("value")
        members += bool(state)
        shared.update({address: [] for address in (state or {}).get("addresses") or ()})
    if members < 2:
        return {"unknown": "only all gateways together show who holds the address: name each of them"}
    for name, values in known.items():
        held = {item["address"] for item in values.get("addresses", {}).get("value") or ()}
        for address, hosts in shared.items():
            if address in held:
                hosts.append(name)
    return {"value": shared}


def with_silences(
    audits: Sequence[Audit], silence: Callable[[Audit], tuple[Result, ...]]
) -> tuple[Audit, ...]:
    """The audits with their silenced results marked."""
    return tuple(replace(audit, results=silence(audit)) for audit in audits)
