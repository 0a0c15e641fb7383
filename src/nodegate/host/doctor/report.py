"""Audits as documents for machines, and as an exit code. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nodegate.errors import Fault, Unavailable
from nodegate.host.doctor.facts import Result, State
from nodegate.host.doctor.run import Audit
from nodegate.host.rules import RULES, Rule, Severity

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
"""As Nagios reads them; a host that could not be audited at all is `Unavailable` (4)."""

SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.INFO: "note", Severity.WARNING: "warning", Severity.CRITICAL: "error"}


def exit_code(audits: Iterable[Audit]) -> int:
    """The worst of: a critical rule broken (2), a host not audited (4), a warning (1), something unknown (3), 0.

    Broken rules for information and silenced results do not count.
    """
    found = list(audits)
    counted = [result for audit in found for result in audit.results if result.silenced is None]
    broken = {result.rule.severity for result in counted if result.state is State.FAIL}
    if Severity.CRITICAL in broken:
        return CRITICAL
    if any(audit.error is not None for audit in found):
        return Unavailable.exit_code
    if Severity.WARNING in broken:
        return WARNING
    return UNKNOWN if any(result.state is State.UNKNOWN for result in counted) else OK


def counts(audit: Audit) -> dict[str, int]:
    """How many results of each state, and how many are silenced (those count nowhere else)."""
    found = Counter(
        "silenced" if result.silenced is not None else result.state.value for result in audit.results
    )
    return {name: found[name] for name in ("pass", "fail", "unknown", "silenced")}


def json_document(audits: Sequence[Audit], expired: Sequence[Fault]) -> dict[str, Any]:
    """Everything, rules' words included."""
    return {
        "exit_code": exit_code(audits),
        "hosts": [
            {
                "host": audit.host,
                "system": audit.system,
                "error": None if audit.error is None else str(audit.error),
                "seconds": round(audit.seconds, 2),
                "counts": counts(audit),
                "results": [_result(result) for result in audit.results],
            }
            for audit in audits
        ],
        "expired_silences": [str(fault) for fault in expired],
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "rule": result.rule.id, "severity": result.rule.severity.value, "state": result.state.value,
        "title": result.rule.title, "reason": result.text, "why": result.rule.why, "mend": result.rule.mend,
        "silenced": result.silenced,
    }  # fmt: skip


def sarif_document(audits: Sequence[Audit], *, version: str) -> dict[str, Any]:
    """SARIF 2.1.0: one run, the rules as its driver's, hosts as logical locations. A host that could not be audited
    is a notification of the run."""
    index = {rule.id: place for place, rule in enumerate(RULES)}
    failed = [audit for audit in audits if audit.error is not None]
    invocation: dict[str, Any] = {"executionSuccessful": not failed}
    if failed:
        invocation["toolExecutionNotifications"] = [
            {"level": "error", "message": {"text": f"{audit.host}: {audit.error}"}} for audit in failed
        ]
    return {
        "$schema": SARIF,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "nodegate doctor", "version": version, "rules": [_sarif_rule(rule) for rule in RULES]}},
                "invocations": [invocation],
                "results": [
                    _sarif_result(audit.host, result, index[result.rule.id]) for audit in audits for result in audit.results
                ],
            }
        ],
    }  # fmt: skip


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.mend},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"source": rule.source},
    }


def _sarif_result(host: str, result: Result, index: int) -> dict[str, Any]:
    """`level` says how bad only where the kind is `fail`; any other kind must have the level `none` (SARIF 3.27.10)."""
    document: dict[str, Any] = {
        "ruleId": result.rule.id,
        "ruleIndex": index,
        "kind": "review" if result.state is State.UNKNOWN else result.state.value,
        "level": _LEVELS[result.rule.severity] if result.state is State.FAIL else "none",
        "message": {"text": f"{result.rule.title}: {result.text}"},
        "locations": [{"logicalLocations": [{"name": host, "fullyQualifiedName": host, "kind": "resource"}]}],
        "partialFingerprints": {"hostAndRule/v1": f"{host}/{result.rule.id}"},
    }
    if result.silenced is not None:
        document["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": result.silenced}
        ]
    return document
