"""`nodegate check`: one probe of one node, as a check for Nagios, Consul and whatever speaks their exit codes.

Exit 0 passing, 1 warning (it serves, but worse than it should), 2 critical, 3 when the check itself could
not be made (wrong usage, a fault of this machine).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated, Any

import typer

from nodegate.errors import NodegateError
from nodegate.health import Finding, assess
from nodegate.model import Criteria, Failure, Instant, Node, Observation, Reading, Scalar, Seconds, Status
from nodegate.ports import Adapter
from nodegate.probe.once import probe_once
from nodegate.protocols import adapter_of
from nodegate.settings import ProbeSettings, checked_url

# Consul keeps 4 KB of a check's output, Nagios one line of it.
MAX_LINE = 1000


class Result(IntEnum):
    """Exit codes, with the words of Consul as names (Nagios: OK, WARNING, CRITICAL, UNKNOWN)."""

    PASSING = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one check found."""

    result: Result
    reasons: tuple[str, ...]
    observation: Observation


class _WallClock:
    """One short check needs no clock that never steps."""

    def now(self) -> Instant:
        return Instant(time.time())


def check(
    url: Annotated[str, typer.Argument(help="where the node's API answers, such as http://192.0.2.1:14265")],
    *,
    kind: Annotated[
        str, typer.Option("--kind", help="iri, evm, http, or a kind that a package adds")
    ] = "iri",
    timeout: Annotated[
        float, typer.Option("-t", "--timeout", min=0.05, max=300, help="seconds for the whole probe")
    ] = 5.0,
    min_neighbours: Annotated[
        int | None, typer.Option("-n", "--min-neighbours", min=0, help="neighbours (peers) it must have")
    ] = None,
    min_version: Annotated[
        str | None, typer.Option("-m", "--min-version", help="oldest version that passes")
    ] = None,
    max_lag: Annotated[
        int | None, typer.Option("--max-lag", min=0, help="milestones or blocks it may be behind")
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option("-w", "--max-latency", min=0.001, help="seconds; a slower answer is a warning"),
    ] = None,
    max_head_age: Annotated[
        float | None, typer.Option("--max-head-age", min=0.001, help="seconds its newest block may be old")
    ] = None,
    app: Annotated[str | None, typer.Option("-r", "--app", help="name the software must report")] = None,
    chain: Annotated[
        str | None, typer.Option("--chain", help="chain id (evm, decimal) or coordinator address (iri)")
    ] = None,
    proof_of_work: Annotated[
        bool, typer.Option("-p", "--pow", help="the node must offer proof of work (iri)")
    ] = False,
    ignore_limits: Annotated[
        bool,
        typer.Option("-i", "--ignore-limits", help="do not try the commands that should be closed (iri)"),
    ] = False,
    insecure: Annotated[
        bool, typer.Option("-k", "--insecure", help="do not verify the TLS certificate")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option("-o", "--option", help="KEY=VALUE of the kind, such as path=/health")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Check one node. Exit 0 passing, 1 warning, 2 critical, 3 wrong usage."""
    adapter, node = _subject(
        url, kind, _options(option or ()), insecure=insecure, pow_=proof_of_work, limits=not ignore_limits
    )
    criteria = _with(
        adapter.criteria,
        min_peers=min_neighbours,
        min_version=min_version,
        max_lag=max_lag,
        max_latency=max_latency,
        max_head_age=max_head_age,
        app=app,
        chain=chain,
        require_pow=proof_of_work or None,
    )
    try:
        outcome = asyncio.run(_check(adapter, node, criteria, timeout))
    except Exception as error:  # exit code 1, Python's own for a crash, would be read as a warning
        words = str(error) if isinstance(error, NodegateError) else f"{type(error).__name__}: {error}"
        typer.echo(_line(f"UNKNOWN - the check itself failed: {words}"))
        raise typer.Exit(Result.UNKNOWN) from error
    typer.echo(json.dumps(_document(node, outcome)) if as_json else _line(_words(node, outcome)))
    raise typer.Exit(outcome.result)


async def _check(adapter: Adapter, node: Node, criteria: Criteria, timeout: float) -> Outcome:
    observation = await probe_once(adapter, node, ProbeSettings(timeout=timeout), _WallClock())
    if isinstance(observation.outcome, Failure):
        reasons = (observation.outcome.text,)
        return Outcome(result=Result.CRITICAL, reasons=reasons, observation=observation)
    findings = assess(observation.outcome, criteria, now=observation.at, latency=observation.latency)
    return Outcome(
        result=_result(findings),
        reasons=tuple(finding.text for finding in findings),
        observation=observation,
    )


def _result(findings: tuple[Finding, ...]) -> Result:
    if any(finding.severity is Status.DOWN for finding in findings):
        return Result.CRITICAL
    return Result.WARNING if findings else Result.PASSING


def _subject(
    url: str, kind: str, options: Mapping[str, Scalar], *, insecure: bool, pow_: bool, limits: bool
) -> tuple[Adapter, Node]:
    """The adapter and the node to check. Raises typer.BadParameter for anything that is wrong with them."""
    try:
        adapter = adapter_of(kind)
    except NodegateError as error:
        raise typer.BadParameter(str(error), param_hint="--kind") from error
    try:
        checked = checked_url(url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="URL") from error
    if pow_ and kind != "iri":
        raise typer.BadParameter(f"kind {kind} has no proof of work", param_hint="-p")
    # What the flags mean to the kind; its own options, given with -o, come last.
    flags: dict[str, Scalar] = {"check_exposed": limits, "pow": pow_} if kind == "iri" else {}
    node = Node(id="check", url=checked, kind=kind, tls_verify=not insecure, options={**flags, **options})
    if faults := adapter.faults(node):
        raise typer.BadParameter("; ".join(faults), param_hint="-o")
    return adapter, node


def _options(pairs: list[str] | tuple[()]) -> Mapping[str, Scalar]:
    """KEY=VALUE as nodegate.toml would have it: true, false and whole numbers are not strings."""
    options: dict[str, Scalar] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="-o")
        if value in {"true", "false"}:
            options[key] = value == "true"
        else:
            options[key] = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else value
    return options


def _with(criteria: Criteria, **given: Any) -> Criteria:
    return replace(criteria, **{name: value for name, value in given.items() if value is not None})


def _words(node: Node, outcome: Outcome) -> str:
    word = {Result.PASSING: "OK"}.get(outcome.result, outcome.result.name)
    reading = outcome.observation.outcome
    facts = ", ".join(_facts(reading, outcome.observation.latency)) if isinstance(reading, Reading) else ""
    if not outcome.reasons:
        return f"{word} - {facts}"
    reasons = "; ".join(outcome.reasons)
    return f"{word} - {reasons} ({facts})" if facts else f"{word} - {node.url}: {reasons}"


def _facts(reading: Reading, latency: Seconds | None) -> list[str]:
    facts = [" ".join(part for part in (reading.app, reading.version) if part)]
    if reading.height is not None:
        tip = "" if reading.claimed_tip is None else f" of {reading.claimed_tip}"
        facts.append(f"height {reading.height}{tip}")
    if reading.peers is not None:
        facts.append(f"{reading.peers} peers")
    if latency is not None:
        facts.append(f"{latency * 1000:.0f} ms")
    return [fact for fact in facts if fact]


def _line(text: str) -> str:
    """One line for a monitoring system: no control characters, and no `|`, which begins Nagios's own data."""
    clean = "".join(character if character.isprintable() else " " for character in text).replace("|", "/")
    return clean if len(clean) <= MAX_LINE else f"{clean[: MAX_LINE - 1]}…"


def _document(node: Node, outcome: Outcome) -> dict[str, Any]:
    observation = outcome.observation
    reading = observation.outcome if isinstance(observation.outcome, Reading) else None
    failure = observation.outcome if isinstance(observation.outcome, Failure) else None
    known = reading is not None and reading.height is not None and reading.claimed_tip is not None
    return {
        "url": node.url,
        "kind": node.kind,
        "result": outcome.result.name.lower(),
        "exit_code": int(outcome.result),
        "reasons": list(outcome.reasons),
        "failure": failure.kind.value if failure else None,
        "address": observation.address,
        "duration_ms": round(observation.duration * 1000, 1),
        "latency_ms": None if observation.latency is None else round(observation.latency * 1000, 1),
        "app": reading.app if reading else None,
        "version": reading.version if reading else None,
        "chain": reading.chain if reading else None,
        "height": reading.height if reading else None,
        "claimed_tip": reading.claimed_tip if reading else None,
        "lag": reading.claimed_tip - reading.height if known else None,  # type: ignore[union-attr,operator]
        "peers": reading.peers if reading else None,
        "exposed": list(reading.exposed) if reading else [],
        "features": None if reading is None or reading.features is None else list(reading.features),
    }
