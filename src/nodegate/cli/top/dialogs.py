"""Questions and help over the panes."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """\
Tab, 1-4      next pane; nodes, methods, clients, events
Up, Down      choose a row; PgUp, PgDn, Home, End too
d             drain the node: no new requests, those under way finish
s             let the node serve again
b, u          ban the client for ten minutes; let it in again
/             filter the rows; Enter keeps it, Escape ends it
o, O          sort by the next column; turn the order
r             look now
q             quit

Nothing is changed before you say yes."""


class Confirm(ModalScreen[bool]):
    """Asks before something is changed; only `y` means yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q,enter", "answer(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(Text(self._question))
            yield Static(Text("\ny: yes   n: no", "bold"))

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        self.dismiss(yes)


class Help(ModalScreen[None]):
    """The keys; any of the usual ones closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,question_mark,space", "close", "close")]

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(Text(HELP))

    def action_close(self) -> None:
        """Back to the panes."""
        self.dismiss(None)
