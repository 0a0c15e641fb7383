"""Registrations: owners who want their nodes in the pool, and those who have them there."""

from __future__ import annotations

from nicegui import background_tasks, ui

from nodegate.dashboard import actions
from nodegate.dashboard.charts import CHART_EVERY
from nodegate.dashboard.dialogs import ask_reject
from nodegate.dashboard.frame import Frame, card, tag
from nodegate.dashboard.grid import Column, Grid, Row
from nodegate.dashboard.hub import Look
from nodegate.errors import NodegateError
from nodegate.views import span
from nodegate.views.registrations import MailsView, RegistrationRow

COLUMNS = (
    Column(name="url", label="Node", cell="link", key=lambda row: row["url"]),
    Column(name="email", label="Owner", key=lambda row: row["email"]),
    Column(name="address", label="Checked address", cell="code", extra=True),
    Column(name="kind", label="Kind", extra=True),
    Column(name="created", label="Made (UTC)", key=lambda row: row["created"]),
)
"""Of one that waits."""
ENDS = (
    Column(name="state", label="State", cell="status", key=lambda row: row["state"]),
    Column(name="proven", label="Proven", extra=True),
    Column(name="reason", label="Why it ended", cell="reasons"),
)
BUTTON = Column(name="act", label="Change", cell="button")
WAITING = "waiting"
OFF = (
    "The registration page is off, so nobody can register a node. It is switched on in the table [portal] of "
    "nodegate.toml."
)


async def build(frame: Frame) -> None:
    """The page."""
    if frame.site.source.context.registrations is None:
        with card("Waiting for you"):
            tag("p", OFF)
        return
    await _Registrations(frame).read()


class _Registrations:
    """Those that wait, those that do not, and how the mails go."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._fault = ui.label("").classes("faults").props('role="alert"')
        buttons = (BUTTON,) if frame.may_write else ()
        with card("Waiting for you"):
            self._waiting = Grid(
                label="Waiting registrations", noun="registration", columns=(*COLUMNS, *buttons), sort=("created", False),
                on_act=self._act, empty="Nobody waits.",
            )  # fmt: skip
        with card("All others"):
            self._others = Grid(
                label="Registrations", noun="registration", columns=(*COLUMNS, *ENDS, *buttons), sort=("created", True),
                on_act=self._act,
                words=lambda row: f"{row['url']} {row['email']} {row['state']} {row['address']}", empty="None.",
            )  # fmt: skip
        frame.show(self._show)

    def _show(self, look: Look) -> None:
        if look.number % CHART_EVERY == 0:
            background_tasks.create(self.read(), name="read registrations")

    async def read(self) -> None:
        """Read the portal's store, which other people write."""
        registrations = self._frame.site.source.context.registrations
        assert registrations is not None
        try:
            document = await registrations.listed()
        except NodegateError as error:
            self._fault.set_text(str(error))
            return
        self._fault.set_text(_mails(document.mails))
        rows = [_row(row) for row in document.registrations]
        self._waiting.show(row for row in rows if row["state"] == WAITING)
        self._others.show(row for row in rows if row["state"] != WAITING)

    async def _act(self, name: str, registration: str) -> None:
        source, session = self._frame.site.source, self._frame.session
        if name == "decide":
            await ask_reject(self._frame, registration, approve=True)
        elif name == "end":
            await ask_reject(self._frame, registration, approve=False)
        else:
            actions.require_operator(source, session)
        await self.read()


def _mails(mails: MailsView) -> str:
    said = list(mails.given_up)
    if mails.error:
        waits = f"; {mails.waiting} wait" if mails.waiting else ""
        old = f", the oldest for {span(mails.oldest_seconds)}" if mails.oldest_seconds is not None else ""
        said.insert(0, f"mails cannot be sent: {mails.error}{waits}{old}")
    return " · ".join(said)


def _row(row: RegistrationRow) -> Row:
    waits = row.state == WAITING
    ended = row.ended_at is not None
    return {
        "id": row.id,
        "url": row.url,
        "state": row.state,
        "email": row.email,
        "address": row.address,
        "kind": row.kind,
        "created": (row.created_at or "")[:19].replace("T", " "),
        "proven": span(row.proven_seconds) if row.proven_seconds else "",
        "reason": row.reason,
        "act": "decide" if waits else "" if ended else "end",
        "act_text": "Decide" if waits else "End",
        "act_label": f"{'Decide about' if waits else 'End'} the registration of {row.url}",
    }
