"""The node's transport rules: each row of what IRI answers, in the order in which it checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodegate.lab.answers import Reply
from nodegate.lab.faults import fault
from nodegate.lab.http1 import Request
from nodegate.lab.iri import MAX_BODY_CHARACTERS, RELEASES, IriNode, IriProfile
from nodegate.lab.iri_commands import COMMANDS
from nodegate.lab.iri_params import invalid
from nodegate.lab.tangle import FIRST_INDEX, Tangle
from nodegate.lab.trytes import made_up
from nodegate.model import Instant, Seconds

NOW = Instant(1_600_000_000.0)
OLD, NEW = "1.4.1.7", "1.8.6"
INFO = b'{"command":"getNodeInfo"}'


@pytest.mark.parametrize(
    ("body", "release", "status", "document"),
    [
        (b"x" * (MAX_BODY_CHARACTERS + 1), NEW, 400, {"error": "Request too long"}),
        ("😀".encode() * (MAX_BODY_CHARACTERS // 2 + 1), NEW, 400, {"error": "Request too long"}),
        (b"", NEW, 400, {"error": "Invalid request payload: ''"}),
        (b"null", NEW, 400, {"error": "Invalid request payload: 'null'"}),
        (b"", OLD, 500, {"exception": "Invalid request payload: ''"}),
        (b"{}", NEW, 400, {"error": "COMMAND parameter has not been specified in the request."}),
        (
            b'{"command":null}',
            NEW,
            400,
            {"error": "COMMAND parameter has not been specified in the request."},
        ),
        (b'{"Command":"x"}', NEW, 400, {"error": "COMMAND parameter has not been specified in the request."}),
        (b'{"command":"x"}', NEW, 400, {"error": "Command [x] is unknown"}),
        (b'{"command":"getnodeinfo"}', NEW, 400, {"error": "Command [getnodeinfo] is unknown"}),
        (b'{"command":"Module.run"}', NEW, 400, {"error": "Command [Module.run] is unknown"}),
        (b'{"command":5}', NEW, 500, {"exception": "java.lang.Double cannot be cast to java.lang.String"}),
        (
            b'{"command":true}',
            NEW,
            500,
            {"exception": "java.lang.Boolean cannot be cast to java.lang.String"},
        ),
        (
            b'{"command":[]}',
            NEW,
            500,
            {"exception": "java.util.ArrayList cannot be cast to java.lang.String"},
        ),
        (
            b'{"command":"getNeighbors"}',
            NEW,
            401,
            {"error": "COMMAND getNeighbors is not available on this node"},
        ),
        (b'{"command":"getTips"}', NEW, 400, {"error": "Command [getTips] is unknown"}),
        (
            b'{"command":"getNodeAPIConfiguration"}',
            OLD,
            400,
            {"error": "Command [getNodeAPIConfiguration] is unknown"},
        ),
        (b'{"command":"findTransactions"}', NEW, 500, {"exception": "Invalid parameters"}),
        (b'{"command":"findTransactions"}', OLD, 400, {"error": "Invalid parameters"}),
        (b'{"command":"getTrytes"}', NEW, 500, {"exception": "Invalid parameters"}),
        (b'{"command":"getTrytes","hashes":["A"]}', NEW, 500, {"exception": "Invalid hashes input"}),
        (b'{"command":"getTrytes","hashes":null}', NEW, 500, {}),
        (b'{"command":"getTrytes","hashes":[null]}', NEW, 500, {}),
        (
            b'{"command":"getTrytes","hashes":"A"}',
            NEW,
            500,
            {"exception": "com.google.gson.internal.LinkedTreeMap cannot be cast to java.util.List"},
        ),
        (
            b'{"command":"getTrytes","hashes":[5]}',
            NEW,
            500,
            {"exception": "java.lang.Double cannot be cast to java.lang.String"},
        ),
        (
            json.dumps({"command": "getTrytes", "hashes": ["9" * 81] * 1001}).encode(),
            NEW,
            500,
            {"exception": "Could not complete request"},
        ),
    ],
)
def test_each_fault_of_a_request_has_its_status_and_words(
    asked: Callable[..., Any], body: bytes, release: str, status: int, document: dict[str, str]
) -> None:
    assert asked(release).raw(body) == (status, document)


@pytest.mark.parametrize(("release", "status", "key"), [(NEW, 400, "error"), (OLD, 500, "exception")])
@pytest.mark.parametrize("body", [b"hello", b"[1]", b'{"command":"a","command":"b"}', b"\xff{"])
def test_what_is_not_json_is_named_so(
    asked: Callable[..., Any], release: str, status: int, key: str, body: bytes
) -> None:
    answered, document = asked(release).raw(body)
    assert answered == status
    assert document[key].startswith("Invalid JSON syntax: ")


def test_the_header_is_asked_for_before_all_else(asked: Callable[..., Any]) -> None:
    too_long = b"x" * (MAX_BODY_CHARACTERS + 1)
    assert asked().raw(too_long, version=None) == (400, {"error": "Invalid API Version"})
    assert asked().raw(INFO, version=None) == (400, {"error": "Invalid API Version"})


@pytest.mark.parametrize("version", ["", "1", "anything"])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
def test_any_version_and_any_method_will_do(asked: Callable[..., Any], version: str, method: str) -> None:
    status, document = asked().raw(INFO, version=version, method=method)
    assert status == 200
    assert document["appName"] == "IRI"


def test_the_length_is_looked_at_before_the_syntax(asked: Callable[..., Any]) -> None:
    just_right = b'{"command":"x"}'.ljust(MAX_BODY_CHARACTERS)
    assert asked().raw(just_right)[1] == {"error": "Command [x] is unknown"}
    assert asked().raw(just_right + b" ")[1] == {"error": "Request too long"}


def test_the_remote_limit_comes_before_the_route(asked: Callable[..., Any]) -> None:
    status, _ = asked(remote_limited=frozenset({"made.up"})).raw(b'{"command":"made.up"}')
    assert status == 401


def test_options_needs_no_header_and_lists_what_is_allowed(tangle: Tangle) -> None:
    node = IriNode(IriProfile(id="n"), tangle, COMMANDS)
    request = Request(method="OPTIONS", target="/", headers={}, body=b"", keep_alive=True)
    counted, reply = node.admit(request, NOW)
    assert isinstance(reply, Reply)
    assert (counted, reply.status, node.encode(reply, Seconds(1.0))) == ("OPTIONS", 200, b"")
    assert "X-IOTA-API-Version" in reply.headers["Access-Control-Allow-Headers"]
    assert reply.headers["Allow"] == "GET,HEAD,POST,PUT,DELETE,TRACE,OPTIONS,CONNECT,PATCH"
    assert node.headers()["Access-Control-Allow-Origin"] == "*"
    assert node.headers()["Keep-Alive"] == "timeout=500, max=100"


def test_the_duration_is_in_whole_milliseconds(tangle: Tangle) -> None:
    node = IriNode(IriProfile(id="n"), tangle, COMMANDS)
    assert json.loads(node.encode(Reply(document={}), Seconds(1.2345))) == {"duration": 1234}


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=80)
    | st.sampled_from(sorted(COMMANDS)).map(lambda name: f"{{command:{name}}}".encode())
)
@pytest.mark.parametrize("release", sorted(RELEASES))
def test_any_bytes_get_an_answer_that_iri_could_give(
    asked: Callable[..., Any], release: str, body: bytes
) -> None:
    status, document = asked(release, remote_limited=frozenset()).raw(body)
    assert status in {200, 400, 401, 500}
    assert (status == 200) == (not {"error", "exception"} & set(document)) or (status, document) == (500, {})


PARAMS = ["hashes", "trytes", "addresses", "tags", "transactions", "tips", "tails", "uris", "depth", "reference",
          "trunkTransaction", "branchTransaction", "minWeightMagnitude", "threshold", "bundles", "approvees", "limit"]  # fmt: skip
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([made_up("x"), "9" * 81, "9" * 2673]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=st.sampled_from(sorted(COMMANDS)),
    params=st.dictionaries(st.sampled_from(PARAMS), VALUE, max_size=5),
)
@pytest.mark.parametrize("release", sorted(RELEASES))
def test_any_parameters_get_an_answer_that_iri_could_give(
    asked: Callable[..., Any], release: str, command: str, params: dict[str, Any]
) -> None:
    status, _ = asked(release, remote_limited=frozenset())(**{**params, "command": command})
    assert status in {200, 400, 500}


def test_what_is_counted_is_bounded(tangle: Tangle) -> None:
    node = IriNode(IriProfile(id="n"), tangle, COMMANDS)
    for body in (INFO, b'{"command":"made up 1"}', b'{"command":"getTips"}', b"?"):
        request = Request(
            method="POST", target="/", headers={"x-iota-api-version": ""}, body=body, keep_alive=True
        )
        assert node.admit(request, NOW)[0] in {*COMMANDS, "unknown", "unreadable", "OPTIONS"}


def test_a_node_sees_a_milestone_after_its_delay_and_has_it_solid_later(tangle: Tangle) -> None:
    node = IriNode(IriProfile(id="n", delay=Seconds(1.0), solidify=Seconds(0.5)), tangle, COMMANDS)
    issued = tangle.issue(Instant(NOW + 10)).index
    seen = [
        (node.view(Instant(NOW + at)).latest.index, node.view(Instant(NOW + at)).solid.index)
        for at in (10.9, 11.1, 11.6)
    ]
    assert seen == [(issued - 1, issued - 1), (issued, issued - 1), (issued, issued)]
    assert node.view(Instant(NOW + 11.1)).synchronised


def test_faults_of_speech_show_in_the_view(tangle: Tangle) -> None:
    node = IriNode(IriProfile(id="n"), tangle, COMMANDS)
    node.suffer(fault("lag", milestones=20), NOW)
    assert (node.view(NOW).latest.index, node.view(NOW).solid.index) == (FIRST_INDEX, FIRST_INDEX - 20)
    assert node.height(NOW) == FIRST_INDEX - 20
    assert not node.view(NOW).synchronised
    node.suffer(fault("lie", milestones=500), NOW)
    assert node.view(NOW).latest.index == node.view(NOW).solid.index == FIRST_INDEX + 500
    node.suffer(fault("frozen"), NOW)
    tangle.issue(Instant(NOW + 2))
    assert node.height(Instant(NOW + 100)) == FIRST_INDEX
    assert node.view(Instant(NOW + 100)).synchronised  # it does not notice
    node.suffer(None, Instant(NOW + 100))
    assert node.height(Instant(NOW + 100)) == FIRST_INDEX + 1


def test_another_network_has_another_coordinator(asked: Callable[..., Any]) -> None:
    ask, old = asked(), asked(OLD)
    right = ask(command="getNodeInfo")[1]["coordinatorAddress"]
    for each in (ask, old):
        each.node.suffer(fault("wrong-chain"), NOW)
    assert ask(command="getNodeInfo")[1]["coordinatorAddress"] != right
    assert old(command="getNodeInfo")[1]["appName"] == "IRI Testnet"
    assert "wrong-chain" in repr(ask.node)


def test_validation_is_answered_in_the_releases_own_way(asked: Callable[..., Any]) -> None:
    replies = [invalid(asked(release).node, "no").reply for release in (OLD, NEW)]
    assert [(reply.status, reply.document) for reply in replies] == [
        (400, {"error": "no"}),
        (500, {"exception": "no"}),
    ]
