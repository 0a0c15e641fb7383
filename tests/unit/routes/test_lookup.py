"""Fabio's order of hosts and paths."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.routes import PlacedRoute, Rules, Variant, in_order, lookup, normal_host
from nodegate.routes.globs import IN_HOST, to_regex
from nodegate.routes.lookup import path_matches


def table(*places: str) -> list[PlacedRoute]:
    return [
        PlacedRoute(
            host=place[: place.index("/")], path=place[place.index("/") :], variants=(Variant(pool="p"),)
        )
        for place in places
    ]


def taken(routes: list[PlacedRoute], host: str, path: str, **rules: object) -> str | None:
    found = lookup(routes, host, path, Rules(**rules))  # type: ignore[arg-type]
    return None if found is None else found.host + found.path


ROUTES = table(
    "/", "/foo", "abc.com/", "abc.com/foo/", "abc.com/foo/bar", "abc.com:8443/", "z.abc.com/", "*.abc.com/",
    "*.aaa.abc.com/", "other.com:80/p", "secure.com:443/p",
)  # fmt: skip


@pytest.mark.parametrize(
    ("host", "path", "route"),
    [
        ("none.com", "/x", "/"),
        ("none.com", "/foo", "/foo"),
        ("none.com", "/fools", "/foo"),
        ("abc.com", "/", "abc.com/"),
        ("ABC.com", "/foo", "abc.com/"),
        ("abc.com", "/foo/", "abc.com/foo/"),
        ("abc.com", "/foo/barista", "abc.com/foo/bar"),
        ("abc.com:80", "/", "abc.com/"),
        ("abc.com:8443", "/", "abc.com:8443/"),
        ("abc.com.", "/", "abc.com/"),
        ("z.abc.com", "/", "z.abc.com/"),
        ("y.abc.com", "/", "*.abc.com/"),
        ("x.y.abc.com", "/", "*.abc.com/"),
        ("x.aaa.abc.com", "/", "*.aaa.abc.com/"),
        (".abc.com", "/", "*.abc.com/"),
        ("other.com", "/p", "other.com:80/p"),
        ("secure.com", "/p", "/"),
        ("other.com", "/q", "/"),
    ],
)
def test_the_most_specific_host_that_has_the_path(host: str, path: str, route: str) -> None:
    assert taken(ROUTES, host, path) == route
    assert taken(ROUTES, host, path, exact_port=True) == route


def test_a_port_that_is_in_no_route_counts_only_when_strict() -> None:
    assert taken(ROUTES, "abc.com:9999", "/foo/") == "abc.com/foo/"
    assert taken(ROUTES, "abc.com:9999", "/foo/", exact_port=True) == "/foo"


def test_the_scheme_decides_which_port_needs_no_mention() -> None:
    assert taken(ROUTES, "secure.com", "/p", tls=True) == "secure.com:443/p"
    assert taken(ROUTES, "secure.com:443", "/p", tls=True, exact_port=True) == "secure.com:443/p"
    assert taken(ROUTES, "other.com", "/p", tls=True) == "/"
    assert normal_host("A.com:443", tls=True) == "a.com"
    assert normal_host("A.com:443", tls=False) == "a.com:443"


def test_matchers() -> None:
    assert path_matches("/Foo", "/foo/x", "iprefix")
    assert not path_matches("/Foo", "/foo/x", "prefix")
    assert path_matches("/f*/x", "/foo/bar/x", "glob")
    assert not path_matches("/foo", "/foo/x", "glob")
    assert not path_matches("/f?", "/foo", "glob")


def test_globs_may_be_off() -> None:
    assert taken(ROUTES, "y.abc.com", "/", glob_hosts=False) == "/"
    assert taken(ROUTES, "*.abc.com", "/", glob_hosts=False) == "*.abc.com/"


@pytest.mark.parametrize(
    ("glob", "matches", "not_these"),
    [
        ("*.com", ["a.com", "a.b.com", ".com"], ["com", "a.org"]),
        ("**.com", ["a.com"], ["acom"]),
        ("a?c", ["abc", "a.c"], ["ac", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x"]),
        ("[abc]x", ["bx"], ["dx"]),
        ("[!a]x", ["bx"], ["ax"]),
        ("{a,b.c}x", ["ax", "b.cx"], ["bx", "bacx"]),
        ("{a,{b,c}}", ["a", "b", "c"], ["d", "bc"]),
        (r"a\*", ["a*"], ["ab"]),
        ("a,b", ["a,b"], ["a"]),
        ("[^]", ["^"], ["a"]),
    ],
)
def test_globs(glob: str, matches: list[str], not_these: list[str]) -> None:
    compiled = re.compile(to_regex(glob))
    assert [text for text in matches if not compiled.fullmatch(text)] == []
    assert [text for text in not_these if compiled.fullmatch(text)] == []


@settings(max_examples=200, deadline=None)
@given(st.text("ab*?[]{}!-,\\.^$()+|", max_size=12))
def test_every_glob_is_a_regular_expression_or_says_what_is_wrong(glob: str) -> None:
    try:
        pattern = to_regex(glob, IN_HOST)
    except ValueError as error:
        assert str(error)  # noqa: PT017 -- one of two outcomes
        return
    compiled = re.compile(pattern)
    assert not compiled.fullmatch("a/b")
    assert not compiled.fullmatch("!a") or "!" in glob


_place = st.builds(
    lambda host, path: host + path,
    st.sampled_from(
        ["", "a.com", "*.a.com", "*a.com", "b.a.com", "{a,b}.com", "[ab].com", "a.com:81", "?.com"]
    ),
    st.sampled_from(["/", "/x", "/x/", "/x/y", "/y"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_place, unique=True, max_size=8), st.sampled_from(["a.com", "b.a.com", "a.com:81", "c.org", "c.com"]), st.sampled_from(["/", "/x", "/x/y/z"]))  # fmt: skip
def test_the_order_of_the_table_is_the_order_of_the_trials(places: list[str], host: str, path: str) -> None:
    """Whatever was registered in which order, the first route in order that matches is taken."""
    routes, rules = table(*places), Rules(exact_port=True)
    assert lookup(routes, host, path, rules) == lookup(list(reversed(routes)), host, path, rules)
    ordered = in_order(routes, rules)
    found = lookup(routes, host, path, rules)
    if found is not None:
        earlier = ordered[: ordered.index(found)]
        assert all(lookup([route], host, path, rules) is None for route in earlier)
