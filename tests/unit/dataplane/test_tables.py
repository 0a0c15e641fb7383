"""HAProxy's stick tables as values."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.dataplane.tables import counted_as, read_tables
from nodegate.errors import Malformed, Refused
from nodegate.model import Instant

HEAD = "# table: st_x, type: string, size:1048576, used:1\n"
METHODS = "0x1: key=iri/getNodeInfo use=0 exp=5 shard=0 http_req_cnt=9 http_req_rate(10000)=3 http_err_cnt=1 bytes_out_cnt=216 http_fail_cnt=2\n"
RULES = "0x1: key=iri/json-name use=0 exp=5 shard=0 gpc0=7 gpc0_rate(60000)=4\n"
SHORT = (
    "0x1: key=iri|192.0.2.1 use=1 exp=5 shard=0 conn_cur=1 http_req_cnt=8 http_req_rate(10000)=6 gpc0=8 gpc0_rate(10000)=5\n"
    "0x2: key=iri|key:shop use=0 exp=5 shard=0 conn_cur=0 http_req_cnt=1 http_req_rate(10000)=0 gpc0=8 gpc0_rate(10000)=0\n"
)
LONG = "0x1: key=iri|192.0.2.1 use=0 exp=5 shard=0 gpc0=8 gpc1=2 gpc0_rate(60000)=7 gpc1_rate(60000)=2\n"
BANS = (
    "0x1: key=192.0.2.9 use=0 exp=5 shard=0 gpt0=2000 gpc0=1\n"
    "0x2: key=2001:db8:: use=0 exp=5 shard=0 gpt0=2001 gpc0=0\n"
    "0x3: key=192.0.2.8 use=0 exp=5 shard=0 gpt0=1000 gpc0=1\n"
)
REPLIES = tuple(HEAD + rows for rows in (METHODS, RULES, SHORT, LONG, BANS))


def test_each_table_becomes_its_values() -> None:
    tables = read_tables(REPLIES, Instant(1500))
    (method,) = tables.methods
    assert (method.kind, method.method, method.requests, method.rate) == ("iri", "getNodeInfo", 9, 3)
    assert (method.errors, method.failures, method.bytes_out) == (1, 2, 216)
    (rule,) = tables.rules
    assert (rule.rule, rule.refused, rule.rate) == ("json-name", 7, 4)
    one, shop = tables.clients
    assert (one.client, one.key, one.concurrent, one.cost_10s, one.cost_1m, one.refusals_1m) == (
        "192.0.2.1", None, 1, 5, 7, 2,
    )  # fmt: skip
    assert (shop.client, shop.key, shop.cost_1m) == ("key:shop", "shop", 0)


def test_a_ban_that_is_over_is_none() -> None:
    tables = read_tables(REPLIES, Instant(1500))
    assert [(ban.client, ban.until, ban.automatic) for ban in tables.bans] == [
        ("192.0.2.9", 2000, True),
        ("2001:db8::", 2001, False),
    ]


@pytest.mark.parametrize(
    "odd", ["junk\n", METHODS.replace("http_req_cnt=9 ", ""), METHODS.replace("=9 ", "=x ")]
)
def test_what_cannot_be_understood_is_no_empty_table(odd: str) -> None:
    with pytest.raises(Malformed):
        read_tables((HEAD + odd, *REPLIES[1:]), Instant(0))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_odd_bytes_are_malformed_and_nothing_else(text: str) -> None:
    with contextlib.suppress(Malformed, Refused):
        read_tables((text, *REPLIES[1:]), Instant(0))


@pytest.mark.parametrize(
    ("given_as", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0:1::9", "2001:db8::"),
        ("2001:db8:0:7::/64", "2001:db8:0:7::"),
        ("::1", "::"),
    ],
)
def test_clients_are_counted_by_address_or_by_64(given_as: str, counted: str) -> None:
    assert counted_as(given_as) == counted


@pytest.mark.parametrize("odd", ["", "node", "192.0.2.0/24", "2001:db8::/48", "1.2.3", "key:shop"])
def test_what_is_no_client_cannot_be_banned(odd: str) -> None:
    with pytest.raises(Malformed):
        counted_as(odd)
