from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from daemon_double import T0, DaemonDouble, SetClock, a_server, a_verdict, an_iri
from nodegate.dataplane.tables import Ban, MethodCount, RuleCount, Tables
from nodegate.model import (
    Change,
    ChangeKind,
    Failure,
    FailureKind,
    Instant,
    Judgement,
    Observation,
    Plan,
    PoolView,
    Reading,
    Seconds,
    Snapshot,
    Status,
    Withheld,
)
from nodegate.telemetry import Event, Names, Telemetry, configure_logging, record, say_pass
from nodegate.telemetry.kinds import Kind, Severity, event
from nodegate.views.cluster import GatewaysDocument

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
HELD = Withheld(
    change=Change(kind=ChangeKind.SET_STATE, why="a is down", server=a_server("a")),
    rule="last server",
    why="1 of 1",
)


COUNTS = Tables(
    methods=(
        MethodCount(kind="iri", method="getTips", requests=3, rate=1, errors=1, failures=0, bytes_out=9),
    ),
    rules=(RuleCount(kind="iri", rule="rate", refused=2, rate=1),),
    bans=(
        Ban(client="192.0.2.1", until=T0, automatic=True),
        Ban(client="192.0.2.2", until=T0, automatic=False),
    ),
)


def samples(telemetry: Telemetry) -> dict[str, float]:
    """`name{label=value,…}` → value, labels in order."""
    found = {}
    for family in text_string_to_metric_families(telemetry.exposition()[0].decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def observed(outcome: Reading | Failure, duration: float = 0.2) -> Observation:
    return Observation(node_id="a", at=T0, duration=Seconds(duration), outcome=outcome)


def busy() -> DaemonDouble:
    """A daemon in which every metric has something to say."""
    daemon = DaemonDouble()
    daemon.add(an_iri("a"), a_verdict("a"), a_server("a"))
    daemon.plan = Plan(changes=(HELD.change,), withheld=(HELD,))
    daemon.facts = {"refused": ("no",)}
    daemon.refresh()
    view = PoolView(pool="main", height=1204)
    after = replace(daemon.snapshot, judgement=replace(daemon.snapshot.judgement, pools={"main": view}))
    daemon.telemetry.passed(daemon.snapshot, after)
    daemon.telemetry.observed(observed(Reading()), "iri")
    daemon.telemetry.probe_started(Seconds(0.01))
    daemon.telemetry.probes_in_flight(3)
    daemon.telemetry.restarted("passes")
    names = Names(methods={"iri": frozenset({"getTips"})}, rules=frozenset({"rate"}), versions={"iri": "f00"})
    daemon.telemetry.counted(names, COUNTS)
    daemon.telemetry.scaling.acted("main", "start", ok=True)
    daemon.telemetry.scaling.sizes("main", wanted=1)
    daemon.telemetry.portal.counted({"active": 1}, 2)
    daemon.telemetry.cluster.document = lambda: GatewaysDocument(me="a", faults=("b is away",))
    daemon.telemetry.portal.mailed("sent")
    daemon.telemetry.alerts.happened([event(T0, Kind.STARTED, "gateway", "started")])
    daemon.telemetry.alerts.firing = lambda: [Severity.CRITICAL]
    daemon.telemetry.alerts.waiting = lambda: {"ops": 3}
    daemon.telemetry.alerts.certificate_ends = lambda: T0
    return daemon


def test_nodes_are_counted_by_pool_kind_and_status_also_where_there_are_none():
    daemon = DaemonDouble()
    daemon.add(an_iri("a"), a_verdict("a"))
    daemon.add(an_iri("b"), a_verdict("b"))
    daemon.add(an_iri("c", pool="old"))
    found = samples(daemon.telemetry)
    assert found["nodegate_nodes{kind=iri,pool=main,status=up}"] == 2
    assert found["nodegate_nodes{kind=iri,pool=main,status=down}"] == 0
    assert found["nodegate_nodes{kind=iri,pool=old,status=unknown}"] == 1


def test_a_pool_that_is_gone_leaves_no_metric_behind():
    daemon = DaemonDouble()
    daemon.add(an_iri("a", pool="old"))
    assert any("pool=old" in name for name in samples(daemon.telemetry))
    daemon.registry.nodes.clear()
    daemon.refresh()
    assert not any("pool=old" in name for name in samples(daemon.telemetry))


def test_ages_grow_at_every_scrape_although_no_pass_is_made():
    daemon = DaemonDouble()
    daemon.clock.forward(17)
    found = samples(daemon.telemetry)
    assert found["nodegate_pass_age_seconds"] == 17
    assert found["nodegate_inventory_age_seconds"] == 17


def test_links_are_up_or_down():
    daemon = DaemonDouble()
    assert (
        samples(daemon.telemetry)["nodegate_registry_up"],
        samples(daemon.telemetry)["nodegate_haproxy_up"],
    ) == (1, 1)
    daemon.facts = {"registry_error": "locked", "haproxy_error": "gone"}
    daemon.refresh()
    assert (
        samples(daemon.telemetry)["nodegate_registry_up"],
        samples(daemon.telemetry)["nodegate_haproxy_up"],
    ) == (0, 0)


def test_a_status_that_changes_is_counted_once_and_a_new_node_comes_from_unknown():
    daemon = DaemonDouble()
    daemon.add(an_iri("a"), a_verdict("a"))
    daemon.verdicts["a"] = a_verdict("a", Status.DOWN, reasons=("gone",))
    daemon.refresh()
    daemon.verdicts["a"] = a_verdict("a", Status.DOWN, reasons=("gone", "really"))
    daemon.refresh()
    found = {
        name: value for name, value in samples(daemon.telemetry).items() if "verdict_changes_total" in name
    }
    assert found == {
        "nodegate_verdict_changes_total{now=up,pool=main,was=unknown}": 1,
        "nodegate_verdict_changes_total{now=down,pool=main,was=up}": 1,
    }


def test_probes_are_counted_by_outcome_and_timed_by_kind():
    telemetry = Telemetry(clock=SetClock(), version="1")
    telemetry.observed(observed(Reading(), 0.2), "iri")
    telemetry.observed(observed(Failure(kind=FailureKind.REFUSED, text="no"), 0.001), "iri")
    telemetry.observed(observed(Failure(kind=FailureKind.TOO_LARGE, text="no"), 3), "evm")
    found = samples(telemetry)
    assert found["nodegate_probes_total{kind=iri,outcome=ok}"] == 1
    assert found["nodegate_probes_total{kind=iri,outcome=refused}"] == 1
    assert found["nodegate_probes_total{kind=evm,outcome=too large}"] == 1
    assert found["nodegate_probe_duration_seconds_count{kind=iri}"] == 2
    assert found["nodegate_probe_duration_seconds_bucket{kind=iri,le=0.1}"] == 1


def test_passes_changes_and_restarts_are_counted():
    found = samples(busy().telemetry)
    assert found["nodegate_pass_duration_seconds_count"] == 4
    assert found["nodegate_changes_total{change=set state}"] == 2
    assert found["nodegate_changes_refused_total"] == 2
    assert found["nodegate_withheld_changes{rule=last server}"] == 1
    assert found["nodegate_pool_height{pool=main}"] == 1204
    assert found["nodegate_task_restarts_total{task=passes}"] == 1
    assert found["nodegate_probes_in_flight"] == 3
    assert found["nodegate_probe_lateness_seconds_count"] == 1
    assert found["nodegate_ready"] == 1


def test_two_daemons_in_one_process_do_not_share_metrics():
    first, second = Telemetry(clock=SetClock(), version="1"), Telemetry(clock=SetClock(), version="1")
    first.restarted("passes")
    assert "nodegate_task_restarts_total{task=passes}" not in samples(second)


def test_counters_of_policies_are_absent_while_haproxy_cannot_be_read():
    telemetry = busy().telemetry
    found = samples(telemetry)
    assert found["nodegate_method_requests_total{kind=iri,method=getTips}"] == 3
    assert found["nodegate_refused_total{kind=iri,rule=rate}"] == 2
    assert (found["nodegate_bans{by=policy}"], found["nodegate_bans{by=operator}"]) == (1, 1)
    telemetry.counted(Names(versions={"iri": "f00"}, faults=1), None)
    found = samples(telemetry)
    assert found["nodegate_policy_info{kind=iri,version=f00}"] == 1
    assert found["nodegate_policy_faults"] == 1
    assert not any("refused_total" in name and "rule" in name for name in found)
    assert "nodegate_clients" not in found


def test_before_the_first_pass_nothing_is_claimed():
    found = samples(Telemetry(clock=SetClock(), version="1"))
    assert found["nodegate_ready"] == 0
    assert "nodegate_registry_up" not in found


def test_docs_metrics_lists_every_metric_with_its_type_and_labels_and_no_other():
    exported = {}
    for family in text_string_to_metric_families(busy().telemetry.exposition()[0].decode()):
        if family.name.startswith("nodegate_") and not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {key for sample in family.samples for key in sample.labels} - {"le"}
            exported[name] = (family.type, labels)
    rows = re.findall(
        r"^\| `(nodegate_\w+)` \| (\w+) \| ([^|]*)\|", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert documented == exported


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(stream=stream, level=logging.DEBUG)
    yield stream
    _unhook()


def _unhook() -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if handler.get_name() == "nodegate"]:
        root.removeHandler(handler)
    logging.getLogger("nodegate").setLevel(logging.NOTSET)


def test_an_event_is_one_line_of_words_and_fields(log: io.StringIO):
    record(
        logging.getLogger("nodegate.daemon"),
        logging.WARNING,
        Event.VERDICT,
        "a is down",
        node="a",
        why="no answer",
        none=None,
    )
    line = log.getvalue()
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING daemon: a is down event=verdict node=a why="no answer"\n',
        line,
    )


