"""Questions before something is changed: they say what it will do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from nodegate.dashboard import actions
from nodegate.dashboard.frame import Frame, button, enable, tag
from nodegate.dashboard.words import plural
from nodegate.model import Intent, Source
from nodegate.views import PoolRow, pool_rows

INTENTS = {
    Intent.SERVE.value: "Serve: requests as long as it is healthy",
    Intent.DRAIN.value: "Drain: no new requests",
    Intent.REMOVE.value: "Remove: drain, then forget",
}


async def ask_change(frame: Frame, row: Mapping[str, Any]) -> bool:
    """Ask what to do with a node and do it; True when something was done."""
    actions.require_operator(frame.site.source, frame.session)
    declared = row["source"] is Source.FILE
    intents = {key: text for key, text in INTENTS.items() if not (declared and key == Intent.REMOVE.value)}
    with frame.client, _dialog() as dialog, ui.element("div").classes("dialog"):
        heading = tag("h2", f"Change {row['id']}")
        dialog.props(f'aria-labelledby="{heading.html_id}"')
        heading.props(f'id="{heading.html_id}"')
        with ui.element("div").props('role="group" aria-label="What the node is to do"'):
            intent = ui.radio(intents, value=row["intent"].value)
        weight = ui.number("Weight, 0 to 256", value=row["weight"], min=0, max=256, step=1, precision=0)
        weight.props("outlined dense").set_enabled(not declared)
        if declared:
            tag(
                "p", "nodegate.toml declares this node: its weight and whether it exists are changed there."
            ).classes("soft")
        effect = ui.label("").classes("effect").props('role="status"')
        with ui.element("div").classes("ends"):
            button("Cancel", lambda: dialog.submit(False))
            apply = button("Apply", lambda: dialog.submit(True), main=True)

        def say() -> None:
            changes = _changes(row, intent.value, weight.value)
            effect.set_text(_effect(frame, row, changes))
            enable(apply, bool(changes))

        intent.on_value_change(say)
        weight.on_value_change(say)
        say()
    if not await dialog:
        return False
    changes = _changes(row, intent.value, weight.value)
    return await frame.run(actions.change_node(frame.site.source, frame.session, row["id"], changes))


async def ask_ban(frame: Frame) -> bool:
    """Ask whom to ban, and for how long; True when somebody was."""
    actions.require_operator(frame.site.source, frame.session)
    with frame.client, _dialog() as dialog, ui.element("div").classes("dialog"):
        heading = tag("h2", "Ban a client")
        dialog.props(f'aria-labelledby="{heading.html_id}"')
        heading.props(f'id="{heading.html_id}"')
        client = ui.input("IP address").props("outlined dense autofocus")
        minutes = ui.number("Minutes", value=10, min=1, max=60 * 24 * 24, step=1).props("outlined dense")
        tag(
            "p",
            "All its requests are refused at once. Trusted networks are exempt; an IPv6 client is banned by its /64.",
        ).classes("effect")
        with ui.element("div").classes("ends"):
            button("Cancel", lambda: dialog.submit(False))
            button("Ban", lambda: dialog.submit(True), main=True)
    if not await dialog:
        return False
    seconds = min(max(float(minutes.value or 10), 1.0), 60.0 * 24 * 24) * 60
    return await frame.run(actions.ban(frame.site.source, frame.session, str(client.value or ""), seconds))


async def ask_reject(frame: Frame, registration: str, *, approve: bool) -> bool:
    """Ask what to do with a registration: approve it (where `approve` offers that) or end it with a reason; True
    when something was done."""
    actions.require_operator(frame.site.source, frame.session)
    with frame.client, _dialog() as dialog, ui.element("div").classes("dialog"):
        heading = tag("h2", "Decide about a registration" if approve else "End a registration")
        dialog.props(f'aria-labelledby="{heading.html_id}"')
        heading.props(f'id="{heading.html_id}"')
        reason = ui.input("Reason, which the owner gets by mail").props("outlined dense maxlength=200")
        text = "Approved, the node joins with a small weight that grows with proven time. " if approve else ""
        tag("p", f"{text}Rejected, it is taken out and its owner gets a mail.").classes("effect")
        with ui.element("div").classes("ends"):
            button("Cancel", lambda: dialog.submit(None))
            button("Reject", lambda: dialog.submit("reject"))
            if approve:
                button("Approve", lambda: dialog.submit("approve"), main=True)
    wanted = await dialog
    if wanted is None:
        return False
    source, session = frame.site.source, frame.session
    if wanted == "approve":
        return await frame.run(actions.approve(source, session, registration))
    return await frame.run(actions.reject(source, session, registration, str(reason.value or "")))


def _dialog() -> ui.dialog:
    """A dialog that goes when it is hidden, and not before: hiding gives the focus back to what had it."""
    dialog = ui.dialog()
    return dialog.on("hide", dialog.delete)


def _changes(row: Mapping[str, Any], intent: Any, weight: Any) -> dict[str, object]:
    changes: dict[str, object] = {}
    if intent != row["intent"].value:
        changes["intent"] = intent
    if isinstance(weight, int | float) and int(weight) != row["weight"] and 0 <= weight <= 256:
        changes["weight"] = int(weight)
    return changes


def _effect(frame: Frame, row: Mapping[str, Any], changes: Mapping[str, object]) -> str:
    """What the change will do, in a sentence or two."""
    if not changes:
        return "Nothing changes."
    snapshot = frame.site.source.context.snapshot()
    pool = next((pool for pool in _pools(frame) if pool.name == row["pool"]), None)
    serving = (pool.serving or 0) if pool is not None else 0
    others = serving - (1 if row["serving"] else 0)
    said = []
    intent = changes.get("intent")
    if intent in (Intent.DRAIN.value, Intent.REMOVE.value):
        under_way = row["sessions"] or 0
        said.append(f"It gets no new requests; {plural(under_way, 'request')} under way may finish.")
        if intent == Intent.REMOVE.value:
            said.append("Then its record is deleted.")
        said.append(
            f"{plural(others, 'other node')} of the pool {row['pool']} {'serves' if others == 1 else 'serve'}."
            if others
            else f"No other node of the pool {row['pool']} serves now: its clients would get errors."
        )
    if intent == Intent.SERVE.value:
        said.append("It gets requests as soon as it has proven to be healthy.")
    if "weight" in changes:
        said.append(f"Its share of requests goes from weight {row['weight']} to {changes['weight']}.")
    if snapshot.haproxy_error is not None:
        said.append("HAProxy does not answer now: it takes effect when it does.")
    return " ".join(said)


def _pools(frame: Frame) -> tuple[PoolRow, ...]:
    context = frame.site.source.context
    return pool_rows(context.snapshot(), now=context.clock.now())
