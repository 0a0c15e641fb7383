from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Malformed, Refused, Unsafe
from nodegate.haproxy import wire
from nodegate.model import Server, ServerState


def a_server(**more: Any) -> Server:
    values: dict[str, Any] = {
        "backend": "pool_main", "name": "n", "address": "192.0.2.1", "port": 14265, "weight": 7,
        "state": ServerState.DRAIN,
    }  # fmt: skip
    return Server(**(values | more))


def test_a_server_is_added_with_its_check_and_its_state() -> None:
    add, health, state = wire.add_server(a_server(), None)
    assert add.startswith("add server pool_main/n 192.0.2.1:14265 weight 7 check ")
    assert (health, state) == ("enable health pool_main/n", "set server pool_main/n state drain")


def test_a_server_is_added_under_a_given_number() -> None:
    add, *_ = wire.add_server(a_server(), None, 10_001)
    assert add == wire.add_server(a_server(), None)[0] + " id 10001"


def test_each_change_of_a_server_is_one_command() -> None:
    assert wire.set_weight(a_server()) == ("set server pool_main/n weight 7",)
    assert wire.set_maxconn(a_server(maxconn=4)) == ("set maxconn server pool_main/n 4",)
    assert wire.set_maxconn(a_server()) == ("set maxconn server pool_main/n 0",)
    assert wire.set_address(a_server(address="::1", port=5)) == ("set server pool_main/n addr ::1 port 5",)
    assert wire.delete_server(a_server())[-1] == "del server pool_main/n"


COMMANDS = (
    wire.set_state,
    wire.set_weight,
    wire.set_maxconn,
    wire.set_address,
    wire.delete_server,
)


@given(st.text(max_size=12), st.text(max_size=12))
@settings(max_examples=200, deadline=None)
def test_no_name_can_become_a_second_command(name: str, address: str) -> None:
    server = a_server(name=name, address=address)
    for command in COMMANDS:
        try:
            lines = command(server)
        except Unsafe:
            continue
        for line in lines:
            assert not set(line) & set("\n\r;\\"), line
            assert line.count(" ") <= 6


def test_spaces_in_a_path_are_escaped_and_line_breaks_refused() -> None:
    assert wire.command_word("/my state/a;b\\c") == r"/my\ state/a\;b\\c"
    for text in ("a\nb", "<<", "\x00", ""):
        with pytest.raises(Unsafe):
            wire.command_word(text)


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40).filter(
    lambda word: not word.startswith("#")
)


@given(st.dictionaries(WORDS, WORDS, max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_map_is_filled_in_pieces_that_fit_into_a_buffer(entries: dict[str, str]) -> None:
    *adds, commit = wire.fill_map("routes", 3, entries)
    assert commit == "commit map @3 maps/routes.map"
    lines = []
    for add in adds:
        first, *rest = add.split("\n")
        assert first == "add map @3 maps/routes.map <<"
        assert len(add) < wire.PAYLOAD_CHUNK + 200
        assert rest.pop() == ""
        assert all(rest)  # an empty line would end the payload
        lines += rest
    assert dict(line.split(" ") for line in lines) == entries


@pytest.mark.parametrize("word", ["", "a  b", " a", "a ", "a\nb", "ä", "a\x7f"])
def test_what_a_map_cannot_hold_is_refused(word: str) -> None:
    for entries in ({word: "x"}, {"x": word}):
        with pytest.raises(Unsafe):
            wire.map_lines(entries)


@pytest.mark.parametrize("key", ["a b", "#a"])
def test_what_can_be_no_key_can_still_be_a_value(key: str) -> None:
    with pytest.raises(Unsafe):
        wire.map_lines({key: "x"})
    assert wire.map_lines({"x": key}) == (f"x {key}",)


def test_a_certificate_is_sent_without_the_empty_line_that_would_end_it() -> None:
    (command,) = wire.set_certificate("certificate.pem", "A\r\n\nB\n\n")
    assert command == "set ssl cert certificate.pem <<\nA\nB\n"


@given(st.lists(st.binary(max_size=40).filter(lambda data: b"> " not in data), max_size=6))
@settings(max_examples=100, deadline=None)
def test_replies_are_told_apart_by_the_prompt(parts: list[bytes]) -> None:
    data = b"".join(part + wire.PROMPT for part in parts)
    assert wire.split_replies(data, len(parts)) == tuple(part.decode(errors="replace") for part in parts)


@given(st.binary(), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_replies_or_malformed(data: bytes, count: int) -> None:
    try:
        replies = wire.split_replies(data, count)
    except Malformed:
        return
    assert len(replies) == count


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_reply_is_accepted_refused_or_malformed(reply: str) -> None:
    for read in (wire.accepted, wire.map_version):
        try:
            read(reply)
        except (Refused, Malformed):
            continue


def test_severity_tells_a_refusal_from_a_success() -> None:
    assert wire.accepted("[6]: New server registered.\n") == "New server registered."
    assert wire.accepted("[4]: IP changed from 'a' to 'b'\n") == "IP changed from 'a' to 'b'"
    assert wire.accepted("+ + \n") == ""
    assert wire.accepted("") == ""
    with pytest.raises(Refused, match="Already exists"):
        wire.accepted("[3]: Already exists a server with the same name in backend.\n")
    with pytest.raises(Refused, match="Unknown command"):
        wire.accepted("[6]: Unknown command: 'foo', but maybe one of the following ones is better:\n  x\n")
    assert wire.is_refusal("[3]: no")
    assert not wire.is_refusal("")


def test_the_version_of_a_prepared_map_is_read() -> None:
    assert wire.map_version("[6]: New version created: 12\n") == 12
    with pytest.raises(Malformed):
        wire.map_version("[6]: something else\n")
