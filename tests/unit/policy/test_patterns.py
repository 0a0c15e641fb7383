"""Patterns mean one thing, in linear time, and what cannot is refused with words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.policy.patterns import fits, glob_found, parse_path, parse_pattern, path_fits


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("[A-Z9]{81}", b"A" * 81, b"A" * 80),
        ("[A-Z9]{1,27}", b"TAG9", b""),
        ("0x[0-9a-fA-F]{40}", b"0x" + b"aB" * 20, b"0X" + b"aB" * 20),
        ("[a-z]+-?[0-9]*", b"abc-12", b"-12"),
        (r"a\.b", b"a.b", b"axb"),
        ("[0-9.]{1,16}", b"1.4.2", b"1.4\n"),
    ],
)
def test_a_pattern_fits_the_whole_value(pattern: str, fitting: bytes, other: bytes) -> None:
    atoms = parse_pattern(pattern)
    assert fits(atoms, fitting)
    assert not fits(atoms, other)
    assert not fits(atoms, fitting + b"!")


@pytest.mark.parametrize(
    "pattern",
    ["(a|b)", "a.b", "^a", "a$", "[^a]", "[a", "[]", "a{3,2}", "a{0}", "[z-a]", "[a-z]*a", "é", "a**"],
)
def test_what_engines_read_differently_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_pattern(pattern)


_ATOMS = st.lists(
    st.sampled_from(["[A-F]{2}", "[0-4]*", "[5-9]+", "x?", "-", "[a-c]{1,3}"]),
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(max_examples=150, deadline=None)
@given(atoms=_ATOMS, value=st.text(alphabet="AF04a59cx-", max_size=10))
def test_disjoint_atoms_mean_what_a_regular_expression_means(atoms: list[str], value: str) -> None:
    pattern = "".join(atoms)
    assert fits(parse_pattern(pattern), value.encode()) == (re.fullmatch(pattern, value) is not None)


@pytest.mark.parametrize(
    ("pattern", "whole", "found"),
    [
        ("curl*", True, True),
        ("*8.0", True, True),
        ("curl", True, False),
        ("URL", False, True),
        ("c*0", False, True),
        ("0*c", False, False),
        ("curl/8.0", True, True),
        ("*", True, True),
        ("curl/8.0.0*", True, False),
    ],
)
def test_globs_find_their_literals_in_order(pattern: str, whole: bool, found: bool) -> None:
    assert glob_found(pattern, b"Curl/8.0", whole=whole) is found


def test_the_same_text_cannot_serve_two_literals_of_a_glob() -> None:
    assert not glob_found("ab*ba", b"aba", whole=True)
    assert glob_found("ab*ba", b"abba", whole=True)


@pytest.mark.parametrize(
    ("pattern", "path", "fitting"),
    [
        ("/", b"", True),
        ("/api/blocks/{id}", b"api/blocks/0x1", True),
        ("/api/blocks/{id}", b"api/blocks/", False),
        ("/api/blocks/{id}", b"api/blocks/a/b", False),
        ("/api/{id:[0-9]+}", b"api/12a", False),
        ("/api/**", b"api/a/b", True),
        ("/api/**", b"api", True),
        ("/api/**", b"apis", False),
        ("/**", b"anything", True),
    ],
)
def test_paths_fit_segment_by_segment(pattern: str, path: bytes, fitting: bool) -> None:
    assert path_fits(parse_path(pattern), tuple(path.split(b"/"))) is fitting


@pytest.mark.parametrize("pattern", ["api", "/a//b", "/../a", "/a b", "/{Id}", "/a*b", "/%61"])
def test_a_path_that_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(pattern)
