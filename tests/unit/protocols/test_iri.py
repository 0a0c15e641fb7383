"""Kind `iri`: what is asked, and what each kind of answer means."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Malformed
from nodegate.model import Answer, Node, Reading, Seconds
from nodegate.protocols.iri import LIMITED, Iri

iri = Iri()
COORDINATOR = "UDYXTZBE9GZGPM9SSQV9LTZNDLJIZMPUVVXYXFYVBLIEUHLSEWFTKZZLXYRHHWVQV9MNNX9KZC9D9UZWZ"
INFO: dict[str, Any] = {
    "appName": "IRI",
    "appVersion": "1.8.6-RELEASE",
    "jreVersion": "1.8.0_242",
    "latestMilestone": COORDINATOR,
    "latestMilestoneIndex": 1_050_373,
    "latestSolidSubtangleMilestone": COORDINATOR,
    "latestSolidSubtangleMilestoneIndex": 1_050_372,
    "milestoneStartIndex": 1_035_200,
    "neighbors": 5,
    "packetsQueueSize": 0,
    "time": 1_597_735_413_209,
    "tips": 4_500,
    "transactionsToRequest": 0,
    "features": ["snapshotPruning", "dnsRefresher", "RemotePOW"],
    "coordinatorAddress": COORDINATOR,
    "duration": 0,
}


def a_node(**options: str | int | float | bool) -> Node:
    return Node(id="n", url="http://192.0.2.1:14265", kind="iri", options=options)


def an_answer(body: Any = INFO, status: int = 200) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, body=raw, duration=Seconds(0.01))


def info_with(**changes: Any) -> Answer:
    return an_answer({**INFO, **changes})


def info_without(*names: str) -> Answer:
    return an_answer({name: value for name, value in INFO.items() if name not in names})


REFUSED = an_answer({"error": "COMMAND getNeighbors is not available on this node", "duration": 0}, 401)
PROTECTED = an_answer({"error": "command [getNeighbors] is protected"}, 403)
INVALID = an_answer({"exception": "Invalid parameters", "duration": 0}, 500)


def test_asks_for_node_info_with_the_version_header() -> None:
    (question,) = iri.ask(a_node(), ())
    assert (question.method, question.path) == ("POST", "")
    assert json.loads(question.body) == {"command": "getNodeInfo"}
    assert question.headers["X-IOTA-API-Version"] == "1"
    assert question.headers["Content-Type"] == "application/json"
    assert iri.ask(a_node(), (an_answer(),)) == ()


def test_reads_the_node_info() -> None:
    assert iri.read(a_node(), (an_answer(),)) == Reading(
        height=1_050_372,
        claimed_tip=1_050_373,
        peers=5,
        chain=COORDINATOR,
        app="IRI",
        version="1.8.6-RELEASE",
        features=("snapshotPruning", "dnsRefresher", "RemotePOW"),
    )


def test_reads_an_old_node_that_has_no_features_and_no_coordinator() -> None:
    reading = iri.read(a_node(), (info_without("features", "coordinatorAddress"),))
    assert (reading.features, reading.chain) == (None, None)


@pytest.mark.parametrize(
    "name",
    ["latestMilestoneIndex", "latestSolidSubtangleMilestoneIndex", "neighbors", "appName", "appVersion"],
)
@pytest.mark.parametrize("value", [None, True, "7", 7.0, -1, 2**63, [], {}, ""])
def test_an_ill_typed_field_is_named(name: str, value: Any) -> None:
    if name.startswith("app") and value == "7":
        value = 7
    with pytest.raises(Malformed, match=name):
        iri.read(a_node(), (info_with(**{name: value}),))


@pytest.mark.parametrize(
    "name",
    ["latestMilestoneIndex", "latestSolidSubtangleMilestoneIndex", "neighbors", "appName", "appVersion"],
)
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(Malformed, match=f"{name} is missing"):
        iri.read(a_node(), (info_without(name),))


@pytest.mark.parametrize("value", ["RemotePOW", [1], [None], ["a"] * 65, ["bad\x1b[2J"]])
def test_ill_typed_features_are_named(value: Any) -> None:
    with pytest.raises(Malformed, match="features"):
        iri.read(a_node(), (info_with(features=value),))


def test_a_solid_milestone_above_the_latest_is_malformed() -> None:
    with pytest.raises(Malformed, match="latestSolidSubtangleMilestoneIndex 1050374 is above"):
        iri.read(a_node(), (info_with(latestSolidSubtangleMilestoneIndex=1_050_374),))


def test_a_version_with_control_characters_never_reaches_a_terminal() -> None:
    with pytest.raises(Malformed, match="appVersion") as caught:
        iri.read(a_node(), (info_with(appVersion="1.8.6\x1b]0;owned\x07"),))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            an_answer({"error": "Invalid API Version", "duration": 0}, 400),
            'status 400, error "Invalid API Version"',
        ),
        (an_answer({"exception": "null"}, 500), 'status 500, exception "null"'),
        (an_answer(b"", 401), "status 401"),
        (an_answer(b"<html><h1>403 Forbidden</h1>", 403), 'status 403, body "<html><h1>403 Forbidden</h1>"'),
        (an_answer({"error": "x"}), 'status 200, error "x"'),
        (an_answer({**INFO, "error": {"deep": 1}}), "status 200, body"),
        (an_answer(b"<html>"), 'not JSON: it begins "<html>"'),
        (an_answer(b""), "not JSON: it is empty"),
        (an_answer([]), "a list, not a JSON object"),
        (an_answer(None), "null, not a JSON object"),
        (an_answer(b"\xff\xfe{}"), "not JSON"),
        (an_answer(b'{"neighbors": NaN}'), "not JSON"),
        (an_answer(b"[" * 200_000), "not JSON"),
        (an_answer(b'{"neighbors": ' + b"9" * 5_000 + b"}"), "not JSON"),
    ],
)
def test_a_refusal_is_quoted(answer: Answer, words: str) -> None:
    with pytest.raises(Malformed) as caught:
        iri.read(a_node(), (answer,))
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_limits_check_is_off_unless_asked_for() -> None:
    assert iri.ask(a_node(), (an_answer(),)) == ()
    assert iri.read(a_node(), (an_answer(),)).exposed == ()


def asked(node: Node, *answers: Answer) -> list[str]:
    return [json.loads(question.body)["command"] for question in iri.ask(node, answers)]


def test_limited_commands_are_sent_bare_and_the_interrupt_last() -> None:
    node = a_node(check_exposed=True)
    assert asked(node, an_answer()) == list(LIMITED[:-1])
    assert all(set(json.loads(q.body)) == {"command"} for q in iri.ask(node, (an_answer(),)))
    assert asked(node, an_answer(), *[REFUSED] * 4) == ["interruptAttachingToTangle"]
    assert asked(node, an_answer(), *[PROTECTED] * 5) == []


def test_the_interrupt_is_never_sent_where_clients_may_attach() -> None:
    assert asked(a_node(check_exposed=True), an_answer(), REFUSED, REFUSED, REFUSED, INVALID) == []


def test_nothing_more_is_asked_of_a_node_that_has_no_info() -> None:
    assert asked(a_node(check_exposed=True), an_answer(b"", 503)) == []


def test_401_and_403_both_count_as_blocked() -> None:
    answers = (an_answer(), REFUSED, PROTECTED, REFUSED, PROTECTED, an_answer(b"", 401))
    assert iri.read(a_node(check_exposed=True), answers).exposed == ()


def test_commands_that_are_taken_are_exposed() -> None:
    neighbours = an_answer({"neighbors": [], "duration": 0})
    answers = (an_answer(), neighbours, INVALID, REFUSED, REFUSED, an_answer({"duration": 0}))
    reading = iri.read(a_node(check_exposed=True), answers)
    assert reading.exposed == ("getNeighbors", "addNeighbors", "interruptAttachingToTangle")


def test_an_unknown_command_is_not_exposed() -> None:
    unknown = an_answer({"error": "Command [getNeighbors] is unknown", "duration": 0}, 400)
    answers = (an_answer(), unknown, REFUSED, REFUSED, REFUSED, REFUSED)
    assert iri.read(a_node(check_exposed=True), answers).exposed == ()


@pytest.mark.parametrize("status", [301, 429, 502, 503, 504])
def test_an_answer_that_does_not_tell_is_no_pass(status: int) -> None:
    answers = (an_answer(), REFUSED, an_answer(b"", status), REFUSED, REFUSED, REFUSED)
    with pytest.raises(Malformed, match=f"cannot tell whether addNeighbors is closed: status {status}"):
        iri.read(a_node(check_exposed=True), answers)


def test_offered_proof_of_work_is_not_called_exposed() -> None:
    answers = (an_answer(), REFUSED, REFUSED, REFUSED, INVALID)
    assert iri.read(a_node(check_exposed=True, pow=True), answers).exposed == ()


@pytest.mark.parametrize(("answer", "features"), [(INVALID, ("RemotePOW",)), (REFUSED, ())])
def test_an_old_node_is_tried_for_proof_of_work(answer: Answer, features: tuple[str, ...]) -> None:
    node = a_node(pow=True)
    old = info_without("features")
    assert asked(node, old) == ["attachToTangle"]
    assert asked(node, old, answer) == []
    reading = iri.read(node, (old, answer))
    assert (reading.features, reading.exposed) == (features, ())
    assert asked(node, an_answer()) == []


def test_options_are_checked() -> None:
    assert iri.faults(a_node(check_exposed=True, pow=False, api_version="1.4.1")) == ()
    faults = iri.faults(a_node(check_exposed="yes", api_version="1\r\nX: y", colour="red"))
    assert [fault.split(":")[0] for fault in faults] == ["api_version", "check_exposed", "colour"]


def test_what_hangs_one_node_is_not_handed_to_the_next() -> None:
    assert "getTransactionsToApprove" not in iri.traffic.idempotent
    assert "attachToTangle" not in iri.traffic.idempotent
    assert {"getNodeInfo", "broadcastTransactions"} <= iri.traffic.idempotent


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)
infos = st.builds(
    lambda changes: json.dumps({**INFO, **changes}).encode(),
    st.dictionaries(st.sampled_from([*INFO, "error", "exception"]), json_values, max_size=4),
)
bodies = st.one_of(st.binary(max_size=60), json_values.map(lambda value: json.dumps(value).encode()), infos)
answers_ = st.builds(
    Answer,
    status=st.sampled_from([200, 200, 200, 204, 301, 400, 401, 403, 500, 503]),
    body=bodies,
    duration=st.just(Seconds(0.01)),
)


@settings(max_examples=200, deadline=None)
@given(first=answers_, later=st.lists(answers_, max_size=6), exposed=st.booleans(), pow_=st.booleans())
def test_any_bytes_are_a_reading_or_malformed(
    first: Answer, later: list[Answer], exposed: bool, pow_: bool
) -> None:
    node = a_node(check_exposed=exposed, pow=pow_)
    answers = (first, *later)
    for count in range(len(answers) + 1):
        iri.ask(node, answers[:count])
    complaint = ""
    try:
        reading = iri.read(node, answers)
    except Malformed as error:
        complaint = str(error)
    if complaint:
        assert complaint.isprintable()
        return
    assert reading.height is not None
    assert reading.claimed_tip is not None
    assert 0 <= reading.height <= reading.claimed_tip
    assert isinstance(reading.peers, int)
    assert reading.app
    assert reading.version
    assert reading.version.isprintable()
