"""The pages once they are loaded. In a process of its own: NiceGUI is one per process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="the extra `dashboard` is not installed")

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from daemon_double import DaemonDouble, a_server, a_verdict, an_iri
from nodegate.daemon.history import History
from nodegate.dashboard.door import Dashboard

async def main():
    daemon = DaemonDouble(directory=Path(sys.argv[2]))
    daemon.add(an_iri("a"), a_verdict("a"), a_server("a"))
    dashboard = Dashboard(daemon.context(), History())
    app = await dashboard.ready()
    from nicegui import Client
    print(json.dumps({
        "files": [path for path, packed in app._kept if packed],
        "pages": len(Client.instances),
        "sessions": len(dashboard._source.sessions._by_id),
    }))
    await dashboard.close()

asyncio.run(main())
"""


def test_files_are_ready_when_the_pages_are_and_nothing_is_left_of_who_asked_for_them(tmp_path: Path) -> None:
    tests = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tests), str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    names = {path.rpartition("/")[2] for path in found["files"]}
    assert {"vue.esm-browser.prod.js", "quasar.umd.prod.js", "nicegui.js", "grid.js", "plot.js"} <= names
    assert not [path for path in found["files"] if "/esm/" in path]
    assert (found["pages"], found["sessions"]) == (0, 0)
    assert "fault of nodegate's own" not in done.stderr
