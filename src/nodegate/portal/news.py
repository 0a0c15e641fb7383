"""What the event log is told of registrations. Pure.

An unconfirmed form is no event: anybody can send one. No owner's e-mail address is in an event, since events leave
by channels that others read.
"""

from __future__ import annotations

from nodegate.model import Instant
from nodegate.portal.records import Registration, State
from nodegate.telemetry.kinds import Event, Kind, event

_REGISTERED = {
    State.WAITING: "{url} is registered and waits for approval",
    State.APPROVED: "{url} is registered and may join the pool {pool}",
}
_CHANGED = {
    State.APPROVED: "the registration of {url} is approved",
    State.REJECTED: "the registration of {url} is rejected: {reason}",
    State.BANNED: "the registration of {url} ended by a ban: {reason}",
    State.LEFT: "{url} has left: {reason}",
    State.REMOVED: "{url} is no longer registered: {reason}",
}


def registered(registration: Registration, now: Instant) -> Event:
    """An owner has confirmed a registration; it waits, or is approved already."""
    return _event(registration, now, Kind.REGISTERED, _REGISTERED[registration.state])


def changed(registration: Registration, now: Instant) -> Event:
    """A registration was approved by an operator, or has ended."""
    return _event(registration, now, Kind.REGISTRATION, _CHANGED[registration.state])


def _event(registration: Registration, now: Instant, kind: Kind, words: str) -> Event:
    reason = registration.reason or "no reason given"
    text = words.format(url=registration.url, pool=registration.pool, reason=reason)
    return event(
        now, kind, f"registration/{registration.id}", text, state=registration.state.value,
        url=registration.url, pool=registration.pool, node=registration.node_id,
    )  # fmt: skip
