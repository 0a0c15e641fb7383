from __future__ import annotations

from typing import Any

import pytest

from nodegate.dashboard.trial import ORDINARY, try_out
from nodegate.errors import BadDocument
from nodegate.policy.document import load_policy

IRI = load_policy("iri", None).policy
HEADERS = "\n".join(f"{name}: {value}" for name, value in ORDINARY["iri"].items())


def judged(**fields: Any) -> dict[str, Any]:
    given = {
        "method": "POST",
        "path": "/",
        "body": '{"command": "getNodeInfo"}',
        "headers": HEADERS,
        "client": "",
    }
    return try_out(IRI, **(given | fields))


def test_an_ordinary_call_is_let_through_with_its_price() -> None:
    document = judged(client=" 192.0.2.7 ")
    assert document["verdict"] == "allow"
    assert document["cost"] == 1
    assert document["client"]["counted_as"] == "192.0.2.7"


def test_a_closed_command_is_refused_with_its_rule() -> None:
    document = judged(body='{"command": "addNeighbors", "uris": []}')
    assert (document["verdict"], document["rule"]) == ("refuse", "method-denied")


def test_headers_count() -> None:
    assert judged(headers="\n")["rule"] == "header-required"
    assert judged(headers=HEADERS + "\nUpgrade: websocket\nConnection: upgrade")["verdict"] == "refuse"


@pytest.mark.parametrize("field", [{"headers": "no colon"}, {"headers": ": x"}, {"client": "somewhere"}])
def test_what_cannot_be_sent_is_said(field: dict[str, str]) -> None:
    with pytest.raises(BadDocument, match=r"NAME: VALUE|IP address"):
        judged(**field)


def test_half_a_character_is_judged_like_any_bytes() -> None:
    assert judged(body="\ud800")["verdict"] == "refuse"
