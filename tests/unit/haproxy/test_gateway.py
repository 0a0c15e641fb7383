from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nodegate.errors import Unsafe
from nodegate.haproxy import gateway
from nodegate.haproxy.config import skeleton_digest, split_servers, to_text
from nodegate.haproxy.paths import Paths
from nodegate.haproxy.servers import Authorities
from nodegate.model import Server, ServerState, Traffic
from nodegate.settings import GatewaySettings, Settings

PATHS = Paths(directory=Path("/state/haproxy"), ca_bundle=Path("/etc/ca.pem"))
IRI = Traffic(method_key="command", idempotent=frozenset({"getNodeInfo"}))


def text_of(document: dict[str, Any] | None = None, traffic: Traffic = IRI) -> str:
    settings = Settings.model_validate(document or {})
    names = list(settings.pools) or ["main"]
    return to_text(gateway.build(settings, names, dict.fromkeys(names, traffic), PATHS))


def block(text: str, header: str) -> list[str]:
    """The directives of one section."""
    (found,) = (part for part in text.split("\n\n") if part.splitlines()[0] == header)
    return [line.strip() for line in found.splitlines()[1:]]


def a_server(**more: Any) -> Server:
    values: dict[str, Any] = {
        "backend": "pool_main", "name": "n", "address": "192.0.2.1", "port": 14265, "weight": 100,
        "state": ServerState.READY,
    }  # fmt: skip
    return Server(**(values | more))


def test_every_timeout_is_set_so_that_nobody_can_wait_for_ever() -> None:
    text = text_of()
    defaults, pool = block(text, "defaults"), block(text, "backend pool_main")
    for name in (
        "client",
        "http-request",
        "http-keep-alive",
        "client-fin",
        "server-fin",
        "connect",
        "server",
    ):
        assert any(line.startswith(f"timeout {name} ") for line in defaults), name
    for name in ("connect", "server", "queue", "tunnel", "check"):
        assert any(line.startswith(f"timeout {name} ") for line in pool), name


def test_the_admin_socket_is_private() -> None:
    (line,) = (line for line in block(text_of(), "global") if line.startswith("stats socket"))
    assert line == "stats socket /state/haproxy/haproxy.sock mode 600 level admin expose-fd listeners"


def test_all_addresses_are_bound_with_tls_and_http2_when_there_is_a_certificate() -> None:
    listen = ["127.0.0.1:1", "[::1]:2", "*:3"]
    plain = block(text_of({"gateway": {"listen": listen}}), "frontend clients")
    assert plain[:3] == ["bind 127.0.0.1:1", "bind [::1]:2", "bind *:3"]
    tls = block(text_of({"gateway": {"listen": listen, "tls_certificate": "/x y.pem"}}), "frontend clients")
    assert tls[0] == "bind 127.0.0.1:1 ssl crt certificate.pem alpn h2,http/1.1"
    assert gateway.listen_in(text_of({"gateway": {"listen": listen}})) == tuple(listen)


@pytest.mark.parametrize(
    "place", ["unix@/tmp/x:80", "fd@3:80", "127.0.0.1,192.0.2.1:80", "${HOME}:80", "a b:80"]
)
def test_what_haproxy_would_not_take_as_an_address_is_refused(place: str) -> None:
    unchecked = Settings(gateway=GatewaySettings().model_copy(update={"listen": (place,)}))
    with pytest.raises(Unsafe, match=r"gateway\.listen"):
        gateway.build(unchecked, ["main"], {}, PATHS)


def test_a_500_is_never_tried_again() -> None:
    (line,) = (line for line in block(text_of(), "backend pool_main") if line.startswith("retry-on"))
    assert line.split()[1:] == [
        "conn-failure", "empty-response", "response-timeout", "junk-response", "502", "503", "504",
    ]  # fmt: skip


def test_only_kinds_with_json_methods_wait_for_the_body() -> None:
    assert "option http-buffer-request" in block(text_of(traffic=IRI), "backend pool_main")
    assert "option http-buffer-request" not in block(text_of(traffic=Traffic()), "backend pool_main")


def test_a_json_member_that_is_no_plain_name_is_refused() -> None:
    with pytest.raises(Unsafe, match="JSON member"):
        text_of(traffic=Traffic(method_key="a') -m found"))


