"""TOML with lines: the locator against many layouts, and faults in words."""

from __future__ import annotations

import json
import string
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from nodegate.documents import Document, KeyPath, dotted, load, parse, validate
from nodegate.errors import BadDocument

LAYOUT = '''\
# a comment with [brackets] and "quotes"
top = 1

[plain] # [not this]
a.b = 1
a . "c d" = 2
"quoted # key" = """
[inside] = "a string"
x = 1
"""
literal = \'\'\'
y = 2\'\'\'
after = [
  1, # one ]
  [2, "]"], { k = 3, deep = [
  4] },

]
last = 1979-05-27 07:32:00

[ spaced . out ]
k=-1.5e3
[[list]]
k = "\\" = ["
[list.sub]
k = 2
[[list.inner]]
[[list.inner]]
k = 3
[[list]]
k = { x.y = 1 }
[parent.child]
[parent]
k = 1
'''


LINES: dict[KeyPath, int] = {
    ("top",): 2,
    ("plain",): 4,
    ("plain", "a"): 5,
    ("plain", "a", "b"): 5,
    ("plain", "a", "c d"): 6,
    ("plain", "quoted # key"): 7,
    ("plain", "literal"): 11,
    ("plain", "after"): 13,
    ("plain", "after", 0): 14,
    ("plain", "after", 1): 15,
    ("plain", "after", 1, 1): 15,
    ("plain", "after", 2, "k"): 15,
    ("plain", "after", 2, "deep"): 15,
    ("plain", "after", 2, "deep", 0): 16,
    ("plain", "last"): 19,
    ("spaced",): 21,
    ("spaced", "out", "k"): 22,
    ("list",): 23,
    ("list", 0): 23,
    ("list", 0, "k"): 24,
    ("list", 0, "sub"): 25,
    ("list", 0, "sub", "k"): 26,
    ("list", 0, "inner", 0): 27,
    ("list", 0, "inner", 1): 28,
    ("list", 0, "inner", 1, "k"): 29,
    ("list", 1): 30,
    ("list", 1, "k", "x", "y"): 31,
    ("parent", "child"): 32,
    ("parent",): 33,
    ("parent", "k"): 34,
}


@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "BOM"])
def test_each_key_has_its_line(ends: str, start: str) -> None:
    document = parse(start + LAYOUT.replace("\n", ends), file="f")
    assert {key: document.lines.get(key) for key in LINES} == LINES
    assert [document.line_of(key) for key in LINES] == list(LINES.values())


def test_what_has_no_line_has_that_of_its_nearest_ancestor() -> None:
    document = parse(LAYOUT, file="f")
    assert document.line_of(("plain", "missing")) == 4
    assert document.line_of(("list", 1, "missing", "too")) == 30
    assert document.line_of(("nowhere",)) is None
    assert document.line_of(()) is None


def test_line_separators_that_toml_does_not_know_do_not_count() -> None:
    document = parse('a = "x\u2028y\u0085z"\nb = 1\n', file="f")
    assert document.lines == {("a",): 1, ("b",): 2}


def paths_in(data: object, path: KeyPath = ()) -> set[KeyPath]:
    """Every key path of the data."""
    below: list[tuple[str | int, object]] = []
    if isinstance(data, dict):
        below = list(data.items())
    elif isinstance(data, list):
        below = list(enumerate(data))
    return {path} - {()} | {found for key, value in below for found in paths_in(value, (*path, key))}


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
bare_keys = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=6)


def basic(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


keys = st.one_of(bare_keys, texts.map(basic), bare_keys.map("'{}'".format))
gaps = st.sampled_from(["", " ", "\t", "  "])
breaks = st.sampled_from(["", "\n", "  # ]}\"'\n", "\n\n "])


@st.composite
def multi_line_strings(draw: st.DrawFn) -> str:
    lines = draw(
        st.lists(st.sampled_from(["", "[x]", "k = 1", "'", '\\"\\"\\"', "# no", "}", "ü\\\\"]), max_size=4)
    )
    end = draw(st.sampled_from(["", '"', '""']))
    return '"""' + "\n".join(lines) + end + '"""'


@st.composite
def multi_line_literals(draw: st.DrawFn) -> str:
    lines = draw(st.lists(st.sampled_from(["", "[x]", "k = 1", '"', '"""', "# no", "\\"]), max_size=4))
    end = draw(st.sampled_from(["", "'", "''"]))
    return "'''" + "\n".join(lines) + end + "'''"


scalars = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(
        ["true", "inf", "07:32:00", "1979-05-27T07:32:00.5-07:00", "1979-05-27 07:32:00", "0xdead_beef"]
    ),
    texts.map(basic),
    multi_line_strings(),
    multi_line_literals(),
)


