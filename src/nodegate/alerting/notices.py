"""What is said of alerts, as the JSON document that every channel gets, and in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from nodegate.alerting.rules import Alert, Notice
from nodegate.model import Instant
from nodegate.telemetry.kinds import Severity
from nodegate.views import iso
from nodegate.views.words import readable

LISTED = 50
"""Alerts that one document lists; `more` counts the others. A mail of 10,000 lines helps nobody."""
NAMED = 3
"""Subjects that a title names."""

Document = Mapping[str, Any]


def documents(notice: Notice, gateway: str, now: Instant) -> tuple[dict[str, Any], ...]:
    """A notice as documents: one for what fires, one for what is over."""
    found = []
    for status, alerts in (("firing", notice.firing), ("resolved", notice.ended)):
        if alerts:
            worst = max((alert.severity for alert in alerts), key=lambda severity: severity.rank)
            found.append(_document(notice.rule.name, status, worst, alerts, gateway, now))
    return tuple(found)


def test_document(channel: str, gateway: str, now: Instant) -> dict[str, Any]:
    """What `nodegate alerts test` sends."""
    text = f"this is a test of the channel {channel}: nothing is wrong"
    return {
        "version": 1, "gateway": gateway, "status": "test", "rule": "test", "severity": Severity.INFO.value,
        "title": f"[{gateway}] TEST: {text}", "at": iso(now), "alerts": [], "more": 0,
    }  # fmt: skip


def _document(
    rule: str, status: str, severity: Severity, alerts: Iterable[Alert], gateway: str, now: Instant
) -> dict[str, Any]:
    ranked = sorted(alerts, key=lambda alert: (-alert.severity.rank, alert.since, alert.subject))
    names = [alert.subject for alert in ranked[:NAMED]]
    rest = len(ranked) - len(names)
    word = severity.value.upper() if status == "firing" else "RESOLVED"
    title = f"[{gateway}] {word} {rule}: {', '.join(names)}{f' and {rest} more' if rest else ''}"
    return {
        "version": 1, "gateway": gateway, "status": status, "rule": rule, "severity": severity.value,
        "title": title, "at": iso(now), "alerts": [_row(alert) for alert in ranked[:LISTED]],
        "more": max(0, len(ranked) - LISTED),
    }  # fmt: skip


def _row(alert: Alert) -> dict[str, Any]:
    return {
        "subject": alert.subject,
        "severity": alert.severity.value,
        "text": readable(alert.text),
        "value": round(alert.value, 3),
        "since": iso(alert.since),
        "ended": iso(alert.ended_at),
    }


def payload(document: Document) -> str:
    """The document as the text that is kept, sent and signed: ASCII JSON on one line."""
    return json.dumps(dict(document))


def in_words(document: Document) -> str:
    """The body of a mail."""
    lines = [_clean(document["title"]), ""]
    for row in document["alerts"]:
        when = f"from {row['since']} to {row['ended']}" if row["ended"] else f"since {row['since']}"
        lines += [f"{row['subject']} ({row['severity']}, {when})", f"    {_clean(row['text'])}"]
    if document["more"]:
        lines.append(f"and {document['more']} more")
    lines += ["", f"Said at {document['at']} by nodegate on {document['gateway']}."]
    if document["status"] == "firing":
        lines.append(f"To have it quiet for a while: nodegate alerts silence {document['rule']} --for 2h")
    return "\n".join(lines) + "\n"


def for_slack(document: Document) -> dict[str, Any]:
    """The document as Slack's incoming webhooks take it (Mattermost and Rocket.Chat too)."""
    colours = {"critical": "danger", "warning": "warning", "info": "#808080"}
    colour = "good" if document["status"] == "resolved" else colours[document["severity"]]
    fields = [
        {"title": _slack(row["subject"]), "value": _slack(row["text"]), "short": False}
        for row in document["alerts"][:10]
    ]
    hidden = len(document["alerts"]) - len(fields) + document["more"]
    attachment: dict[str, Any] = {"color": colour, "fallback": _slack(document["title"]), "fields": fields}
    if hidden:
        attachment["footer"] = f"and {hidden} more"
    return {"text": _slack(document["title"]), "attachments": [attachment]}


def _slack(text: str) -> str:
    """Without meaning for Slack: `<!channel>` in a node's words must not wake everybody."""
    return _clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
