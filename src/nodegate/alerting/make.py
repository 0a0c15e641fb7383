"""Events and alerts as the settings want them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from nodegate.alerting.channels import channels_of
from nodegate.alerting.facts import DAY
from nodegate.alerting.service import Alerting
from nodegate.alerting.store import EventStore
from nodegate.model import Seconds
from nodegate.ports import Clock
from nodegate.settings import Settings
from nodegate.telemetry.kinds import Event


def make_alerting(
    settings: Settings, directory: Path, clock: Clock, *, heard: Sequence[Callable[[Iterable[Event]], None]]
) -> Alerting:
    """Events in `events.db` of the state directory, alerts by the channels of the settings. Raises BadDocument
    for rules that contradict themselves."""
    alerts = settings.alerts
    store = EventStore(
        directory / "events.db", keep_events=alerts.keep_events, keep=Seconds(alerts.keep_days * DAY)
    )
    return Alerting(settings, store, channels_of(settings), clock, gateway=os.uname().nodename, heard=heard)