def inline(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.tuples(
        st.lists(st.tuples(breaks, inner, breaks).map("".join), max_size=3), st.booleans()
    ).map(lambda parts: "[" + ",".join(parts[0]) + ("," if parts[0] and parts[1] else "") + "]")
    tables = st.dictionaries(bare_keys, inner, max_size=3).map(
        lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs.items()) + "}"
    )
    return arrays | tables


values = st.recursive(scalars, inline, max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[int]]:
    """TOML, and the lines on which it has `the-marker = N`: N is the number of that line."""
    chunks: list[str] = []
    marks: list[int] = []

    def add(text: str) -> None:
        chunks.append(text)

    for number in range(draw(st.integers(1, 5))):
        if number:
            gap = draw(gaps)
            header = draw(
                st.sampled_from(
                    [
                        f"[t{number}]",
                        f"[[list]]{gap}# x",
                        f"[ t{number} .{gap}'in' ]",
                        "[[ list ]]",
                        f"[[t{number}.deep]]",
                    ]
                )
            )
            add(header)
        for key in draw(
            st.lists(keys, max_size=3, unique_by=lambda key: parse(f"{key} = 0", file="").lines.popitem()[0])
        ):
            add(f"{draw(gaps)}{key}{draw(gaps)}={draw(gaps)}{draw(values)}{draw(gaps)}")
        line = sum(chunk.count("\n") + 1 for chunk in chunks) + 1
        marks.append(line)
        add(f"the-marker = {line}")
    return "\n".join(chunks), marks


@given(made=documents(), ends=st.sampled_from(["\n", "\r\n"]))
@settings(deadline=None, max_examples=100)
def test_in_any_layout_each_key_path_has_a_line_and_the_right_one(
    made: tuple[str, list[int]], ends: str
) -> None:
    text, marks = made
    document = parse(text.replace("\n", ends), file="f")
    assert set(document.lines) == paths_in(document.data)
    found = {path: line for path, line in document.lines.items() if path[-1] == "the-marker"}
    assert sorted(found.values()) == marks
    for path, line in found.items():
        value: Any = document.data
        for part in path:
            value = value[part]
        assert value == line


@given(text=st.text(max_size=60) | st.text("[]{}=\"'\n#.,x1 ", max_size=40))
@settings(deadline=None, max_examples=200)
def test_any_text_is_a_document_or_a_bad_one(text: str) -> None:
    outcome: Document | BadDocument
    try:
        outcome = parse(text, file="f")
    except BadDocument as error:
        outcome = error
    if isinstance(outcome, BadDocument):
        (fault,) = outcome.faults
        assert fault.file == "f"
        assert fault.line is None or 1 <= fault.line <= text.count("\n") + 1
        assert fault.message.startswith("not valid TOML: ")
    else:
        assert set(outcome.lines) == paths_in(outcome.data)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = ", 1), ("a = 1\nb = [", 2), ("a = 1\nb = [\n\n", 2), ("\n\na = 1\na = 2\n", 4), ("[a]\n[a]\n", 2), ('a = "x\n', 1)],
)  # fmt: skip
def test_what_is_not_toml_is_told_with_the_line(text: str, line: int) -> None:
    with pytest.raises(BadDocument) as raised:
        parse(text, file="f")
    assert [fault.line for fault in raised.value.faults] == [line]
    assert "(at" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 50_000 + "]" * 50_000, "nested too deeply"),
        ("a = " + "{b=" * 50_000 + "1" + "}" * 50_000, "nested too deeply"),
        ("a = " + "9" * 5000, "digits"),
    ],
    ids=["arrays", "tables", "a number"],
)
def test_what_python_cannot_hold_is_a_fault_and_no_crash(text: str, words: str) -> None:
    with pytest.raises(BadDocument, match=words):
        parse(text, file="f")


