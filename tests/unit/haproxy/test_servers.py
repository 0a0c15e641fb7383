from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodegate.errors import Malformed, Unsafe
from nodegate.haproxy.servers import Authorities, place, read_traits, server_line, server_options, traits
from nodegate.model import Server, ServerState

PRIVATE = Authorities(file="/own.pem", private=True)
PUBLIC = Authorities(file="/etc/ca.pem", private=False)


def a_server(**more: Any) -> Server:
    values: dict[str, Any] = {
        "backend": "pool_main", "name": "n", "address": "192.0.2.1", "port": 14265, "weight": 100,
        "state": ServerState.READY,
    }  # fmt: skip
    return Server(**(values | more))


def test_a_plain_server_is_checked_and_watched() -> None:
    assert " ".join(server_line(a_server(maxconn=5), None)) == (
        "n 192.0.2.1:14265 weight 100 maxconn 5 check inter 30s fastinter 1s downinter 1s rise 1 fall 2 "
        "observe layer4 error-limit 1 on-error mark-down cookie plain"
    )


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert place(a_server(address="2001:db8::1", port=1)) == "[2001:db8::1]:1"


@pytest.mark.parametrize("address", ["node.example", "unix@/x", "", "192.0.2.1 disabled", "a\nb", "$HOME"])
def test_only_ip_addresses_are_taken(address: str) -> None:
    with pytest.raises(Unsafe, match="not an IP address"):
        place(a_server(address=address))


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a/b"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(Unsafe):
        server_line(a_server(name=name), None)


def test_a_name_is_verified_against_the_authorities_and_sent_as_sni() -> None:
    options = " ".join(server_options(a_server(tls=True, sni="n.example"), PUBLIC))
    assert "ssl verify required ca-file /etc/ca.pem sni str(n.example) check-sni n.example" in options


def test_verification_is_left_out_only_when_the_node_says_so() -> None:
    options = server_options(a_server(tls=True, verify=False), None)
    assert options[options.index("verify") + 1] == "none"


def test_an_address_is_enough_for_a_private_authority_but_not_for_a_public_one() -> None:
    assert "required" in server_options(a_server(tls=True), PRIVATE)
    with pytest.raises(Unsafe, match="has an IP address"):
        server_options(a_server(tls=True), PUBLIC)
    with pytest.raises(Unsafe, match="no authorities"):
        server_options(a_server(tls=True, sni="n.example"), None)


@pytest.mark.parametrize("sni", ["a b", "x)", "-", "a,b", ""])
def test_a_server_name_cannot_leave_its_expression(sni: str) -> None:
    with pytest.raises(Unsafe, match="not a host name"):
        server_options(a_server(tls=True, sni=sni), PRIVATE)


@given(
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)),
)
def test_traits_come_back_from_haproxy(tls: bool, verify: bool, sni: str | None) -> None:
    server = a_server(tls=tls, verify=verify, sni=sni)
    assert read_traits(traits(server)) == ((True, verify, sni) if tls else (False, True, None))


@pytest.mark.parametrize("word", ["", "cookie1", "verify/", "plainer"])
def test_a_cookie_that_is_not_ours_is_malformed(word: str) -> None:
    with pytest.raises(Malformed):
        read_traits(word)
