"""Attacks on a node or a gateway of a lab, with honest clients measured beside them.

Only the loopback is a target. A run is bounded in time, in connections and in requests per second, and ends
by itself. Each attack comes from a loopback address of its own, so that a ban that one earns does not hide
what the next would do, nor hit the honest clients.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from nodegate.errors import Malformed, NotFound, Refused, Unavailable
from nodegate.lab import transaction
from nodegate.lab.assault import Assault
from nodegate.lab.attack_report import AttackReport, Campaign, Honest, Phase
from nodegate.lab.attack_scripts import Aim
from nodegate.lab.attacks import ATTACKS, Attack
from nodegate.lab.exchange import ClientConnection, Target
from nodegate.lab.load import IRI_HEADERS, Load, LoadOptions, loopback
from nodegate.lab.tangle import OLD_REFERENCE
from nodegate.lab.trytes import value_of
from nodegate.model import Seconds

MAX_CONNECTIONS: Final = 500
MAX_SECONDS: Final = 60.0
_DEFAULT_SECONDS: Final = Seconds(4.0)
_QUIET: Final = Seconds(3.0)
_SETTLE: Final = 5.0  # how long honest clients may take to recover before the next attack
_ASK: Final = 10.0
_HONEST_TIMEOUT: Final = Seconds(3.0)
_EVERY: Final = 0.1
_ADDRESS: Final = "HONEST9CLIENT".ljust(81, "9")

_GROUPS: Final[dict[str, tuple[float, tuple[dict[str, Any], ...]]]] = {
    # Requests a second, and the requests in turn: what wallets ask all day. The first group needs no lock of
    # the node, the second needs the one that the stall holds.
    "reads": (
        40.0,
        (
            {"command": "getNodeInfo"},
            {"command": "getBalances", "addresses": [_ADDRESS], "threshold": 100},
            {"command": "wereAddressesSpentFrom", "addresses": [_ADDRESS]},
        ),
    ),
    "lookups": (
        10.0,
        (
            {"command": "findTransactions", "addresses": [_ADDRESS]},
            {"command": "getTrytes", "hashes": [_ADDRESS]},
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackOptions:
    """What to attack and how much. `seconds` are per attack, `connections` at once (an attack that is a crowd
    multiplies them). `names` choose attacks, none: all. Honest clients are measured for `quiet` seconds before."""

    url: str
    names: Sequence[str] = ()
    seconds: Seconds = _DEFAULT_SECONDS
    connections: int = 100
    quiet: Seconds = _QUIET


Told = Callable[[AttackReport], None]


def chosen(names: Sequence[str]) -> tuple[Attack, ...]:
    """The attacks with these names in the order of the catalogue; all when there are no names. Raises
    NotFound."""
    known = {attack.name for attack in ATTACKS}
    if unknown := [name for name in names if name not in known]:
        raise NotFound(f"no attack {', '.join(unknown)}: there are {', '.join(sorted(known))}")
    return tuple(attack for attack in ATTACKS if not names or attack.name in names)


async def run(options: AttackOptions, *, told: Told = lambda report: None) -> Campaign:
    """Measure quiet clients, then run the attacks one after the other; `told` hears of each as it ends.

    Raises Unsafe for a target off the loopback, Refused for options that cannot be, NotFound for an unknown
    attack, Unavailable when honest clients get no answer before anything is attacked.
    """
    attacks, target = chosen(options.names), _target(options)
    honest = {name: _load(options, len(attacks), *group) for name, group in _GROUPS.items()}
    try:
        for load in honest.values():
            await load.start()
        quiet = await _quiet(honest, options)
        reference = await _old_reference(target)
        reports = []
        for place, attack in enumerate(attacks):
            already = await _unsettled(honest, quiet)
            began = time.monotonic()
            _restart(honest)
            assault = Assault(attack, target, Aim(host=target.name, reference=reference), place + 1)
            sent = await assault.run(options.seconds, options.connections)
            await _caught_up(honest, began)
            report = AttackReport(
                attack=attack, sent=sent, quiet=quiet, during=_restart(honest), already=already,
                seconds=Seconds(time.monotonic() - began),
            )  # fmt: skip
            reports.append(report)
            told(report)
    finally:
        for load in honest.values():
            await load.stop()
    return Campaign(url=options.url, quiet=quiet, reports=tuple(reports))


def _target(options: AttackOptions) -> Target:
    if not 1 <= options.connections <= MAX_CONNECTIONS:
        raise Refused(f"connections: from 1 to {MAX_CONNECTIONS}, not {options.connections}")
    for what, seconds in (("each attack", options.seconds), ("the quiet phase", options.quiet)):
        if not 0 < seconds <= MAX_SECONDS:
            raise Refused(f"seconds for {what}: above 0, at most {MAX_SECONDS:g}, not {seconds:g}")
    parts = urlsplit(options.url)
    if parts.scheme != "http" or not parts.hostname:
        raise Refused(f"{options.url!r} is not a URL such as http://127.0.0.1:14267")
    return Target(
        host=loopback(parts.hostname),
        port=parts.port or 80,
        path=parts.path or "/",
        name=parts.netloc,
        tls=None,
    )


def _load(options: AttackOptions, attacks: int, rate: float, requests: Sequence[dict[str, Any]]) -> Load:
    """One group of honest clients, for longer than the attacks can take."""
    return Load(
        LoadOptions(
            url=options.url,
            bodies=[json.dumps(each).encode() for each in requests],
            connections=max(4, int(rate / 5)),
            rate=rate,
            timeout=_HONEST_TIMEOUT,
            duration=Seconds(60 + attacks * (options.seconds + 2 * _SETTLE)),
            expect=b'"duration"',
        )
    )


def _restart(honest: dict[str, Load]) -> dict[str, Honest]:
    """What the groups saw since the last call."""
    return {name: Honest.of(load.restart_counts()) for name, load in honest.items()}


async def _quiet(honest: dict[str, Load], options: AttackOptions) -> Phase:
    """The quiet phase, with its first half second left out: connections are made then."""
    await asyncio.sleep(0.5)
    _restart(honest)
    await asyncio.sleep(options.quiet)
    reports = {name: load.restart_counts() for name, load in honest.items()}
    for name, report in reports.items():
        if report.failures or not report.ok:
            raise Unavailable(
                f"{options.url} does not answer honest clients well before any attack "
                f"({name}: {', '.join(report.samples[:1]) or 'no answer'}); "
                "is it a lab's IRI node, or a gateway in front of some?"
            )
    return {name: Honest.of(report) for name, report in reports.items()}


async def _caught_up(honest: dict[str, Load], began: float) -> None:
    """Wait for the requests that were due in the attack, as long as they may wait for an answer: those that a
    stalled node still holds must count for this attack."""
    deadline = time.monotonic() + _HONEST_TIMEOUT + _EVERY
    due = {
        name: (load.options.rate or 0.0) * (time.monotonic() - began) - load.options.connections
        for name, load in honest.items()
    }
    while time.monotonic() < deadline:
        reports = {name: load.report() for name, load in honest.items()}
        if all(report.ok + report.failures >= due[name] for name, report in reports.items()):
            return
        await asyncio.sleep(_EVERY)


async def _unsettled(honest: dict[str, Load], quiet: Phase) -> frozenset[str]:
    """The groups that have not recovered within a while."""
    _restart(honest)
    deadline = time.monotonic() + _SETTLE
    while True:
        await asyncio.sleep(0.3)
        seen = _restart(honest)
        harmed = frozenset(name for name, phase in seen.items() if phase.worse_than(quiet[name]))
        if not harmed or time.monotonic() > deadline:
            return harmed


async def _old_reference(target: Target) -> str:
    """The oldest transaction of the coordinator, which any client can look up; the one of 2018 when the node
    does not tell. Raises Unavailable when nobody answers."""
    try:
        async with asyncio.timeout(_ASK):
            info = await _asked(target, command="getNodeInfo")
            found = await _asked(target, command="findTransactions", addresses=[info["coordinatorAddress"]])
            hashes = found["hashes"][:500]
            trytes = (await _asked(target, command="getTrytes", hashes=hashes))["trytes"]
            attached = [value_of(transaction.field(each, "timestamp")) for each in trytes]
            return min(zip(attached, hashes, strict=True))[1] if hashes else OLD_REFERENCE
    except (KeyError, TypeError, ValueError, Malformed):
        return OLD_REFERENCE
    except (OSError, EOFError) as error:
        raise Unavailable(f"{target.name} stopped answering: {error}") from error


async def _asked(target: Target, **body: Any) -> Any:
    connection = ClientConnection(target, without_body=False)
    text = json.dumps(body).encode()
    headers = {"Host": target.name, **IRI_HEADERS, "Content-Length": str(len(text))}
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    try:
        answer = await connection.exchange(("\r\n".join(lines) + "\r\n\r\n").encode(), text)
    finally:
        connection.close()
    return json.loads(answer.body)
