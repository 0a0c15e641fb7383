"""What every page has: title, navigation, the gateway's state, theme, logout, and a place for messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from fastapi import Request
from nicegui import Client, ui
from nicegui.element import Element

from nodegate.dashboard.actions import Done
from nodegate.dashboard.gate import SESSION
from nodegate.dashboard.hub import Hub, Look
from nodegate.dashboard.roles import Role
from nodegate.dashboard.source import Source
from nodegate.errors import NodegateError
from nodegate.views import span

ROOT = "/ui"
EXPIRED = "/login?expired"
"""Where a session that has ended goes; NiceGUI puts its own prefix before it."""
PAGES = (
    ("/", "Overview"),
    ("/nodes", "Nodes"),
    ("/clients", "Clients"),
    ("/policy", "Policy"),
    ("/plan", "Plan"),
    ("/events", "Events"),
    ("/cluster", "Cluster"),
    ("/registrations", "Registrations"),
)
THEMES = {"auto": "Auto", "light": "Light", "dark": "Dark"}
_DARK = {"auto": None, "light": False, "dark": True}
UNDO_FOR = 60.0
"""Seconds for which a change can be taken back with one click; afterwards it takes a change of its own."""


class Site:
    """What all pages share."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.hub = Hub(source)


class Frame:
    """One open page of one session."""

    def __init__(self, site: Site, client: Client, session: str, role: Role, theme: str) -> None:
        self.site = site
        self.client = client
        self.session = session
        self.role = role
        self.theme = theme
        self._shows: list[Callable[[Look], None]] = []
        self._dark = ui.dark_mode(_DARK[theme])

    @property
    def may_write(self) -> bool:
        """Whether the page offers what changes something."""
        return self.role.may_write

    def show(self, show: Callable[[Look], None]) -> None:
        """Call `show` with each look, the first time when the page is built."""
        self._shows.append(show)

    def update(self, look: Look) -> None:
        """Show a look; a session that has ended goes back to the login."""
        if self.site.source.sessions.get(self.session, self.site.source.now()) is None:
            self.client.open(EXPIRED)
            self.site.hub.leave(self.client.id)
            return
        with self.client:
            for show in self._shows:
                show(look)

    async def run(self, action: Awaitable[Done]) -> bool:
        """Do something, say what came of it, and offer the way back; True when it was done."""
        try:
            done = await action
        except NodegateError as error:
            self.message.say(str(error), bad=True)
            return False
        self.message.say(done.text + ".", undo=None if done.undo is None else lambda: self._undo(done))
        self.update(await self.site.hub.refresh())
        return True

    async def _undo(self, done: Done) -> None:
        assert done.undo is not None
        await self.run(done.undo())

    def next_theme(self) -> None:
        """Auto, light, dark, and again."""
        names = list(THEMES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self._dark.value = _DARK[self.theme]
        self.site.source.sessions.paint(self.session, self.theme)

    def build(self, title: str, here: str) -> None:
        """The parts around the page."""
        with self.client.layout:
            top = ui.element("header").classes("top")
            menu = ui.element("nav").classes("menu").props('aria-label="Pages"')
            self.message = Message()
        top.move(target_index=0)
        menu.move(target_index=1)
        with top:
            self._build_top()
        with menu:
            for path, name in PAGES:
                link = tag("a", name).props(f'href="{ROOT}{path}"')
                if path == here:
                    link.props('aria-current="page"')
        ui.skip_link("Skip to the page", target=tag("h1", title))

    def _build_top(self) -> None:
        tag("a", "nodegate").props(f'href="{ROOT}/"').classes("brand")
        state = ui.label("").classes("state").props('role="status"')

        def show(look: Look) -> None:
            status = look.status
            text = {"ok": "All is well", "starting": "Starting", "impaired": "Impaired"}[status.state]
            if status.pass_age_seconds > 30:
                text = f"No pass for {span(status.pass_age_seconds)}"
            state.set_text(text)
            kind = "s-up" if status.state == "ok" else "s-down" if status.state == "impaired" else "s-unknown"
            state.classes(replace=f"state status {kind}")

        self.show(show)
        ui.element("span").classes("grow")
        tag("span", "look only" if not self.may_write else "operator").classes("soft role")
        paint = tag("button").props('type="button" title="Light, dark, or as the device"').classes("quiet")

        def repaint() -> None:
            paint.set_text(THEMES[self.theme])
            paint.props["aria-label"] = f"Theme: {THEMES[self.theme]}"

        repaint()

        def press() -> None:
            self.next_theme()
            repaint()

        paint.on("click", press)
        with ui.element("form").props(f'method="post" action="{ROOT}/logout"'):
            tag("button", "Log out").props('type="submit"').classes("quiet")


class Message:
    """The line at the bottom that says what was done, with the button that takes it back."""

    def __init__(self) -> None:
        self._undo: Callable[[], Awaitable[None]] | None = None
        self._box = ui.element("div").classes("message").props('role="status" aria-live="polite"')
        with self._box:
            self._text = ui.label("")
            self._back = tag("button", "Undo").props('type="button"').classes("small")
            close = tag("button", "Close").props('type="button"').classes("small")
        self._back.on("click", self._pressed)
        close.on("click", self._hide)
        self._timer = ui.timer(UNDO_FOR, self._hide, active=False)
        self._hide()

    def say(self, text: str, *, bad: bool = False, undo: Callable[[], Awaitable[None]] | None = None) -> None:
        """Show a sentence; one that is bad news stays until it is closed."""
        self._undo = undo
        self._text.set_text(text)
        self._back.set_visibility(undo is not None)
        self._box.classes(add="shown", remove="" if bad else "bad")
        if bad:
            self._box.classes(add="bad")
        self._timer.active = False
        self._timer.active = not bad

    async def _pressed(self) -> None:
        undo = self._undo
        self._hide()
        if undo is not None:
            await undo()

    def _hide(self) -> None:
        self._undo = None
        self._timer.active = False
        self._text.set_text("")
        self._back.set_visibility(False)
        self._box.classes(remove="shown bad")


def tag(name: str, text: str = "") -> ui.label:
    """An HTML element that holds text, which is never read as HTML."""
    element = ui.label(text)
    element.tag = name
    return element


def button(text: str, press: Callable[[], object], *, main: bool = False, label: str = "") -> ui.label:
    """A button; `main` for the one that a page or a dialog is for. `label` where the text alone says too little."""
    # Quasar gives the focus back to the nearest element with a tabindex when a dialog is closed by a key.
    element = tag("button", text).classes("main" if main else "plain").props('type="button" tabindex="0"')
    if label:
        element.props["aria-label"] = label
    return element.on("click", press)


def enable(element: Element, on: bool) -> None:
    """Let a button be pressed, or not."""
    if on:
        element.props.pop("disabled", None)
    else:
        element.props["disabled"] = True
    element.update()


@contextmanager
def card(title: str, *classes: str) -> Iterator[Element]:
    """A titled part of a page."""
    with ui.element("section").classes("card " + " ".join(classes)) as box:
        heading = tag("h2", title)
        box.props(f'aria-labelledby="{heading.html_id}"')
        heading.props(f'id="{heading.html_id}"')
        yield box


def facts(rows: dict[str, str]) -> Callable[[dict[str, str]], None]:
    """A list of names and values; returns what sets the values anew."""
    values: dict[str, ui.label] = {}
    with ui.element("dl").classes("facts"):
        for name, text in rows.items():
            with ui.element("div"):
                tag("dt", name)
                values[name] = tag("dd", text)

    def put(fresh: dict[str, str]) -> None:
        for name, text in fresh.items():
            if name in values:
                values[name].set_text(text)

    return put


Build = Callable[[Frame], Awaitable[None]]


async def open_page(
    site: Site, client: Client, request: Request, title: str, here: str, build: Build
) -> None:
    """Build one page: its frame, its own part, a first look, and every look from now on."""
    name = request.scope[SESSION]
    session = site.source.sessions.get(name, site.source.now())
    if session is None:
        client.open(EXPIRED)
        return
    client.title = f"{title} · nodegate"
    ui.add_css(style())
    frame = Frame(site, client, session.id, session.role, session.theme)
    frame.build(title, here)
    await build(frame)
    frame.update(await site.hub.now())
    site.hub.watch(client.id, frame.update, lambda: client.has_socket_connection)
    client.on_delete(lambda: site.hub.leave(client.id))


@cache
def style() -> str:
    """The style sheet of all pages."""
    return (Path(__file__).parent / "assets" / "style.css").read_text("utf-8")
