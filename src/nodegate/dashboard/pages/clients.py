"""Clients: who asks how much, and who may not for a while."""

from __future__ import annotations

from nicegui import ui

from nodegate.api.clients import clients_document
from nodegate.dashboard import actions
from nodegate.dashboard.dialogs import ask_ban
from nodegate.dashboard.frame import Frame, button, card, tag
from nodegate.dashboard.grid import Column, Grid
from nodegate.dashboard.hub import Look

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

    async def act(name: str, client: str) -> None:
        source, session = frame.site.source, frame.session
        client = client.rpartition("|")[2]
        job = (
            actions.unban(source, session, client)
            if name == "unban"
            else actions.ban(source, session, client, 600)
        )
        if await frame.run(job):
            await frame.site.hub.read_tables()
            frame.update(await frame.site.hub.refresh())

    async def ban() -> None:
        if await ask_ban(frame):
            await frame.site.hub.read_tables()
            frame.update(await frame.site.hub.refresh())

    extra = (BUTTON,) if frame.may_write else ()
    error = ui.label("").classes("faults").props('role="alert"')
    with card("Bans"):
        bans = Grid(
            label="Bans",
            noun="ban",
            columns=(*BANS, *extra),
            sort=("until", False),
            on_act=act,
            empty="Nobody is banned.",
        )
        if frame.may_write:
            button("Ban a client", ban)
    with card("Top talkers"):
        clients = Grid(
            label="Clients", noun="client", columns=(*CLIENTS, *extra), sort=("cost_1m", True),
            words=lambda row: f"{row['client']} {row['key']} {row['kind']}", on_act=act,
            empty="HAProxy remembers no client: none has asked for some minutes, or no pool has a policy.",
        )  # fmt: skip
        with clients.tools:
            by = (
                ui.select(BY, value="cost", label="The greediest by")
                .props("outlined dense options-dense")
                .style("width: 13rem")
            )
        seen = tag("p").classes("soft")

    async def again() -> None:
        frame.update(await frame.site.hub.now())

    def show(look: Look) -> None:
        error.set_text(look.tables_error)
        if look.tables is None:
            return
        document = clients_document(look.tables, top=TOP, by=str(by.value))
        banned = {ban.client for ban in document.bans}
        clients.show(
            {
                **row.model_dump(exclude={"banned_until"}),
                "id": f"{row.kind}|{row.client}",
                "key": row.key or "",
                "banned": (row.banned_until or "")[11:19],
                "act": "" if row.key or row.client in banned else "ban",
                "act_text": "Ban 10 min",
                "act_label": f"Ban {row.client} for 10 minutes",
            }
            for row in document.clients
        )
        bans.show(
            {
                "id": ban.client,
                "client": ban.client,
                "until": ban.until[:19].replace("T", " "),
                "by": "policy" if ban.automatic else "operator",
                "act": "unban",
                "act_text": "Lift",
                "act_label": f"Lift the ban of {ban.client}",
            }
            for ban in document.bans
        )
        more = f", the {TOP} greediest are shown" if document.seen > TOP else ""
        seen.set_text(f"HAProxy remembers {document.seen:,} clients{more}.")

    by.on_value_change(again)
    frame.show(show)