def test_an_event_as_json_is_one_object_on_one_line():
    stream = io.StringIO()
    configure_logging(as_json=True, stream=stream)
    try:
        record(
            logging.getLogger("nodegate.api"),
            logging.INFO,
            Event.INTENT,
            "a was changed",
            node="a",
            changes={"weight": 1},
        )
        raise_and_log()
    finally:
        _unhook()
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert first["event"] == "intent"
    assert (first["node"], first["changes"], first["level"], first["source"]) == (
        "a",
        {"weight": 1},
        "info",
        "api",
    )
    assert "RuntimeError: boom" in second["trace"]


def raise_and_log() -> None:
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("nodegate.daemon").exception("failed")


def test_a_trace_stays_on_its_line(log: io.StringIO):
    raise_and_log()
    assert log.getvalue().count("\n") == 1
    assert "RuntimeError: boom" in log.getvalue()


@given(text=st.text(), value=st.text() | st.integers() | st.lists(st.text()))
@settings(max_examples=100, deadline=None)
def test_no_text_can_forge_a_line_or_move_the_cursor(text: str, value: object):
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        record(logging.getLogger("nodegate.x"), logging.WARNING, Event.TASK, text, value=value)
    finally:
        _unhook()
    assert stream.getvalue().endswith("\n")
    assert stream.getvalue()[:-1].isprintable()


