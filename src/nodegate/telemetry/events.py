"""What a pass has to tell: the difference between two snapshots, as log events."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from nodegate.model import Snapshot, Status, Verdict
from nodegate.telemetry.logs import Event, record
from nodegate.views import change_row

log = logging.getLogger("nodegate.daemon")


def turned(before: Snapshot, after: Snapshot) -> Iterator[tuple[str, Status, Verdict]]:
    """Each node whose status changed: its pool, the former status (unknown for a new node), the verdict."""
    if after.inventory is None:
        return
    old, new = before.judgement.verdicts, after.judgement.verdicts
    for node in after.inventory.nodes:
        verdict, was = new.get(node.id), old.get(node.id)
        if verdict is None or verdict is was:
            continue
        was_status = Status.UNKNOWN if was is None else was.status
        if was_status is not verdict.status:
            yield node.pool, was_status, verdict


def say_pass(before: Snapshot, after: Snapshot) -> None:
    """Log what is new in `after`: verdicts, changes, what safety withholds, links lost and found.

    What merely continues is said once, not at every pass.
    """
    for pool, was, verdict in turned(before, after):
        _say_verdict(pool, was, verdict)
    # What HAProxy refused is planned anew in every pass.
    tried = {(row.what, row.why) for row in map(change_row, before.plan.changes)} if before.refused else ()
    for row in map(change_row, after.plan.changes):
        if (row.what, row.why) not in tried:
            record(log, logging.INFO, Event.CHANGE, row.what, why=row.why)
    for text in after.refused:
        if text not in before.refused:
            record(log, logging.WARNING, Event.REFUSED, text)
    _say_withheld(before, after)
    _say_link(Event.REGISTRY, before.registry_error, after.registry_error)
    _say_link(Event.HAPROXY, before.haproxy_error, after.haproxy_error)


def _say_verdict(pool: str, was: Status, verdict: Verdict) -> None:
    record(
        log,
        logging.INFO if verdict.status is Status.UP else logging.WARNING,
        Event.VERDICT,
        f"{verdict.node_id} is {verdict.status.value}",
        node=verdict.node_id,
        pool=pool,
        was=was.value,
        reasons="; ".join(verdict.reasons) or None,
    )


def _say_withheld(before: Snapshot, after: Snapshot) -> None:
    known = {(change_row(item.change).what, item.rule) for item in before.plan.withheld}
    for item in after.plan.withheld:
        text = change_row(item.change).what
        if (text, item.rule) not in known:
            record(log, logging.WARNING, Event.WITHHELD, text, rule=item.rule, why=item.why)


def _say_link(event: Event, was: str | None, now: str | None) -> None:
    if now is not None and now != was:
        record(log, logging.ERROR, event, now)
    elif now is None and was is not None:
        record(log, logging.INFO, event, "all is well again")
