"""Which commands a stranger is answered, read from answers."""

from __future__ import annotations

import json

import pytest

from nodegate.errors import Malformed
from nodegate.host.doctor.exposure import EVM_METHODS, exposed, questions
from nodegate.model import Answer, Seconds

INFO = {"appName": "IRI", "appVersion": "1.8.6", "latestMilestoneIndex": 5, "latestSolidSubtangleMilestoneIndex": 5, "neighbors": 3,
        "coordinatorAddress": "A" * 81, "features": []}  # fmt: skip


def answer(status: int, document: object) -> Answer:
    return Answer(status=status, body=json.dumps(document).encode(), duration=Seconds(0.01))


def asked_iri(open_commands: set[str]) -> tuple[str, ...]:
    answers: tuple[Answer, ...] = ()
    while found := questions("iri", answers):
        for question in found:
            command = json.loads(question.body)["command"]
            if command == "getNodeInfo":
                answers += (answer(200, INFO),)
            elif command in open_commands:
                answers += (answer(400, {"error": "Invalid params"}),)
            else:
                answers += (answer(401, {"error": f"COMMAND {command} is not available on this node"}),)
    return exposed("iri", answers)


@pytest.mark.parametrize("commands", [set(), {"getNeighbors"}, {"addNeighbors", "removeNeighbors"}])
def test_commands_that_an_iri_takes_are_named(commands: set[str]) -> None:
    assert set(asked_iri(commands)) == commands


def test_namespaces_that_an_evm_node_answers_are_named() -> None:
    closed = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "the method does not exist"}}
    opened = {"jsonrpc": "2.0", "id": 1, "result": {}}
    wrong = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "too many arguments"}}
    forbidden = answer(403, {"error": "forbidden"})
    assert len(questions("evm", ())) == len(EVM_METHODS)
    answers = [
        answer(200, opened),
        answer(200, closed),
        answer(200, closed),
        answer(200, wrong),
        forbidden,
        answer(200, closed),
    ]
    assert exposed("evm", answers) == ("admin_nodeInfo", "miner_stop")
    assert questions("evm", answers) == ()


@pytest.mark.parametrize("kind", ["iri", "evm"])
def test_something_else_on_the_port_is_said_not_called_closed(kind: str) -> None:
    page = Answer(status=200, body=b"<html>", duration=Seconds(0.01))
    with pytest.raises(Malformed):
        exposed(kind, (page,) * (1 if kind == "iri" else len(EVM_METHODS)))
