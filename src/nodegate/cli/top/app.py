"""The application: panes on a screen, keys, and a look every few seconds."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from nodegate.cli.output import clean
from nodegate.cli.top.deeds import Deed, deed
from nodegate.cli.top.dialogs import Confirm, Help
from nodegate.cli.top.feed import Daemon, Feed, Look
from nodegate.cli.top.rows import FIRST_SORT, PANES, Pane, Shown, head, shown, sortable
from nodegate.errors import NodegateError
from nodegate.views import span

INTERVAL = 2.0
CSS = """
#head { height: 2; }
#note { height: 1; }
#filter { height: 1; border: none; padding: 0; display: none; }
TabbedContent { height: 1fr; }
TabPane { padding: 0; }
DataTable { height: 1fr; }
Confirm, Help { align: center middle; }
.box { width: auto; max-width: 76; height: auto; padding: 1 2; border: round $primary; background: $surface; }
.box Static { width: auto; }
"""


class Top(App[None]):
    """`nodegate top`. `first` is a look that was made before the screen was taken."""

    CSS = CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "turn(1)", "pane", priority=True),
        Binding("shift+tab", "turn(-1)", "pane", show=False, priority=True),
        *(Binding(str(place), f"pane('{pane.id}')", show=False) for place, pane in enumerate(PANES, 1)),
        Binding("d", "change('drain')", "drain"),
        Binding("s", "change('serve')", "serve"),
        Binding("b", "change('ban')", "ban"),
        Binding("u", "change('unban')", "unban"),
        Binding("slash", "filter", "filter", key_display="/", priority=True),
        Binding("o", "sort", "sort"),
        Binding("O", "turn_order", "turn", show=False),
        Binding("r", "look", "look", show=False),
        Binding("escape", "unfilter", "all", show=False),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, daemon: Daemon, feed: Feed, first: Look, *, interval: float = INTERVAL) -> None:
        super().__init__()
        self._daemon = daemon
        self._feed = feed
        self._look = first
        self._interval = interval
        self._lost: tuple[float, str] | None = None
        self._wanted = dict.fromkeys(FIRST_SORT, "")
        self._sort = dict(FIRST_SORT)
        self._backwards = dict.fromkeys(FIRST_SORT, False)
        self._on_screen: dict[str, Shown] = {}
        self._hurry = asyncio.Event()

    # --- the screen ---

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        with TabbedContent(id="panes"):
            for pane in PANES:
                with TabPane(pane.title, id=pane.id):
                    yield DataTable(id=f"{pane.id}-table", cursor_type="row", zebra_stripes=True)
        yield Input(id="filter", placeholder="show only rows with…")
        yield Static(id="note")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Columns, the first look, and the loop."""
        for pane in PANES:
            self._table(pane.id).add_columns(*(column.title for column in pane.columns))
        self._paint()
        self._table().focus()
        self._follow()

    @work(exclusive=True, group="feed")
    async def _follow(self) -> None:
        """Look again and again. A gateway that is away is said, and is there again when it is."""
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            try:
                self._look = await asyncio.to_thread(self._feed.look)
            except NodegateError as error:
                self._lost = (self._lost[0] if self._lost else time.monotonic(), str(error))
            else:
                if self._lost is not None:
                    self.notify("the gateway answers again")
                self._lost = None
            self._paint()

    def _paint(self) -> None:
        for pane in PANES:
            self._fill(pane)
        text = head(self._look, self._daemon.url)
        if self._lost is not None:
            since, why = self._lost
            text = Text(f"connection lost {span(time.monotonic() - since)} ago, trying again\n", "bold red")
            text.append(clean(why).replace("\n", " "))
        self.query_one("#head", Static).update(text)
        self._tell()

    def _fill(self, pane: Pane[Any]) -> None:
        """Bring a table to what it should be: cell by cell where its rows stay, so that nothing flickers."""
        table = self._table(pane.id)
        before = self._on_screen.get(pane.id)
        sort, backwards = self._sort[pane.id], self._backwards[pane.id]
        now = shown(pane, self._look, sort=sort, backwards=backwards, wanted=self._wanted[pane.id])
        self._on_screen[pane.id] = now
        if before is not None and before.keys == now.keys:
            for place, (old, new) in enumerate(zip(before.cells, now.cells, strict=True)):
                for column, (was, cell) in enumerate(zip(old, new, strict=True)):
                    if was != cell:
                        # Measuring a whole column again for each cell would cost more than all else.
                        grows = cell.cell_len > table.ordered_columns[column].content_width
                        table.update_cell_at(Coordinate(place, column), cell, update_width=grows)
            return
        chosen = self._chosen(before, table)
        table.clear()
        for key, cells in zip(now.keys, now.cells, strict=True):
            table.add_row(*cells, key=key)
        if chosen in now.keys:
            table.move_cursor(row=now.keys.index(chosen), animate=False)

    def _tell(self) -> None:
        """The line above the keys: filter, order, and what this pane lacks."""
        pane = self._pane()
        now = self._on_screen[pane.id]
        turned = ", turned" if self._backwards[pane.id] else ""
        first = f"first {len(now.keys)} of " if now.more else ""
        many = len(now.keys) + now.more
        text = Text(
            f"{first}{many:,} rows by {pane.columns[self._sort[pane.id]].title.lower()}{turned}", "dim"
        )
        if self._wanted[pane.id]:
            text.append(f", with “{clean(self._wanted[pane.id])}” ({now.hidden} hidden)", "bold cyan")
        trouble = self._look.troubles.get(pane.id)
        if trouble:
            text = Text(clean(trouble).replace("\n", " "), "yellow")
        elif not now.keys and not now.hidden:
            text = Text(pane.empty, "dim")
        self.query_one("#note", Static).update(text)

    # --- keys ---

    def action_turn(self, step: int) -> None:
        """Tab: the next pane."""
        places = [pane.id for pane in PANES]
        self.action_pane(places[(places.index(self._pane().id) + step) % len(places)])

    def action_pane(self, name: str) -> None:
        """Show a pane."""
        self.query_one("#panes", TabbedContent).active = name
        self._table(name).focus()

    def on_tabbed_content_tab_activated(self) -> None:
        """A pane came up, by key or by mouse."""
        if self._on_screen:
            self._tell()

    def action_sort(self) -> None:
        """By the next column that can be sorted by."""
        pane = self._pane()
        places = sortable(pane)
        self._sort[pane.id] = places[(places.index(self._sort[pane.id]) + 1) % len(places)]
        self._backwards[pane.id] = False
        self._paint()

    def action_turn_order(self) -> None:
        """The other way round."""
        name = self._pane().id
        self._backwards[name] = not self._backwards[name]
        self._paint()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Within the filter a slash is a letter; over a question it is nothing."""
        del parameters
        typing = self.focused is not None and self.focused.id == "filter"
        return not (action == "filter" and (typing or len(self.screen_stack) > 1))

    def action_filter(self) -> None:
        """Ask for a filter."""
        field = self.query_one("#filter", Input)
        field.value = self._wanted[self._pane().id]
        field.display = True
        # At once, and "/" goes before all: what is typed next is for the filter, and letters are commands elsewhere.
        self.screen.set_focus(field)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        if event.input.display:
            self._wanted[self._pane().id] = event.value
            self._paint()

    def on_input_submitted(self) -> None:
        """Enter keeps the filter."""
        self._close_filter()

    def action_unfilter(self) -> None:
        """Escape ends it."""
        self._wanted[self._pane().id] = ""
        self._close_filter()
        self._paint()

    def action_look(self) -> None:
        """Look now."""
        self._hurry.set()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def action_change(self, name: str) -> None:
        """Ask, then change what is chosen."""
        pane = self._pane().id
        wanted = deed(name, self._look, pane, self._chosen(self._on_screen.get(pane), self._table(pane)))
        if isinstance(wanted, str):
            self.notify(clean(wanted), severity="warning", markup=False)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._change(wanted)

        self.push_screen(Confirm(clean(wanted.question)), answered)

    @work(group="change")
    async def _change(self, wanted: Deed) -> None:
        try:
            done = await asyncio.to_thread(wanted.do, self._daemon)
        except NodegateError as error:
            self.notify(clean(str(error)), title="not changed", severity="error", markup=False, timeout=10)
            return
        self.notify(clean(done), markup=False)
        self._hurry.set()

    # --- where things are ---

    def _pane(self) -> Pane[Any]:
        active = self.query_one("#panes", TabbedContent).active
        return next((pane for pane in PANES if pane.id == active), PANES[0])

    def _table(self, name: str | None = None) -> DataTable[Text]:
        return self.query_one(f"#{name or self._pane().id}-table", DataTable)

    @staticmethod
    def _chosen(on_screen: Shown | None, table: DataTable[Text]) -> str | None:
        place = table.cursor_row
        return on_screen.keys[place] if on_screen is not None and 0 <= place < len(on_screen.keys) else None

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).display = False
        self._table().focus()
