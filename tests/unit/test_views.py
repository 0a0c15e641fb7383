from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon_double import T0, DaemonDouble, a_server, a_verdict, an_iri
from nodegate.model import (
    Change,
    ChangeKind,
    Failure,
    FailureKind,
    Instant,
    Observation,
    PoolView,
    Reading,
    Seconds,
    ServerState,
    ServerTraffic,
    Snapshot,
    Source,
    Status,
)
from nodegate.views import (
    NodeDetail,
    NodeRow,
    NodesDocument,
    StatusDocument,
    change_row,
    iso,
    node_detail,
    node_rows,
    nodes_document,
    span,
    status_document,
)


def test_times_are_iso_8601_in_utc_to_the_millisecond():
    assert iso(Instant(1_700_000_000.1234)) == "2023-11-14T22:13:20.123Z"
    assert iso(Instant(0.0)) == "1970-01-01T00:00:00.000Z"
    assert iso(None) is None


@given(st.floats(min_value=0, max_value=4e9))
@settings(max_examples=100, deadline=None)
def test_a_written_time_reads_back_as_the_same_millisecond(moment: float):
    text = iso(Instant(moment))
    assert text is not None
    assert abs(datetime.fromisoformat(text).timestamp() - moment) <= 0.001
    assert datetime.fromisoformat(text).tzinfo == UTC


@given(st.floats())
@settings(max_examples=100, deadline=None)
def test_any_number_as_a_time_is_a_text_or_nothing(moment: float):
    text = iso(Instant(moment))
    assert text is None or text.endswith("Z")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (99.4, "99 s"),
        (150, "2 min"),
        (5999, "100 min"),
        (7200, "2 h"),
        (172_799, "48 h"),
        (864_000, "10 d"),
    ],
)
def test_spans_are_read_at_a_glance(seconds: float, text: str):
    assert span(seconds) == text


def test_a_node_that_nothing_has_judged_is_unknown_and_says_so():
    daemon = DaemonDouble()
    daemon.add(an_iri("a", source=Source.FILE))
    [row] = nodes_document(daemon.snapshot).nodes
    assert (row.status, row.reasons, row.since) == (Status.UNKNOWN, ("not probed yet",), None)
    assert (row.serving, row.sessions, row.requests) == (False, 0, 0)
    assert row.source is Source.FILE


def test_what_haproxy_was_never_asked_is_not_known_rather_than_zero():
    daemon = DaemonDouble()
    daemon.add(an_iri("a"), a_verdict("a"))
    snapshot = replace(daemon.snapshot, running=None)
    [row] = nodes_document(snapshot).nodes
    assert (row.serving, row.sessions, row.requests, row.errors) == (None, None, None, None)
    [pool] = status_document(snapshot, now=T0, version="1").pools
    assert pool.serving is None


@pytest.mark.parametrize(
    ("fields", "serving"),
    [
        ({}, True),
        ({"weight": 0}, False),
        ({"state": ServerState.DRAIN}, False),
        ({"state": ServerState.MAINT}, False),
        ({"marked_down": True}, False),
    ],
)
def test_a_node_serves_only_if_haproxy_sends_it_new_requests(fields: dict[str, object], serving: bool):
    daemon = DaemonDouble()
    daemon.add(an_iri("a"), a_verdict("a"), a_server("a", **fields))
    [row] = nodes_document(daemon.snapshot).nodes
    assert row.serving is serving


def test_the_traffic_of_a_node_is_summed_over_its_backends():
    daemon = DaemonDouble()
    daemon.add(an_iri("a"), a_verdict("a"))
    daemon.servers = {
        "x": a_server("a", sessions=1),
        "y": a_server("a", backend="pool_main_heavy", sessions=2),
    }
    daemon.traffic = {"a": ServerTraffic(requests=5, errors=2)}
    daemon.refresh()
    [row] = nodes_document(daemon.snapshot).nodes
    assert (row.sessions, row.requests, row.errors) == (3, 10, 4)
    detail = node_detail(daemon.snapshot, "a")
    assert detail is not None
    assert [server.backend for server in detail.servers] == ["pool_main", "pool_main_heavy"]


def test_a_failed_probe_is_shown_with_its_kind_and_words():
    daemon = DaemonDouble()
    daemon.add(an_iri("a"))
    failure = Failure(kind=FailureKind.TLS, text="certificate expired")
    seen = Observation(node_id="a", at=T0, duration=Seconds(1), outcome=failure, address="192.0.2.1")
    detail = node_detail(replace(daemon.snapshot, observations={"a": seen}), "a")
    assert detail is not None
    assert detail.observed is not None
    assert (detail.observed.failure, detail.observed.text) == ("tls", "certificate expired")
    assert node_detail(daemon.snapshot, "b") is None


