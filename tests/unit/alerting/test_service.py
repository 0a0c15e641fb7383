"""What alerting does when its own file cannot be used for a while."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon_double import DaemonDouble, a_server, a_verdict, an_iri
from nodegate.alerting.service import Alerting
from nodegate.alerting.store import EventStore
from nodegate.errors import Unavailable
from nodegate.model import Seconds
from nodegate.settings import Settings
from nodegate.telemetry.kinds import Kind, event


class Lost(EventStore):
    """A file that cannot be read or written as long as a test says."""

    away = False

    async def _run(self, work: Any) -> Any:
        if self.away:
            raise Unavailable("the disk is full")
        return await super()._run(work)


async def test_what_happens_while_the_file_is_away_is_told_when_it_is_back(
    tmp_path: Path,
) -> None:
    daemon = DaemonDouble(tmp_path)
    daemon.add(an_iri("a"), a_verdict("a"), a_server("a"))
    settings = Settings.model_validate(
        {
            "alerts": {
                "group": 0,
                "default_rules": False,
                "rules": {"bans": {"on": ["banned"], "severity": "warning"}},
            }
        }
    )
    store = Lost(tmp_path / "events.db", keep_events=1000, keep=Seconds(1e9))
    alerting = Alerting(settings, store, {}, daemon.clock, gateway="gw1")
    daemon.refresh()
    alerting.published(daemon.snapshot)
    alerting.tell(event(daemon.clock.now(), Kind.BANNED, "client/192.0.2.7", "192.0.2.7 is banned"))
    store.away = True
    with pytest.raises(Unavailable):
        await alerting._judge()
    store.away = False
    await alerting._judge()
    assert ("bans", "client/192.0.2.7") in await store.alerts()
    await alerting._judge()
    assert len(alerting.firing()) == 1
    await store.close()
