"""Finding adapters by entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from nodegate import protocols
from nodegate.errors import NotFound, Unavailable
from nodegate.model import Node


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace what is installed; the cache is emptied before and after."""

    def install(*points: EntryPoint) -> None:
        monkeypatch.setattr(protocols, "entry_points", lambda group: EntryPoints(points))
        protocols.adapters.cache_clear()

    yield install
    protocols.adapters.cache_clear()


def a_point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=protocols.GROUP)


def test_the_kinds_that_come_with_nodegate_are_found() -> None:
    found = protocols.adapters()
    assert {"iri", "evm", "http"} <= set(found)
    assert all(found[kind].kind == kind for kind in ("iri", "evm", "http"))
    assert protocols.adapter_of("iri") is found["iri"]


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match="no node kind 'btc'; known are evm, http, iri"):
        protocols.adapter_of("btc")


@pytest.mark.parametrize("value", ["no_such_module:X", "nodegate.protocols.iri:NoSuch"])
def test_a_kind_that_cannot_be_loaded_is_no_silent_gap(installed: Any, value: str) -> None:
    installed(a_point("iri", "nodegate.protocols.iri:Iri"), a_point("odd", value))
    with pytest.raises(Unavailable, match=r"'odd'.*cannot be loaded"):
        protocols.adapters()


def test_two_packages_cannot_claim_one_kind(installed: Any) -> None:
    installed(a_point("iri", "nodegate.protocols.iri:Iri"), a_point("iri", "nodegate.protocols.evm:Evm"))
    with pytest.raises(Unavailable, match="two packages claim the node kind 'iri'"):
        protocols.adapters()


@pytest.mark.parametrize("kind", ["iri", "evm", "http"])
def test_every_option_of_a_kind_is_documented(kind: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "node-kinds.md").read_text()
    section = page.split(f"\n## {kind}\n")[1].split("\n## ")[0]
    unknown = Node(id="n", url="http://192.0.2.1", kind=kind, options={"no-such": 1})
    (fault,) = protocols.adapter_of(kind).faults(unknown)
    names = fault.split("known are ")[1].split(", ")
    assert len(names) >= 2
    assert [name for name in names if f"| `{name}` |" not in section] == []
