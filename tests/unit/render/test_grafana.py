from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nodegate.render.grafana import GATEWAY, HAPROXY, render_grafana

MODULES = Path(__file__).parents[2] / "js" / "node_modules"
TSC = MODULES / "typescript" / "bin" / "tsc"
SCHEMA = MODULES / "@grafana" / "schema"
TYPE = "@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen"


def boards() -> dict[str, dict[str, Any]]:
    return {file.path: json.loads(file.text) for file in render_grafana() if file.path.endswith(".json")}


@pytest.mark.parametrize("board", boards().values(), ids=boards())
def test_panels_lie_side_by_side_and_none_covers_another(board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("board", boards().values(), ids=boards())
def test_ids_are_unique_and_every_query_asks_the_chosen_source_and_gateway(board: dict[str, Any]) -> None:
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'instance=~"$instance"' in target["expr"]
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names == ["datasource", "instance"]


def test_every_panel_of_the_tables_is_in_its_dashboard() -> None:
    titles = {path: [panel["title"] for panel in board["panels"]] for path, board in boards().items()}
    assert titles["dashboards/nodegate.json"] == [panel.title for panel in GATEWAY]
    assert titles["dashboards/nodegate-haproxy.json"] == [panel.title for panel in HAPROXY]


def test_the_provider_names_the_directory_where_the_dashboards_belong() -> None:
    files = {file.path: file for file in render_grafana()}
    [provider] = yaml.safe_load(files["provisioning/nodegate.yml"].text)["providers"]
    assert files["dashboards/nodegate.json"].install.startswith(provider["options"]["path"] + "/")


@pytest.mark.npm
@pytest.mark.skipif(
    not (TSC.exists() and SCHEMA.is_dir()), reason="npm packages typescript and @grafana/schema are missing"
)
def test_grafanas_own_types_take_the_dashboards(tmp_path: Path) -> None:
    node = shutil.which("node") or str(Path(__file__).parents[3] / ".venv" / "bin" / "node")
    (tmp_path / "node_modules").symlink_to(MODULES)
    sources = []
    for number, board in enumerate(boards().values()):
        source = tmp_path / f"board{number}.ts"
        text = f"import type {{ Dashboard }} from '{TYPE}';\nexport const board: Dashboard = {json.dumps(board)};\n"
        source.write_text(text)
        sources.append(str(source))
    options = [
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--moduleResolution",
        "bundler",
        "--module",
        "esnext",
        "--target",
        "es2022",
    ]

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [node, str(TSC), *options, *sources], capture_output=True, text=True, cwd=tmp_path, check=False
        )

    found = check()
    assert found.returncode == 0, found.stdout
    Path(sources[0]).write_text(
        Path(sources[0]).read_text().replace('"schemaVersion": 39', '"schemaVersion": "39"')
    )
    assert "'string' is not assignable to type 'number'" in check().stdout  # the types do look
