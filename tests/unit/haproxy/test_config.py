from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Unsafe
from nodegate.haproxy.config import (
    MAX_WORDS,
    Backend,
    Config,
    Defaults,
    Frontend,
    Global,
    host_port,
    insert_servers,
    line_text,
    literal,
    own_place,
    quote,
    skeleton_digest,
    split_host_port,
    split_servers,
    to_text,
    words,
)

CONFIG = Config(
    process=Global(lines=(words("maxconn", 10),)),
    defaults=Defaults(lines=(words("mode", "http"),)),
    frontends=(Frontend(name="clients", lines=(words("bind", "*:80"),)),),
    backends=(Backend(name="pool_a", lines=(words("balance", "first"),)), Backend(name="pool_b")),
)


def haproxy_words(line: str) -> list[str]:
    """What HAProxy makes of a line: its manual's rules for spaces, quotes, escapes, comments, variables."""
    found: list[str] = []
    word: str | None = None
    quoted = ""
    at = 0
    while at < len(line):
        char = line[at]
        if quoted == "'":
            if char == "'":
                quoted = ""
            else:
                word = (word or "") + char
        elif char == "\\":
            at += 1
            word = (word or "") + line[at]
        elif char in "'\"":
            quoted, word = char, word or ""
        elif char in " \t":
            if word is not None:
                found.append(word)
            word = None
        elif char == "#":
            break
        else:
            assert char != "$", "a variable would be expanded"
            word = (word or "") + char
        at += 1
    assert not quoted
    return [*found, word] if word is not None else found


@given(st.lists(st.text(), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_text_is_refused_or_exactly_one_word(texts: list[str]) -> None:
    try:
        line = line_text(tuple(texts))
    except Unsafe:
        assert any(
            ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in "".join(texts)
        )
        return
    assert "\n" not in line
    assert haproxy_words(line) == texts


@pytest.mark.parametrize("text", ["a\nserver evil 192.0.2.1:1", "a\rb", "a\x00b", "\ud800"])
def test_what_no_quoting_can_carry_is_refused(text: str) -> None:
    with pytest.raises(Unsafe, match="cannot carry"):
        quote(text)


def test_plain_words_stay_readable() -> None:
    assert quote("req.hdr(host),lower") == "req.hdr(host),lower"
    assert quote("") == "''"
    assert quote("$HOME # it's") == r"'$HOME # it'\''s'"


def test_a_literal_percent_is_not_a_log_format() -> None:
    assert literal("/a%2Fb") == "/a%%2Fb"


def test_sections_are_written_in_order_with_servers_at_the_end_of_their_backend() -> None:
    text = insert_servers(to_text(CONFIG), {"pool_a": ["    server x 192.0.2.1:1"]})
    assert text == (
        "global\n    maxconn 10\n\ndefaults\n    mode http\n\nfrontend clients\n    bind *:80\n\n"
        "backend pool_a\n    balance first\n    server x 192.0.2.1:1\n\nbackend pool_b\n"
    )


def test_servers_of_a_backend_that_is_not_there_are_left_out() -> None:
    assert insert_servers(to_text(CONFIG), {"pool_z": ["    server x 192.0.2.1:1"]}) == to_text(CONFIG)


@given(
    st.dictionaries(
        st.sampled_from(["pool_a", "pool_b"]),
        st.lists(st.from_regex(r"    server [a-z]{1,5} [0-9.:]{1,9}", fullmatch=True), min_size=1),
    )
)
@settings(max_examples=50, deadline=None)
def test_splitting_is_the_inverse_of_inserting(servers: dict[str, list[str]]) -> None:
    assert split_servers(insert_servers(to_text(CONFIG), servers)) == (to_text(CONFIG), servers)


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_damaged_file_can_be_split(text: str) -> None:
    rest, servers = split_servers(text)
    assert "\n    server " not in f"\n{rest}"
    assert all(line.startswith("    server ") for lines in servers.values() for line in lines)


def test_two_sections_of_one_name_are_refused() -> None:
    with pytest.raises(Unsafe, match="pool_a"):
        to_text(Config(backends=(Backend(name="pool_a"), Backend(name="pool_a"))))


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a/b", "ä", "a#"])
def test_odd_section_names_are_refused(name: str) -> None:
    with pytest.raises(Unsafe, match="not a name"):
        to_text(Config(frontends=(Frontend(name=name),)))


def test_more_words_than_haproxy_reads_are_refused() -> None:
    assert line_text(("x",) * MAX_WORDS)
    with pytest.raises(Unsafe, match="64"):
        line_text(("x",) * (MAX_WORDS + 1))
    with pytest.raises(Unsafe):
        line_text(())


def test_the_digest_changes_with_any_directive() -> None:
    other = Config(
        process=CONFIG.process, defaults=Defaults(lines=(words("mode", "tcp"),)),
        frontends=CONFIG.frontends, backends=CONFIG.backends,
    )  # fmt: skip
    assert skeleton_digest(CONFIG) == skeleton_digest(CONFIG)
    assert skeleton_digest(other) != skeleton_digest(CONFIG)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 80), ("::1", 443), ("node.example", 1)])
def test_places_round_trip(host: str, port: int) -> None:
    assert split_host_port(host_port(host, port)) == (host, port)


@pytest.mark.parametrize("place", ["", "host", "host:", "host:x", "host:²"])
def test_what_is_no_place_is_refused(place: str) -> None:
    with pytest.raises(Unsafe):
        split_host_port(place)


@pytest.mark.parametrize(
    ("place", "own"),
    [
        ("*:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("[::]:80", "[::1]:80"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("192.0.2.1:80", "192.0.2.1:80"),
        ("localhost:80", "localhost:80"),
    ],
)
def test_what_listens_everywhere_is_reached_on_the_loopback(place: str, own: str) -> None:
    assert own_place(place) == own
