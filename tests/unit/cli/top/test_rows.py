from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.cli.top.feed import Look, MethodRow
from nodegate.cli.top.rows import EVENTS, FIRST_SORT, METHODS, MOST, NODES, PANES, head, shown, sortable
from nodegate.model import Intent, Source, Status
from nodegate.views import StatusDocument
from nodegate.views.events import EventRow
from nodegate.views.models import HaproxyView, NodeRow, RegistryView

STATUS = StatusDocument(
    version="1", state="ok", started_at=None, uptime_seconds=1, passes=1, pass_ms=1, pass_age_seconds=0,
    registry=RegistryView(ok=True, text="", index=1, nodes=1, age_seconds=0),
    haproxy=HaproxyView(ok=True, text="", pid=1, uptime_seconds=1),
    pools=(), changes=0, withheld=0, faults=(),
)  # fmt: skip


def node(name: str, **fields: Any) -> NodeRow:
    given = {
        "id": name, "url": "http://n", "kind": "iri", "pool": "main", "intent": Intent.SERVE, "status": Status.UP,
        "reasons": (), "height": None, "lag": None, "latency_ms": None, "since": None, "source": Source.REGISTRY,
        "weight": 100, "maxconn": None, "tls_verify": True, "options": {}, "version": 1, "software_version": None,
        "peers": None, "address": None, "serving": True, "sessions": 0, "requests": 0, "errors": 0,
    }  # fmt: skip
    return NodeRow(**given | fields)


def method(name: str, requests: int) -> MethodRow:
    return MethodRow(kind="iri", method=name, requests=requests, errors=0, failures=0, rate=None)


def keys(pane: Any, look: Look, title: str, *, backwards: bool = False, wanted: str = "") -> list[str]:
    sort = [column.title for column in pane.columns].index(title)
    return list(shown(pane, look, sort=sort, backwards=backwards, wanted=wanted).keys)


def test_sick_nodes_stand_first_and_equals_by_name() -> None:
    look = Look(status=STATUS, nodes=(node("b"), node("a"), node("c", status=Status.DOWN)))
    assert keys(NODES, look, "STATUS") == ["c", "a", "b"]


def test_what_is_not_known_stands_last_either_way() -> None:
    look = Look(status=STATUS, nodes=(node("a"), node("b", height=5), node("c", height=9)))
    assert keys(NODES, look, "HEIGHT") == ["c", "b", "a"]
    assert keys(NODES, look, "HEIGHT", backwards=True) == ["b", "c", "a"]


def test_a_filter_looks_in_reasons_and_pools_in_any_case() -> None:
    look = Look(status=STATUS, nodes=(node("a", reasons=("Too far behind",)), node("b", pool="spare")))
    assert keys(NODES, look, "NODE", wanted="FAR") == ["a"]
    assert keys(NODES, look, "NODE", wanted=" spare ") == ["b"]
    assert shown(NODES, look, sort=0, backwards=False, wanted="nothing").hidden == 2


def test_much_used_methods_and_the_newest_events_stand_first() -> None:
    events = tuple(
        EventRow(id=n, at="2024-05-01T12:00:00Z", kind="x", severity="info", subject="s", text="t", data={})
        for n in (1, 2, 10)
    )
    look = Look(status=STATUS, methods=(method("a", 1), method("b", 7)), events=events)
    assert keys(METHODS, look, "REQUESTS") == ["iri b", "iri a"]
    first = shown(EVENTS, look, sort=FIRST_SORT["events"], backwards=False, wanted="")
    assert [int(key) for key in first.keys] == [10, 2, 1]
    assert first.cells[0][0].plain == "12:00:00"


def test_a_large_fleet_is_cut_after_what_stands_first() -> None:
    look = Look(status=STATUS, nodes=tuple(node(f"n{n:04}", height=n) for n in range(1000)))
    found = shown(NODES, look, sort=3, backwards=False, wanted="")
    assert (len(found.keys), len(found.cells), found.more, found.hidden) == (MOST, MOST, 1000 - MOST, 0)
    assert found.keys[0] == "n0999"


def test_the_head_counts_and_says_what_is_wrong() -> None:
    look = Look(status=STATUS, nodes=(node("a"), node("b", status=Status.DOWN)), rates={"a": 2.0, "b": 3.0})
    text = head(look, "http://admin").plain
    assert "5 requests/s" in text
    assert "1 up" in text
    assert "1 down" in text


def test_every_pane_starts_with_an_order_that_it_has() -> None:
    assert {pane.id for pane in PANES} == set(FIRST_SORT)
    for pane in PANES:
        assert FIRST_SORT[pane.id] in sortable(pane)


NODE_ROWS = st.lists(
    st.builds(
        node,
        st.text("abcd", min_size=1, max_size=4),
        status=st.sampled_from(Status),
        intent=st.sampled_from(Intent),
        height=st.none() | st.integers(0, 9),
        latency_ms=st.none() | st.floats(0, 9),
        errors=st.none() | st.integers(0, 9),
        reasons=st.tuples(st.text(max_size=5)),
        since=st.none() | st.just("2024-05-01T12:00:00+00:00"),
    ),
    max_size=8,
    unique_by=lambda row: row.id,
)


@settings(max_examples=150, deadline=None)
@given(NODE_ROWS, st.booleans(), st.text(max_size=2), st.data())
def test_any_rows_in_any_order_are_all_there_or_hidden(
    rows: list[NodeRow], backwards: bool, wanted: str, data: st.DataObject
) -> None:
    look = Look(status=STATUS, nodes=tuple(rows), rates={row.id: 1.0 for row in rows[::2]})
    sort = data.draw(st.sampled_from(sortable(NODES)))
    found = shown(NODES, look, sort=sort, backwards=backwards, wanted=wanted)
    assert len(found.keys) + found.hidden == len(rows)
    assert len(set(found.keys)) == len(found.keys)
    assert all(len(cells) == len(NODES.columns) for cells in found.cells)
    if not wanted.strip():
        assert sorted(found.keys) == sorted(row.id for row in rows)