def test_configuring_twice_does_not_say_everything_twice(log: io.StringIO):
    configure_logging(stream=log)
    logging.getLogger("nodegate.daemon").warning("once")
    assert log.getvalue().count("once") == 1


def test_what_merely_continues_is_said_once(log: io.StringIO):
    start = Snapshot(at=T0, started_at=Instant(T0 - 1))
    daemon = DaemonDouble()
    daemon.add(an_iri("a"))
    bad = replace(
        daemon.snapshot,
        judgement=Judgement(verdicts={"a": a_verdict("a", Status.DOWN, reasons=("gone",))}),
        plan=Plan(withheld=(HELD,)),
        refused=("no room",),
        registry_error="locked",
    )
    say_pass(start, bad)
    said = log.getvalue()
    assert [line.split("event=")[1].split()[0] for line in said.splitlines()] == [
        "verdict",
        "refused",
        "withheld",
        "registry",
    ]
    assert "reasons=gone" in said
    say_pass(bad, bad)
    assert log.getvalue() == said
    tried = replace(bad, registry_error=None, plan=Plan(changes=(HELD.change,)))
    say_pass(bad, tried)
    news = log.getvalue()[len(said) :]
    say_pass(tried, tried)
    assert log.getvalue() == said + news
    say_pass(replace(tried, refused=()), tried)  # it was done, and is to be done again
    assert log.getvalue().count("set state pool_main/a to ready event=change") == 2
    assert "set state pool_main/a to ready" in news
    assert "all is well again event=registry" in news
