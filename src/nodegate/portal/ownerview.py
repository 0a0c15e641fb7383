"""What an owner sees of a node: its registration and what the daemon knows, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nodegate.model import Instant, Intent, Snapshot, Status
from nodegate.portal.records import OPEN, Registration, State
from nodegate.settings.portal import PortalSettings
from nodegate.views import NodeDetail, node_detail, span

_ENDED = {
    State.LEFT: "You took this node out.",
    State.REMOVED: "This node was taken out of the fleet.",
    State.REJECTED: "The operator did not take this node.",
    State.BANNED: "The operator does not take nodes from here any more.",
    State.UNCONFIRMED: "Confirm it with the link that we sent you by mail.",
    State.WAITING: "Confirmed. The operator now looks at it; you get a mail.",
    State.APPROVED: "Accepted. It joins as soon as the fleet's registry can be written.",
}
_STATUS = {
    Status.UP: ("up", "good", "Your node is well and serves."),
    Status.DEGRADED: ("degraded", "mild", "Your node serves, but gets less traffic than it could."),
    Status.DOWN: ("out", "bad", "Your node gets no traffic. It serves again by itself once it answers well."),
    Status.UNKNOWN: ("checking", "plain", "Your node is being checked."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedNode:
    """One node on its owner's page."""

    id: str
    url: str
    node_id: str | None
    word: str
    tone: str
    sentence: str
    reasons: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    progress: int | None
    proven: str
    probation: str
    weight: int
    whole: int
    open: bool
    can_pause: bool
    can_resume: bool


def owned_node(
    registration: Registration, snapshot: Snapshot, now: Instant, settings: PortalSettings
) -> OwnedNode:
    """The node as its owner sees it."""
    active = registration.state is State.ACTIVE and registration.node_id is not None
    detail = node_detail(snapshot, registration.node_id or "") if active else None
    intent = None if detail is None else detail.intent
    word, tone, sentence = _judged(registration, detail)
    progress = None
    if active and settings.probation > 0:
        progress = min(100, int(100 * registration.proven / settings.probation))
    reasons = () if detail is None or detail.intent is not Intent.SERVE else detail.reasons
    return OwnedNode(
        id=registration.id,
        url=registration.url,
        node_id=registration.node_id,
        word=word,
        tone=tone,
        sentence=sentence,
        reasons=reasons or ((registration.reason,) if registration.reason and not active else ()),
        facts=_facts(registration, detail),
        progress=progress if registration.weight is not None else None,
        proven=span(registration.proven),
        probation=span(settings.probation),
        weight=registration.weight or 0,
        whole=settings.weight,
        open=registration.state in OPEN,
        can_pause=intent is Intent.SERVE,
        can_resume=intent is Intent.DRAIN and registration.paused,
    )


def _judged(registration: Registration, detail: NodeDetail | None) -> tuple[str, str, str]:
    if registration.state is not State.ACTIVE:
        tone = "plain" if registration.state in OPEN else "mild"
        return registration.state.value, tone, _ENDED[registration.state]
    if detail is None:
        return "joining", "plain", "Your node has just joined; it is checked in a moment."
    if detail.intent is Intent.DRAIN:
        who = "You have" if registration.paused else "The operator of this fleet has"
        return "paused", "mild", f"{who} paused this node; it gets no new requests."
    if detail.intent is Intent.REMOVE:
        return "leaving", "mild", "Requests under way finish, then this node is gone."
    return _STATUS[detail.status]


def _facts(registration: Registration, detail: NodeDetail | None) -> tuple[tuple[str, str], ...]:
    """What is known, in the order in which it matters to an owner."""
    if detail is None:
        return ()
    found = (
        ("Requests served", None if detail.requests is None else f"{detail.requests:,}"),
        ("of these failed", None if detail.errors is None else f"{detail.errors:,}"),
        ("Under way now", None if detail.sessions is None else f"{detail.sessions:,}"),
        ("Height", None if detail.height is None else f"{detail.height:,}"),
        ("Behind the fleet", None if detail.lag is None else f"{detail.lag:,}"),
        ("Answers in", None if detail.latency_ms is None else f"{detail.latency_ms:.0f} ms"),
        ("Version", detail.software_version),
        ("Asked at", registration.address),
        ("Status since", detail.since[:16].replace("T", " ") + " UTC" if detail.since else None),
    )
    return tuple((name, value) for name, value in found if value is not None)
