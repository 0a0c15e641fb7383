"""docs/configuration.md tells every setting with its default, and the example in docs runs."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
from pydantic.fields import FieldInfo

from nodegate.settings import (
    AlertsSettings,
    AuthScheme,
    ChannelSettings,
    ClusterSettings,
    DashboardSettings,
    FabioSettings,
    GatewaySettings,
    HealthSettings,
    MailSettings,
    NodeSettings,
    PoolSettings,
    PortalSettings,
    ProbeSettings,
    RegistrySettings,
    RuleSettings,
    SafetySettings,
    ScalingSettings,
    Section,
    Settings,
    load_settings,
)

DOCS = Path(__file__).parents[2] / "docs"

SECTIONS: dict[str, type[Section]] = {
    "[gateway]": GatewaySettings,
    "[probe]": ProbeSettings,
    "[health]": HealthSettings,
    "[safety]": SafetySettings,
    "[registry]": RegistrySettings,
    "[cluster]": ClusterSettings,
    "[dashboard]": DashboardSettings,
    "[mail]": MailSettings,
    "[alerts]": AlertsSettings,
    "[alerts.channels.NAME]": ChannelSettings,
    "[alerts.rules.NAME]": RuleSettings,
    "[portal]": PortalSettings,
    "[fabio]": FabioSettings,
    "[fabio.auth.NAME]": AuthScheme,
    "[pools.NAME]": PoolSettings,
    "[pools.NAME.scaling]": ScalingSettings,
    "[[nodes]]": NodeSettings,
}


def shown_default(field: FieldInfo) -> str:
    """The default as one would write it in TOML."""
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    return "none" if value is None else f"`{json.dumps(value)}`"


def shown_bounds(field: FieldInfo) -> str:
    """The values that are taken, where the type alone does not say it."""
    literal = next(
        (one for one in (field.annotation, *get_args(field.annotation)) if get_origin(one) is Literal), None
    )
    if literal is not None:
        return ", ".join(f"`{word}`" for word in get_args(literal))
    signs = (
        (annotated_types.Gt, "gt", "> "),
        (annotated_types.Ge, "ge", "≥ "),
        (annotated_types.Le, "le", "≤ "),
        (annotated_types.MinLen, "min_length", "items ≥ "),
    )
    bounds = [
        f"{sign}{getattr(item, attribute)}"
        for item in field.metadata
        for kind, attribute, sign in signs
        if isinstance(item, kind)
    ]
    return ", ".join(bounds)


def documented() -> dict[str, dict[str, list[str]]]:
    """Section → key → cells of its row after the key: default, unit, allowed, meaning."""
    sections: dict[str, dict[str, list[str]]] = {}
    rows: dict[str, list[str]] = {}
    for line in (DOCS / "configuration.md").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"## `(.+)`.*", line):
            rows = sections.setdefault(heading.group(1), {})
        elif line.startswith("| `"):
            key, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert key not in rows, f"{key} has two rows"
            rows[key.strip("`")] = cells
    return sections


def test_every_section_is_a_model_and_every_model_a_section() -> None:
    assert set(documented()) == set(SECTIONS)
    assert {name.strip("[]").partition(".")[0] for name in SECTIONS} == set(Settings.model_fields)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_stands_there_with_default_bounds_and_meaning(section: str) -> None:
    fields = SECTIONS[section].model_fields
    rows = documented()[section]
    assert list(rows) == list(fields)
    assert {key: (cells[0], cells[2]) for key, cells in rows.items()} == {
        name: (shown_default(field), shown_bounds(field)) for name, field in fields.items()
    }
    assert [key for key, cells in rows.items() if len(cells) != 4 or len(cells[3]) < 10] == []


def test_the_example_loads_and_shows_every_section() -> None:
    path = DOCS / "nodegate.example.toml"
    loaded = load_settings(path, {})
    assert set(tomllib.loads(path.read_text(encoding="utf-8"))) == set(Settings.model_fields)
    assert loaded.nodes
    assert loaded.pools


def test_every_line_that_the_example_has_commented_out_could_be_used(tmp_path: Path) -> None:
    """Lines such as `# haproxy = …` are settings too; a name that is not one any more must not stand there."""
    text = (DOCS / "nodegate.example.toml").read_text(encoding="utf-8")
    section = ""
    checked = 0
    for line in text.splitlines():
        if header := re.fullmatch(r"(?:# )?\[+([a-z]+)[^\]]*\]+", line):
            section = header.group(1)
        elif setting := re.fullmatch(r"# ([a-z_]+) = .+", line):
            model = next(
                model for name, model in SECTIONS.items() if name.strip("[]").partition(".")[0] == section
            )
            assert setting.group(1) in model.model_fields, line
            tomllib.loads(line.removeprefix("# "))
            checked += 1
    assert checked >= 3


def test_the_toml_blocks_of_the_page_load(tmp_path: Path) -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.toml"
        path.write_text(block, encoding="utf-8")
        load_settings(path, {})