def test_documents_read_back_as_they_were_written():
    daemon = DaemonDouble()
    daemon.add(an_iri("a", options={"check_exposed": True}), a_verdict("a", reasons=("é",)), a_server("a"))
    document = nodes_document(daemon.snapshot)
    assert NodesDocument.model_validate_json(document.model_dump_json()) == document
    detail = node_detail(daemon.snapshot, "a")
    assert detail is not None
    assert NodeDetail.model_validate_json(detail.model_dump_json()) == detail
    status = status_document(daemon.snapshot, now=T0, version="1")
    assert StatusDocument.model_validate_json(status.model_dump_json()) == status


def test_a_newer_daemon_may_say_more_than_we_understand():
    text = '{"nodes": [], "weather": "fine"}'
    assert NodesDocument.model_validate_json(text).nodes == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(kind=ChangeKind.RELOAD, why="x"), "reload"),
        (
            Change(kind=ChangeKind.ADD, why="x", server=a_server("a")),
            "add pool_main/a at 192.0.2.1:14265, weight 100, ready",
        ),
        (
            Change(kind=ChangeKind.SET_ADDRESS, why="x", server=a_server("a")),
            "set address pool_main/a to 192.0.2.1:14265",
        ),
        (
            Change(kind=ChangeKind.SET_WEIGHT, why="x", server=a_server("a", weight=1)),
            "set weight pool_main/a to 1",
        ),
        (
            Change(kind=ChangeKind.SET_MAXCONN, why="x", server=a_server("a")),
            "set maxconn pool_main/a to no bound",
        ),
        (
            Change(kind=ChangeKind.SET_MAXCONN, why="x", server=a_server("a", maxconn=4)),
            "set maxconn pool_main/a to 4",
        ),
        (
            Change(kind=ChangeKind.SET_STATE, why="x", server=a_server("a", state=ServerState.MAINT)),
            "set state pool_main/a to maint",
        ),
        (Change(kind=ChangeKind.DELETE, why="x", server=a_server("a")), "delete pool_main/a"),
        (
            Change(kind=ChangeKind.SET_MAP, why="x", map_name="pools.map", entries={"/": "main"}),
            "set map pools.map (1 entries)",
        ),
    ],
)
def test_every_kind_of_change_is_said_in_words(change: Change, words: str):
    assert change_row(change).what == words


def test_pools_count_their_nodes_and_show_what_a_quorum_supports():
    daemon = DaemonDouble()
    for number, status in enumerate((Status.UP, Status.UP, Status.DEGRADED, Status.DOWN)):
        daemon.add(an_iri(f"n{number}"), a_verdict(f"n{number}", status, reasons=("x",)))
    daemon.add(an_iri("new"))
    daemon.servers = {"n0": a_server("n0"), "n3": a_server("n3", state=ServerState.MAINT)}
    daemon.refresh()
    view = PoolView(pool="main", height=9, height_at=Instant(T0 - 30), step=Seconds(60), voters=3, chain="C")
    empty = PoolView(pool="empty")
    judgement = replace(daemon.snapshot.judgement, pools={"main": view, "empty": empty})
    rows = status_document(replace(daemon.snapshot, judgement=judgement), now=T0, version="1").pools
    assert [row.name for row in rows] == ["empty", "main"]
    main = rows[1]
    assert (main.nodes, main.up, main.degraded, main.down, main.unknown, main.serving) == (5, 2, 1, 1, 1, 1)
    assert (main.height, main.height_age_seconds, main.step_seconds, main.voters, main.chain) == (
        9,
        30,
        60,
        3,
        "C",
    )


def test_the_status_of_a_start_that_cannot_read_its_registry():
    snapshot = Snapshot(
        at=T0, started_at=T0, registry_error="registry.db is no database", haproxy_error="not started"
    )
    document = status_document(snapshot, now=Instant(T0 + 3), version="1")
    assert document.state == "starting"
    assert document.registry.text == "registry.db is no database"
    assert document.haproxy.text == "not started"
    assert len(document.faults) == 2


def test_the_rows_of_a_list_have_exactly_the_fields_of_the_model():
    daemon = DaemonDouble()
    daemon.add(an_iri("a"), a_verdict("a"))
    [row] = node_rows(daemon.snapshot)
    assert list(row) == list(NodeRow.model_fields)


def test_half_a_surrogate_pair_from_a_node_does_not_break_a_document():
    daemon = DaemonDouble()
    daemon.add(an_iri("a"), a_verdict("a", Status.DOWN, reasons=("says \ud800",), version="\udfff"))
    seen = Observation(
        node_id="a",
        at=T0,
        duration=Seconds(1),
        outcome=Reading(app="\ud800", note="\ud800", features=("\ud800",)),
    )
    detail = node_detail(replace(daemon.snapshot, observations={"a": seen}), "a")
    assert detail is not None
    assert detail.model_dump_json()
    assert detail.reasons == ("says ?",)
