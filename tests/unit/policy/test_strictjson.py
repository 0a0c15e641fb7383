"""The scanner takes what every JSON parser reads alike, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.policy.strictjson import ESCAPED, INEXACT, JsonFault, Opaque, Value, parse

_NAMES = st.text(alphabet="abcdefgh_0123", max_size=4)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.text(max_size=8),
    st.floats(-1e9, 1e9).map(lambda number: round(number, 4)),
)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=4))
)


def read(data: bytes) -> Value:
    return parse(data, max_depth=32, max_values=5000)


def rule_of(data: bytes) -> str:
    with pytest.raises(JsonFault) as caught:
        read(data)
    return caught.value.rule


def same(value: Value, wanted: Any) -> bool:
    if isinstance(value, Opaque):
        return isinstance(wanted, str if value is ESCAPED else float)
    if isinstance(value, dict):
        return value.keys() == wanted.keys() and all(same(value[name], wanted[name]) for name in value)
    if isinstance(value, list):
        return len(value) == len(wanted) and all(map(same, value, wanted))
    if isinstance(value, bytes):
        return bool(value.decode() == wanted)
    return type(value) is type(wanted) and bool(value == wanted)


@settings(max_examples=200, deadline=None)
@given(value=_VALUES, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_what_it_takes_is_what_the_standard_library_reads(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert same(read(text), value)


@settings(max_examples=200, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=40), st.text(alphabet='{}[]",:\\u0d8e19.-tfn ', max_size=20).map(str.encode)
    )
)
def test_it_only_takes_what_the_standard_library_takes_too(data: bytes) -> None:
    try:
        read(data)
    except JsonFault:
        return
    json.loads(data)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b'{"a":1,"A":2}', "json-duplicate"),
        (b'{"\\u0061":1}', "json-name"),
        ('{"é":1}'.encode(), "json-name"),
        (b'"\\ud800"', "json-string"),
        (b'"\\ud800\\u0041"', "json-string"),
        (b'"a\tb"', "json-string"),
        (b"9007199254740993", "json-number"),
        (b"-9007199254740993", "json-number"),
        (b"1e100", "json-number"),
        (b"-", "json-number"),
        (b"01", "json-trailing"),
        (b"1 1", "json-trailing"),
        (b"[" * 33, "json-depth"),
        (b"[" + b"1," * 5000 + b"1]", "json-values"),
        (b"\xff", "body-utf8"),
        (b"", "json-syntax"),
        (b"NaN", "json-syntax"),
    ],
)
def test_each_fault_has_its_rule(data: bytes, rule: str) -> None:
    assert rule_of(data) == rule


def test_values_no_rule_may_look_into_are_opaque() -> None:
    assert read(b'["\\u0041", 1.5, 1e2, -0, "A"]') == [ESCAPED, INEXACT, INEXACT, 0, b"A"]
