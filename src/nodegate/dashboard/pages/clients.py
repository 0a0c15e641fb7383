"""Clients: who asks how much, and who may not for a while."""

from __future__ import annotations

from nicegui import ui

from nodegate.api.clients import clients_document
from nodegate.dashboard import actions
from nodegate.dashboard.dialogs import ask_ban
from nodegate.dashboard.frame import Frame, button, card, tag
from nodegate.dashboard.grid import Column, Grid, Row
from nodegate.dashboard.hub import Look
from nodegate.views.policy import BanRow, ClientRow

TOP = 500
"""Clients that a page can sort and filter; HAProxy may remember 100,000."""
BY = {"cost": "Cost in a minute", "requests": "Requests in 10 s", "refusals": "Refusals in a minute"}

CLIENTS = (
    Column(name="client", label="Client", cell="code", key=lambda row: row["client"]),
    Column(name="kind", label="Kind", key=lambda row: row["kind"], extra=True),
    Column(name="key", label="API key", key=lambda row: row["key"] or ""),
    Column(name="cost_1m", label="Units, 1 min", cell="number", key=lambda row: row["cost_1m"]),
    Column(name="cost_10s", label="Units, 10 s", cell="number", key=lambda row: row["cost_10s"], extra=True),
    Column(name="rate_10s", label="Requests, 10 s", cell="number", key=lambda row: row["rate_10s"]),
    Column(name="concurrent", label="Under way", cell="number", key=lambda row: row["concurrent"]),
    Column(name="refusals_1m", label="Refusals, 1 min", cell="number", key=lambda row: row["refusals_1m"]),
    Column(name="banned", label="Banned until", key=lambda row: row["banned"]),
)
BANS = (
    Column(name="client", label="Client", cell="code", key=lambda row: row["client"]),
    Column(name="until", label="Until (UTC)", key=lambda row: row["until"]),
    Column(name="by", label="By", key=lambda row: row["by"]),
)
BUTTON = Column(name="act", label="Change", cell="button")


async def build(frame: Frame) -> None:
    """The page."""
    frame.show(_Clients(frame).show)


class _Clients:
    """Bans, and the clients that ask most."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        extra = (BUTTON,) if frame.may_write else ()
        self._error = ui.label("").classes("faults").props('role="alert"')
        with card("Bans"):
            self._bans = Grid(
                label="Bans", noun="ban", columns=(*BANS, *extra), sort=("until", False), on_act=self._act,
                empty="Nobody is banned.",
            )  # fmt: skip
            if frame.may_write:
                button("Ban a client", self._ban)
        with card("Top talkers"):
            self._clients = Grid(
                label="Clients", noun="client", columns=(*CLIENTS, *extra), sort=("cost_1m", True),
                words=lambda row: f"{row['client']} {row['key']} {row['kind']}", on_act=self._act,
                empty="HAProxy remembers no client: none has asked for some minutes, or no pool has a policy.",
            )  # fmt: skip
            with self._clients.tools:
                self._by = (
                    ui.select(BY, value="cost", label="The greediest by", on_change=self._again)
                    .props("outlined dense options-dense")
                    .style("width: 13rem")
                )
            self._seen = tag("p").classes("soft")

    def show(self, look: Look) -> None:
        """Show a look; while HAProxy cannot be asked, what it said last."""
        self._error.set_text(look.tables_error)
        if look.tables is None:
            return
        document = clients_document(look.tables, top=TOP, by=str(self._by.value))
        banned = {ban.client for ban in document.bans}
        self._clients.show(_client(row, row.client in banned) for row in document.clients)
        self._bans.show(map(_ban, document.bans))
        more = f", the {TOP} greediest are shown" if document.seen > TOP else ""
        self._seen.set_text(f"HAProxy remembers {document.seen:,} clients{more}.")

    async def _act(self, name: str, row: str) -> None:
        source, session = self._frame.site.source, self._frame.session
        client = row.rpartition("|")[2]
        if name == "unban":
            done = await self._frame.run(actions.unban(source, session, client))
        else:
            done = await self._frame.run(actions.ban(source, session, client, 600))
        if done:
            await self._read()

    async def _ban(self) -> None:
        if await ask_ban(self._frame):
            await self._read()

    async def _read(self) -> None:
        hub = self._frame.site.hub
        await hub.read_tables()
        self._frame.update(await hub.refresh())

    async def _again(self) -> None:
        self._frame.update(await self._frame.site.hub.now())


def _client(row: ClientRow, banned: bool) -> Row:
    return {
        **row.model_dump(exclude={"banned_until"}),
        "id": f"{row.kind}|{row.client}",
        "key": row.key or "",
        "banned": (row.banned_until or "")[11:19],
        "act": "" if row.key or banned else "ban",
        "act_text": "Ban 10 min",
        "act_label": f"Ban {row.client} for 10 minutes",
    }


def _ban(ban: BanRow) -> Row:
    return {
        "id": ban.client,
        "client": ban.client,
        "until": ban.until[:19].replace("T", " "),
        "by": "policy" if ban.automatic else "operator",
        "act": "unban",
        "act_text": "Lift",
        "act_label": f"Lift the ban of {ban.client}",
    }
