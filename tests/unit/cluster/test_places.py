"""How a gateway names itself, registers, and believes places that others tell of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.cluster.places import admin_url, advertised, default_name, is_place, registration_of
from nodegate.settings import NAME, Settings


@given(host=st.text(max_size=80), folder=st.text(st.characters(exclude_characters="\0"), max_size=20))
@settings(max_examples=100, deadline=None)
def test_the_default_name_is_a_name_whatever_the_host_is_called(host: str, folder: str) -> None:
    assert NAME.fullmatch(default_name(host, Path("/x") / folder))


def test_two_gateways_of_one_host_have_different_names() -> None:
    assert default_name("host.example.org", Path("/a")) != default_name("host.example.org", Path("/b"))
    assert default_name("host.example.org", Path("/a")).startswith("host-")


LOCAL, REMOTE = "http://127.0.0.1:8500", "http://192.0.2.9:8500"


def registered(
    agent: str, admin: str = "127.0.0.1:9780", listen: str = "0.0.0.0:14267", **cluster: Any
) -> str:
    document = {"gateway": {"admin": admin, "listen": [listen]}, "cluster": cluster}
    found = registration_of(Settings.model_validate(document), agent)
    return f"{found.ready_url} {found.serves}".strip() or "told"


@pytest.mark.parametrize(
    ("agent", "options", "wanted"),
    [
        (LOCAL, {}, "http://127.0.0.1:9780/readyz 127.0.0.1:14267"),
        (LOCAL, {"admin": "*:9780", "listen": "[::]:7"}, "http://127.0.0.1:9780/readyz 127.0.0.1:7"),
        (LOCAL, {"listen": "[2001:db8::1]:7"}, "http://127.0.0.1:9780/readyz [2001:db8::1]:7"),
        (LOCAL, {"check": "ttl"}, "told"),
        (REMOTE, {}, "told"),
        (
            REMOTE,
            {"admin": "192.0.2.1:9780", "listen": "192.0.2.1:7"},
            "http://192.0.2.1:9780/readyz 192.0.2.1:7",
        ),
        (REMOTE, {"admin": "*:9780", "address": "192.0.2.1"}, "http://192.0.2.1:9780/readyz 192.0.2.1:14267"),
        (REMOTE, {"admin": "*:9780"}, "told"),
    ],
)
def test_consul_asks_where_it_can_reach_the_gateway_and_is_told_elsewhere(
    agent: str, options: dict[str, str], wanted: str
) -> None:
    assert registered(agent, **options) == wanted


def test_a_listener_on_all_addresses_is_told_as_a_port() -> None:
    assert advertised("*:7") == advertised("0.0.0.0:7") == advertised("[::]:7") == ":7"
    assert advertised("192.0.2.1:7") == "192.0.2.1:7"
    assert advertised(None) == ""
    assert admin_url("0.0.0.0:9", "192.0.2.1") == "http://192.0.2.1:9"
    assert admin_url("127.0.0.1:9", "192.0.2.1") == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("192.0.2.1:7", True),
        ("[2001:db8::1]:7", True),
        ("host:7", False),
        ("192.0.2.1", False),
        ("192.0.2.1:0", False),
        ("192.0.2.1:70000", False),
        ("", False),
        ("192.0.2.1:7 ssl\n", False),
    ],
)
def test_only_ip_addresses_with_a_port_get_into_haproxys_configuration(text: str, good: bool) -> None:
    assert is_place(text) is good
