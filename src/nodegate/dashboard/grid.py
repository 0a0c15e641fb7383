"""Tables as the pages show them: sorted, filtered and cut on the server, so that a fleet of thousands costs a
page no more than what it shows. Only what changed is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nicegui import events, ui
from nicegui.element import Element

from nodegate.dashboard.frame import button, enable
from nodegate.dashboard.words import plural

PAGE = 25
"""Rows of one page of a table."""

Cell = Literal["text", "number", "link", "status", "reasons", "button", "code"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`name` is the field of a row. `key` orders rows by it, None: cannot be sorted. `extra` columns go first when
    the screen is narrow. `line` is the field of a small line that is drawn under the value, "" for none."""

    name: str
    label: str
    cell: Cell = "text"
    key: Callable[[Row], Any] | None = None
    extra: bool = field(default=False)
    line: str = ""

    def props(self, order: str | None) -> dict[str, Any]:
        """The column as `Table` wants it."""
        return {
            "name": self.name, "label": self.label, "cell": self.cell,
            "sorts": self.key is not None, "order": order, "extra": self.extra, "line": self.line,
        }  # fmt: skip


class Table(Element, component=Path("assets") / "grid.js"):
    """The table as the browser draws it."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.props["label"] = label
        self.props["columns"] = []
        self.props["rows"] = []


class Grid:
    """One table. `label` names it to screen readers, `noun` is what a row is.

    `words` gives the text that the filter looks in, None: there is no filter.
    """

    def __init__(
        self,
        *,
        label: str,
        noun: str,
        columns: Sequence[Column],
        sort: tuple[str, bool] | None = None,
        words: Callable[[Row], str] | None = None,
        finish: Callable[[list[Row]], list[Row]] | None = None,
        on_act: Callable[[str, str], Awaitable[None]] | None = None,
        empty: str = "Nothing here.",
    ) -> None:
        self._columns = {column.name: column for column in columns}
        self._noun = noun
        self._sort = sort
        self._words = words
        self._finish = finish
        self._rows: list[Row] = []
        self._filter = ""
        self._page = 0
        self._empty = empty
        self.choose: Callable[[Row], bool] | None = None
        self.tools = ui.element("div").classes("tools")
        with self.tools:
            if words is not None:
                self._search = (
                    ui.input(label=f"Filter {noun}s", on_change=self._filtered)
                    .props("outlined dense clearable debounce=250")
                    .classes("search")
                )
        with ui.element("div").classes("tablebox"):
            self._table = Table(label)
        self._table.on("sort", self._sorted)
        if on_act is not None:
            self._act = on_act
            self._table.on("act", self._acted)
        with ui.element("div").classes("pager"):
            self._count = ui.label("").classes("soft")
            self._older = button("Previous", lambda: self._turn(-1), label=f"Previous page of {label}")
            self._newer = button("Next", lambda: self._turn(1), label=f"Next page of {label}")
        self._put_columns()

    def show(self, rows: Iterable[Row]) -> None:
        """All rows, in any order."""
        self._rows = list(rows)
        self.again()

    def again(self) -> None:
        """Sort, filter and cut anew, and send what changed."""
        chosen = [row for row in self._rows if self._wants(row)]
        if self._sort is not None:
            name, down = self._sort
            key = self._columns[name].key
            assert key is not None
            chosen.sort(key=lambda row: _orderly(key(row)), reverse=down)
        pages = max(1, -(-len(chosen) // PAGE))
        self._page = min(self._page, pages - 1)
        cut = chosen[self._page * PAGE : (self._page + 1) * PAGE]
        shown = self._finish(cut) if self._finish is not None else cut
        if shown != self._table.props["rows"]:
            self._table.props["rows"] = shown
            self._table.update()
        self._say(len(chosen), pages)

    def _say(self, count: int, pages: int) -> None:
        text = plural(count, self._noun) if count else self._empty
        if count != len(self._rows):
            text = f"{count:,} of {plural(len(self._rows), self._noun)}"
        if pages > 1:
            text += f", page {self._page + 1} of {pages}"
        self._count.set_text(text)
        for turn, on in ((self._older, self._page > 0), (self._newer, self._page < pages - 1)):
            turn.set_visibility(pages > 1)
            if on is ("disabled" in turn.props):
                enable(turn, on)

    def _wants(self, row: Row) -> bool:
        if self.choose is not None and not self.choose(row):
            return False
        return not self._filter or self._words is None or self._filter in self._words(row).casefold()

    def _put_columns(self) -> None:
        name, down = self._sort or ("", False)
        order = "descending" if down else "ascending"
        self._table.props["columns"] = [
            column.props(order if column.name == name else None) for column in self._columns.values()
        ]
        self._table.update()

    def _filtered(self, event: events.ValueChangeEventArguments[str | None]) -> None:
        self._filter, self._page = str(event.value or "").strip().casefold(), 0
        self.again()

    def _sorted(self, event: events.GenericEventArguments) -> None:
        column = self._columns.get(str(event.args))
        if column is None or column.key is None:
            return
        down = self._sort == (column.name, False)
        self._sort, self._page = (column.name, down), 0
        self._put_columns()
        self.again()

    async def _acted(self, event: events.GenericEventArguments) -> None:
        args = event.args
        if isinstance(args, Mapping):
            await self._act(str(args.get("act", "")), str(args.get("id", "")))

    def _turn(self, by: int) -> None:
        self._page = max(0, self._page + by)
        self.again()


def _orderly(value: Any) -> tuple[bool, Any]:
    """What is not known stands below all that is."""
    return (value is not None, 0 if value is None else value)
