"""The `peers` section, and keys that no two gateways share."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.haproxy.config import Config, split_servers, to_text
from nodegate.haproxy.peers import (
    MARK,
    Peer,
    Sharing,
    mark,
    own_key,
    process_lines,
    sections,
    spent_elsewhere,
    table_words,
    unmarked,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)
ALONE = Sharing()
TWO = Sharing(
    me="b",
    listen="10.0.0.2:7",
    others=(Peer(name="c", place="10.0.0.3:7"), Peer(name="a", place="10.0.0.1:7")),
)


def test_a_lone_gateway_has_no_section_and_plain_keys() -> None:
    assert (sections(ALONE), process_lines(ALONE), table_words(ALONE)) == ((), (), ())
    assert own_key("var(txn.account)", ALONE) == "var(txn.account)"
    assert list(spent_elsewhere("x", "y", ALONE)) == []


def test_the_section_does_not_depend_on_the_order_in_which_gateways_were_heard_of() -> None:
    (section,) = sections(TWO)
    (other,) = sections(Sharing(me="b", listen="10.0.0.2:7", others=TWO.others[::-1]))
    assert section == other
    assert section.lines == (
        ("bind", "10.0.0.2:7"),
        ("server", "b"),
        ("server", "a", "10.0.0.1:7"),
        ("server", "c", "10.0.0.3:7"),
    )
    assert process_lines(TWO) == (("localpeer", "b"),)


def test_a_gateway_is_never_its_own_remote_peer() -> None:
    (section,) = sections(Sharing(me="a", listen="10.0.0.1:7", others=(Peer(name="a", place="10.0.0.9:7"),)))
    assert section.lines == (("bind", "10.0.0.1:7"), ("server", "a"))


def test_with_certificates_both_sides_must_show_one() -> None:
    (section,) = sections(Sharing(me="a", listen="10.0.0.1:7", certificate="c.pem", authority="ca.pem"))
    required = ("ssl", "crt", "c.pem", "ca-file", "ca.pem", "verify", "required")
    assert section.lines[:2] == (("bind", "10.0.0.1:7", *required), ("default-server", *required))


def test_peers_stay_in_the_file_when_servers_are_taken_out_of_it() -> None:
    text = to_text(Config(peers=sections(TWO)))
    kept, servers = split_servers(text)
    assert servers == {}
    assert "    server c 10.0.0.3:7" in kept


def test_what_others_spent_is_added_for_each_of_them() -> None:
    lines = list(spent_elsewhere("var(txn.account)", "table_gpc_rate(0,t)", TWO, "{", "x", "}"))
    assert [line[2] for line in lines] == [
        f"var(txn.account),concat({mark(name)}),table_gpc_rate(0,t),add(txn.spent)" for name in ("c", "a")
    ]
    assert all(line[3:] == ("if", "{", "x", "}") for line in lines)


def test_with_bans_only_keys_are_plain_and_nothing_is_added() -> None:
    bans = Sharing(me="b", listen="10.0.0.2:7", others=TWO.others, limits=False)
    assert (bans.marks, bans.own_mark) == ((), "")
    assert table_words(bans) == ("peers", "gateways")


@given(
    name=NAMES, account=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=MARK))
)
@settings(max_examples=100, deadline=None)
def test_a_mark_can_be_taken_off_again(name: str, account: str) -> None:
    assert unmarked(account + mark(name)) == account


@pytest.mark.parametrize("other", ["gw-2", "gw-1.", "GW-1"])
def test_names_that_are_alike_have_different_marks(other: str) -> None:
    assert mark("gw-1") != mark(other)