def test_a_body_of_the_allowed_size_fits_into_a_buffer() -> None:
    (line,) = (
        line for line in block(text_of({"gateway": {"max_body": 100_000}}), "global") if "bufsize" in line
    )
    assert int(line.split()[1]) >= 100_000 + 16_384


def test_websockets_are_refused_only_where_the_pool_says_so() -> None:
    assert not any("no WebSocket" in line for line in block(text_of(), "backend pool_main"))
    closed = block(text_of({"pools": {"main": {"websocket": False}}}), "backend pool_main")
    assert any("no WebSocket" in line for line in closed)


def test_a_percent_in_the_upstream_path_stays_one() -> None:
    lines = block(text_of({"pools": {"main": {"upstream_path": "/a%41"}}}), "backend pool_main")
    assert "http-request set-path /a%%41 if { path / }" in lines


def test_a_source_balance_uses_a_hash_that_lets_servers_come_and_go() -> None:
    assert "hash-type consistent" in block(
        text_of({"pools": {"main": {"balance": "source"}}}), "backend pool_main"
    )


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"gateway": {"listen": ["127.0.0.1:9"]}}, True),
        ({"gateway": {"maxconn": 9}}, True),
        ({"pools": {"main": {"balance": "first"}}}, True),
        ({"pools": {"main": {}, "more": {}}}, True),
        ({"pools": {"main": {"tls_ca": "/other.pem"}}}, True),
        ({"pools": {"main": {}}}, False),
        ({"pools": {"main": {"hosts": ["a.example"]}}}, False),
        ({"pools": {"main": {"paths": ["/a/b"]}}}, False),
        ({"pools": {"main": {"paths": ["/a/b/c/d/e"]}}}, True),
        ({"probe": {"interval": 9}}, False),
        ({"health": {"rise": 9}}, False),
    ],
)
def test_only_what_a_reload_must_change_is_in_the_skeleton(change: dict[str, Any], differs: bool) -> None:
    def digest(document: dict[str, Any]) -> str:
        settings = Settings.model_validate(document)
        return skeleton_digest(gateway.build(settings, ["main"], {"main": IRI}, PATHS))

    assert (digest(change) != digest({})) is differs


def test_servers_do_not_change_the_digest_that_the_file_carries() -> None:
    config = gateway.build(Settings(), ["main"], {"main": IRI}, PATHS)
    trust = {"pool_main": Authorities(file="/ca.pem", private=True)}
    empty = gateway.render(config, [], trust)
    full = gateway.render(config, [a_server(sessions=3, marked_down=True)], trust)
    assert gateway.digest_in(empty) == gateway.digest_in(full) == skeleton_digest(config)
    assert split_servers(full)[0] == empty
    assert f"description nodegate:{skeleton_digest(config)}\n" in empty


@pytest.mark.parametrize("text", ["", "nodegate:", "nodegate:xyz", "nodegate:0123", f"nodegate:{'a' * 25}"])
def test_a_foreign_description_has_no_digest(text: str) -> None:
    assert gateway.digest_in(text) == ""


def test_a_server_that_is_not_ready_is_written_as_disabled() -> None:
    config = gateway.build(Settings(), ["main"], {}, PATHS)
    servers = [a_server(name=state.value, state=state) for state in ServerState]
    lines = split_servers(gateway.render(config, servers, {}))[1]["pool_main"]
    assert {re.split(" +", line)[2]: line.endswith(" disabled") for line in lines} == {
        "drain": True, "maint": True, "ready": False,
    }  # fmt: skip


def test_authorities_are_the_pools_own_else_the_systems_else_none() -> None:
    settings = Settings.model_validate({"pools": {"own": {"tls_ca": "/own.pem"}}})
    assert gateway.authorities(settings, "own", PATHS) == Authorities(file="/own.pem", private=True)
    assert gateway.authorities(settings, "main", PATHS) == Authorities(file="/etc/ca.pem", private=False)
    assert gateway.authorities(settings, "main", Paths(directory=Path("/state"))) is None


def test_a_server_that_cannot_be_written_is_known_beforehand() -> None:
    assert gateway.is_writable(a_server(), None)
    assert not gateway.is_writable(a_server(tls=True), None)
