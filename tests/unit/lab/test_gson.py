from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import Malformed
from nodegate.lab.gson import MAX_DEPTH, request_map

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"command":"getNodeInfo"}', {"command": "getNodeInfo"}),
        (r'{"\u0063ommand":"getNode\u0049nfo"}', {"command": "getNodeInfo"}),
        ("{command:getNodeInfo}", {"command": "getNodeInfo"}),
        ("{'command'='getNodeInfo'}", {"command": "getNodeInfo"}),
        ("{command => getNodeInfo; depth = 3}", {"command": "getNodeInfo", "depth": 3.0}),
        ('{/* x */"command"// y\n:#z\n"a"}', {"command": "a"}),
        (")]}'\n{'a':1}", {"a": 1.0}),
        ('[["command","getNodeInfo"],["depth",3]]', {"command": "getNodeInfo", "depth": 3.0}),
        ("[]", {}),
        ('{"command":null,"command":"late"}', {"command": "late"}),
        ('{"a":{"b":1,"b":2}}', {"a": {"b": 2}}),
        ("{'a':[1;2,,3]}", {"a": [1.0, 2.0, None, 3.0]}),
        ("{'a':[]}", {"a": []}),
        ("{'a':TRUE,'b':Null,'c':-1.5e3,'d':1x}", {"a": True, "b": None, "c": -1500.0, "d": "1x"}),
        ("{'a':'it\\'s \\t\\/'}", {"a": "it's \t/"}),
        ("", None),
        (" \n", None),
        ("null", None),
        ("// nothing", None),
    ],
)
def test_lenient_texts_mean_what_they_mean_to_a_node(text: str, wanted: dict[Any, Any] | None) -> None:
    assert request_map(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "hello",
        "5",
        '"command"',
        "{'a'}",
        "{'a':}",
        "{'a':1,}",
        "{'a':1}}",
        '{"a":1} x',
        "[1]",
        '[["a"]]',
        '[["a",1,2]]',
        "{'a':'unterminated",
        r"{'a':'\x'}",
        r"{'a':'\u12G4'}",
        "{'a':/* never ended",
        '{"command":"a","command":"b"}',
        '[["command","a"],["command","b"]]',
        "{'a':" + "[" * (MAX_DEPTH + 2) + "}",
    ],
)
def test_what_gson_refuses_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        request_map(text)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_plain_json_means_the_same_as_to_a_strict_reader(document: dict[str, Any]) -> None:
    assert request_map(json.dumps(document)) == document
    assert request_map(" # lenient\n" + json.dumps(document)) == document


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="{}[]:=>,;'\"\\/*#u0aN1 \n", max_size=60) | st.text(max_size=60))
def test_any_text_is_a_map_or_malformed_and_nothing_else(text: str) -> None:
    try:
        found = request_map(text)
    except Malformed:
        return
    assert found is None or isinstance(found, dict)
