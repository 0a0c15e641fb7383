"""Import and export."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.nodes import KINDS, nodes, same
from nodegate.errors import BadDocument, Fault
from nodegate.model import Intent, Node, Source
from nodegate.registry.records import FORMATS, Format, format_nodes, format_of, parse_nodes
from nodegate.settings import NodeSettings, default_id

TWO = [
    Node(id="a", url="http://192.0.2.1:14265", kind="iri"),
    Node(
        id="b",
        url="https://node.example/evm",
        kind="evm",
        pool="evm",
        weight=7,
        maxconn=3,
        intent=Intent.DRAIN,
        tls_verify=False,
        options={"status": 200, 'quoted "name"': "two\nlines"},
    ),
]

unique_nodes = st.lists(nodes(), max_size=4, unique_by=lambda node: node.id)


@given(listed=unique_nodes, format=st.sampled_from(["json", "toml"]))
@settings(deadline=None, max_examples=150)
def test_what_is_exported_is_imported_the_same(listed: list[Node], format: Format) -> None:
    text = format_nodes([replace(node, version=9, source=Source.FILE) for node in listed], format)
    back = parse_nodes(text, format, "export")
    assert len(back) == len(listed)
    assert all(same(one, other) for one, other in zip(back, listed, strict=True))
    assert format_nodes(back, format) == text


@given(listed=st.lists(nodes(), max_size=4, unique_by=lambda node: default_id(node.url)))
@settings(deadline=None, max_examples=50)
def test_the_plain_format_keeps_kind_and_url(listed: list[Node]) -> None:
    back = parse_nodes(format_nodes(listed, "plain"), "plain", "export")
    assert back == [Node(id=default_id(node.url), url=node.url, kind=node.kind) for node in listed]


@given(text=st.text(max_size=80), format=st.sampled_from(FORMATS))
@settings(deadline=None, max_examples=150)
def test_any_text_is_a_list_of_nodes_or_a_bad_document(text: str, format: Format) -> None:
    found: Sequence[Fault] = ()
    try:
        parse_nodes(text, format, "f")
    except BadDocument as error:
        found = error.faults or [Fault(file="", line=None, key="", message="a bad document without a fault")]
    assert all(fault.file == "f" for fault in found)


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_list_is_a_list(format: Format) -> None:
    assert parse_nodes(format_nodes([], format), format, "f") == []


@pytest.mark.parametrize("format", FORMATS)
def test_a_byte_order_mark_and_windows_line_ends_are_taken(format: Format) -> None:
    listed = [Node(id=f"192.0.2.1-{port}", url=f"http://192.0.2.1:{port}", kind="iri") for port in (1, 2)]
    text = "\ufeff" + format_nodes(listed, format).replace("\n", "\r\n")
    assert parse_nodes(text, format, "f") == listed


def test_json_shows_every_field_and_letters_as_they_are() -> None:
    shown = json.loads(format_nodes(TWO, "json"))["nodes"]
    assert shown[0] == {
        "id": "a",
        "url": "http://192.0.2.1:14265",
        "kind": "iri",
        "pool": "main",
        "weight": 100,
        "maxconn": None,
        "intent": "serve",
        "tls_verify": True,
        "options": {},
    }
    assert "ä" in format_nodes([replace(TWO[0], options={"x": "ä"})], "json")


def test_exported_toml_can_be_put_into_nodegate_toml() -> None:
    text = format_nodes([TWO[0], replace(TWO[1], intent=Intent.SERVE)], "toml")
    declared = [NodeSettings.model_validate(entry) for entry in tomllib.loads(text)["nodes"]]
    assert [(node.node_id, node.url, node.weight) for node in declared] == [
        ("a", TWO[0].url, 100),
        ("b", TWO[1].url, 7),
    ]


def test_toml_leaves_out_what_has_its_default() -> None:
    assert format_nodes(TWO[:1], "toml") == (
        '[[nodes]]\nid = "a"\nurl = "http://192.0.2.1:14265"\nkind = "iri"\npool = "main"\n'
    )


PLAIN = """# our nodes
iri  http://192.0.2.1:14265   # the old one

\tevm https://node.example
"""


def test_a_plain_list_takes_comments_and_blanks() -> None:
    assert parse_nodes(PLAIN, "plain", "f", adapters=KINDS) == [
        Node(id="192.0.2.1-14265", url="http://192.0.2.1:14265", kind="iri"),
        Node(id="node.example-443", url="https://node.example", kind="evm"),
    ]


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        ("plain", "iri\n", "f:1: write KIND URL, such as `iri http://192.0.2.1:14265`, not 'iri'"),
        ("plain", "\niri ftp://x\n", "f:2: nodes[0].url: 'ftp://x' is not a URL such as"),
        ("plain", "iri http://h:1\niri http://h:1\n", "f:2: nodes[1].id: the id 'h-1' is taken by the node in line 1"),
        ("plain", "#\nnem http://h:1", "f:2: nodes[0].kind: 'nem' is no kind of node; known: evm, iri"),
        ("toml", "[[nodes]]\nurl = 'http://h:1'\n", "f:1: nodes[0].kind: is missing"),
        ("toml", "[[nodes]]\nurl = 'http://h:1'\nkind = 'iri'\nweigh = 1\n", "f:4: nodes[0].weigh: unknown key; did you mean 'weight'?"),
        ("toml", "[[nodes]]\nurl='http://h'\nkind='iri'\n[nodes.options]\nz = 1\n", "f:5: nodes[0].options.z: is not"),
        ("toml", "[gateway]\n", "f:1: gateway: unknown key"),
        ("toml", "x = [\n", "f:1: not valid TOML: "),
        ("json", '{"nodes":\n [}', "f:2: not valid JSON: Expecting value"),
        ("json", "[]", "f: write one object: "),
        ("json", "{}", "f: nodes: is missing"),
        ("json", '{"nodes": {}}', "f: nodes: should be a list"),
        ("json", '{"nodes": [1]}', "f: nodes[0]: should be a table"),
        ("json", '{"nodes": [{"url": "http://h", "kind": "iri", "weight": 1.5}]}', "f: nodes[0].weight: should be an integer, not 1.5"),
        ("json", '{"nodes": [], "nodes": []}', "f: not valid JSON: the key 'nodes' stands there twice"),
        ("json", '{"nodes": [{"url": "http://h", "kind": "iri"}, {"url": "http://h", "kind": "evm"}]}', "f: nodes[1].id: the id 'h-80' is taken by nodes[0]"),
        ("json", '{"nodes": ' + "[" * 100_000, "f: not valid JSON: nested too deeply"),
    ],
)  # fmt: skip
def test_a_fault_points_into_the_file(format: Format, text: str, expected: str) -> None:
    with pytest.raises(BadDocument) as raised:
        parse_nodes(text, format, "f", adapters=KINDS)
    assert expected in str(raised.value)


def test_without_adapters_kinds_are_left_for_whoever_has_them() -> None:
    (node,) = parse_nodes("nem http://h:1", "plain", "f")
    assert node.kind == "nem"


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.json", "json"), ("A.JSON", "json"), ("x.y.toml", "toml"), ("nodes", "plain"), ("nodes.txt", "plain"), ("json", "json")],
)  # fmt: skip
def test_the_name_of_a_file_tells_its_format(name: str, format: Format) -> None:
    assert format_of(name) == format
