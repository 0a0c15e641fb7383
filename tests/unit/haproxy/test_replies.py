from __future__ import annotations

import json

import pytest

from nodegate.haproxy.replies import Style, body, http_errors, style_of
from nodegate.model import Traffic


@pytest.mark.parametrize(
    ("key", "style"), [(None, Style.PLAIN), ("command", Style.PLAIN), ("method", Style.JSON_RPC)]
)
def test_clients_get_the_form_of_their_kind(key: str | None, style: Style) -> None:
    assert style_of(Traffic(method_key=key)) is style


@pytest.mark.parametrize("style", Style)
def test_every_error_is_json_that_says_what_is_wrong(style: Style) -> None:
    for line in http_errors(style):
        value = json.loads(line[line.index("string") + 1])
        text = value["error"] if style is Style.PLAIN else value["error"]["message"]
        assert isinstance(text, str)
        assert text
        assert line[line.index("content-type") + 1] == "application/json"


def test_errors_of_nodes_name_the_pool_and_the_others_do_not_repeat_the_defaults() -> None:
    lines = http_errors(Style.PLAIN, pool="x")
    assert [line[2] for line in lines] == ["502", "503", "504"]
    assert all("pool x: " in line[line.index("string") + 1] for line in lines)


def test_what_passes_says_when_to_come_back() -> None:
    lines = {line[2]: line for line in http_errors(Style.PLAIN)}
    assert "Retry-After" in lines["503"]
    assert "Retry-After" not in lines["404"]


def test_json_rpc_errors_have_a_code() -> None:
    assert json.loads(body(Style.JSON_RPC, 429, "slow down")) == {
        "jsonrpc": "2.0", "id": None, "error": {"code": -32005, "message": "slow down"},
    }  # fmt: skip
