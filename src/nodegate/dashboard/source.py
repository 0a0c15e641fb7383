"""What the pages read and call, in one value; chosen in `nodegate.wiring`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nodegate.api.context import ApiContext
from nodegate.daemon.history import History
from nodegate.dashboard.sessions import Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`context` is the admin API's: the dashboard reads and writes what it does, by the same functions.
    `now` is a clock for sessions, in seconds."""

    context: ApiContext
    history: History
    sessions: Sessions
    now: Callable[[], float]
