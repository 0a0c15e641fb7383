"""Events as they happen."""

from __future__ import annotations

from urllib.parse import quote

from nicegui import ui

from nodegate.dashboard.frame import ROOT, Frame, tag
from nodegate.dashboard.hub import Look
from nodegate.dashboard.words import clock
from nodegate.telemetry.kinds import Event
from nodegate.views import iso


class News:
    """The newest events first; `most` of them."""

    def __init__(self, frame: Frame, *, most: int) -> None:
        self._frame = frame
        self._most = most
        self._shown: tuple[Event, ...] | None = None
        self._list = ui.element("ul").classes("news").props('tabindex="0" aria-label="Events, newest first"')
        self._none = ui.label("Nothing has happened yet.").classes("soft")
        frame.show(self._show)

    def _show(self, look: Look) -> None:
        events = self._frame.site.source.history.events()[-self._most :]
        if events == self._shown:
            return
        self._shown = events
        self._none.set_visibility(not events)
        self._list.set_visibility(bool(events))
        self._list.clear()
        with self._list:
            for event in reversed(events):
                _item(event)


def _item(event: Event) -> None:
    with ui.element("li"):
        tag("time", clock(event.at)).props(f'datetime="{iso(event.at)}"')
        tag("span", event.severity.value).classes(f"status s-{event.severity.value}")
        with ui.element("div"):
            about, _, name = event.subject.partition("/")
            if about == "node":
                tag("span", event.text + " ")
                link = tag("a", "look")
                link.props["href"] = f"{ROOT}/nodes/{quote(name, safe='')}"
                link.props["aria-label"] = f"look at {name}"
            else:
                tag("span", event.text)
