"""`[dashboard]`: the web pages on the admin address."""

from __future__ import annotations

from pydantic import Field

from nodegate.settings.base import Section


class DashboardSettings(Section):
    """Who may look at the gateway with a browser, and for how long."""

    enabled: bool = Field(
        True,
        description="serve the dashboard under /ui on the admin address; nothing of it is loaded before somebody opens it",
    )
    session_idle: float = Field(
        3600.0,
        ge=10,
        le=604_800,
        description="seconds without a click after which one has to log in again; pages that only stand open do not count as clicks",
    )
    session_max: float = Field(
        43_200.0, ge=10, le=604_800, description="seconds after which one has to log in again in any case"
    )