def test_depth_that_toml_takes_has_lines_too() -> None:
    document = parse("a = " + "[\n" * 60 + "]" * 60, file="f")
    assert document.lines["a", *([0] * 59)] == 60


def test_a_large_document_takes_time_in_proportion() -> None:
    text = "a = [\n" + '  "x", # y\n' * 20_000 + "]\n" + '[[nodes]]\nurl = "http://h"\n' * 10_000
    begun = time.process_time()
    document = parse(text, file="f")
    assert time.process_time() - begun < 10  # a fraction of a second; minutes if it were quadratic
    assert document.lines["nodes", 9_999, "url"] == 20_002 + 20_000


def test_a_file_is_loaded_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\n[b]\r\nc = 2\r\n")
    document = load(path)
    assert (document.file, document.data) == (str(path), {"a": 1, "b": {"c": 2}})
    assert document.lines["b", "c"] == 3


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, ": cannot be read: No such file or directory"), (b"a = 1\n\nb = '\xff'\n", ":3: not UTF-8")],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadDocument) as raised:
        load(path)
    assert str(raised.value) == f"{path}{text}"


def test_a_directory_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match="cannot be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ((), ""),
        (("a",), "a"),
        (("a", "b-c", "d_1"), "a.b-c.d_1"),
        (("nodes", 0, "url"), "nodes[0].url"),
        ((0, "a"), "[0].a"),
        (("a", "b.c", ""), 'a."b.c".""'),
        (("a b",), '"a b"'),
    ],
)
def test_a_key_path_is_written_as_toml_would(key: KeyPath, text: str) -> None:
    assert dotted(key) == text


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: int = Field(1, ge=0)
    either: int | str | None = None


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = {}
    switch: bool = True
    some: tuple[int, ...] = Field((1,), min_length=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f: name: is missing"),
        ("name = 1", "f:1: name: should be a string, not 1"),
        ("name = 'x'\nnmae = 2", "f:2: nmae: unknown key; did you mean 'name'?"),
        ("name = 'x'\nzzz = 2", "f:2: zzz: unknown key"),
        ("name = 'x'\n[inner]\n\nwieght = 2", "f:4: inner.wieght: unknown key; did you mean 'weight'?"),
        ("name = 'x'\n[inner]\nweight = -2", "f:3: inner.weight: should be greater than or equal to 0, not -2"),
        ("name = 'x'\n[inner]\nweight = 'a'", 'f:3: inner.weight: should be a valid integer, unable to parse string as an integer, not "a"'),
        ("name = 'x'\n[inner]\neither = []", "f:3: inner.either: should be an integer or a string"),
        ("name = 'x'\ninner = 5", "f:2: inner: should be a table, not 5"),
        ("name = 'x'\nseveral = {}", "f:2: several: should be a list"),
        ("name = 'x'\nseveral = [\n{},\n{wieght = 1},\n]", "f:4: several[1].wieght: unknown key; did you mean 'weight'?"),
        ("name = 'x'\n[by_name.a]\n[by_name.'b c']\nwieght = 1", "f:4: by_name.\"b c\".wieght: unknown key; did you mean 'weight'?"),
        ("name = 'x'\nsome = []", "f:2: some: should have at least 1 item after validation, not 0"),
        ("name = 'x'\nsome = [[]]", "f:2: some[0]: should be an integer"),
        ("name = 'x'\nswitch = 'maybe'", "f:2: switch: should be a valid boolean, unable to interpret input, not \"maybe\""),
    ],
)  # fmt: skip
def test_a_fault_has_file_line_key_and_words(text: str, expected: str) -> None:
    with pytest.raises(BadDocument) as raised:
        validate(Outer, parse(text, file="f"))
    assert str(raised.value) == expected


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(BadDocument) as raised:
        validate(Outer, parse("extra = 1\n[inner]\nweight = -1\nother = 1\n", file="f"))
    assert [(fault.line, fault.key) for fault in raised.value.faults] == [
        (None, "name"),
        (3, "inner.weight"),
        (4, "inner.other"),
        (1, "extra"),
    ]


def test_a_document_without_a_fault_is_the_model() -> None:
    made = validate(Outer, parse("name = 'x'\n[[several]]\nweight = 3\n", file="f"))
    assert made == Outer(name="x", several=(Inner(weight=3),))
