"""Nodes made and revised from what operators write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.nodes import KINDS, nodes, same, urls
from nodegate.documents import parse
from nodegate.errors import BadDocument
from nodegate.model import Intent, Node, Source
from nodegate.registry.records import declared_nodes, document_of, new_node, revise
from nodegate.settings import Settings

NODE = Node(id="n1", url="http://192.0.2.1:14265", kind="iri", options={"path": "/x"}, version=7)


def faults(raised: pytest.ExceptionInfo[BadDocument]) -> dict[str, str]:
    return {fault.key: fault.message for fault in raised.value.faults}


def test_a_url_and_a_kind_make_a_node_with_the_documented_defaults() -> None:
    node = new_node({"url": "http://192.0.2.1:14265/", "kind": "iri"}, KINDS)
    assert node == Node(id="192.0.2.1-14265", url="http://192.0.2.1:14265", kind="iri")
    assert (node.pool, node.weight, node.maxconn, node.intent) == ("main", 100, None, Intent.SERVE)
    assert (node.source, node.version) == (Source.REGISTRY, 0)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("url", "ftp://h", "is not a URL"),
        ("url", "http://user:word@h", "no user name"),
        ("url", 5, "should be a string, not 5"),
        ("kind", "tron", "'tron' is no kind of node; known: evm, iri"),
        ("kind", None, "should be a string"),
        ("id", "-a", "use 1 to 63 letters"),
        ("id", "", "use 1 to 63 letters"),
        ("pool", "a b", "use 1 to 63 letters"),
        ("weight", 257, "less than or equal to 256, not 257"),
        ("weight", -1, "greater than or equal to 0, not -1"),
        ("weight", "100", 'should be an integer, not "100"'),
        ("weight", True, "should be an integer, not true"),
        ("weight", 1.0, "should be an integer, not 1.0"),
        ("weight", None, "should be an integer"),
        ("maxconn", 0, "greater than or equal to 1, not 0"),
        ("intent", "stop", "should be 'serve', 'drain' or 'remove', not \"stop\""),
        ("tls_verify", "no", 'should be true or false, not "no"'),
        ("options", [], "should be a table"),
        ("wieght", 1, "unknown key; did you mean 'weight'?"),
        ("version", 1, "unknown key"),
        ("source", "file", "unknown key"),
    ],
)
def test_a_fault_names_its_field(field: str, value: object, words: str) -> None:
    with pytest.raises(BadDocument) as raised:
        new_node({"url": "http://h:1", "kind": "iri", field: value}, KINDS, file="request")
    (key, message), *others = faults(raised).items()
    assert (key, others) == (field, [])
    assert words in message
    assert str(raised.value).startswith(f"request: {field}: ")


@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        ({"path": "x"}, "options.path", "must begin with a slash"),
        ({"status": "200"}, "options.status", "must be a number"),
        ({"depth": 1}, "options.depth", "is not an option of iri nodes"),
        ({"two words": 1}, 'options."two words"', "is not an option of iri nodes"),
        ({"path": [1]}, "options.path", "should be a string or an integer or a number or true or false"),
        ({"path": None}, "options.path", "should be a string or"),
        ({"path": float("nan")}, "options.path", "should be"),
        ({"path": float("inf")}, "options.path", "should be"),
        ({"path": "\ud800"}, "options", "is not text"),
        ({"\ud800": 1}, "options", "is not text"),
    ],
)
def test_a_fault_in_an_option_names_the_option(options: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(BadDocument) as raised:
        new_node({"url": "http://h:1", "kind": "iri", "options": options}, KINDS)
    assert list(faults(raised)) == [key]
    assert words in faults(raised)[key]
    str(raised.value).encode()  # can be printed


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(BadDocument) as raised:
        new_node({"kind": "a b", "weight": 999, "more": 1}, KINDS)
    assert list(faults(raised)) == ["url", "kind", "weight", "more"]
    assert faults(raised)["url"] == "is missing"


def test_without_any_kind_installed_the_fault_says_so() -> None:
    with pytest.raises(BadDocument, match="none installed"):
        new_node({"url": "http://h:1", "kind": "iri"}, {})


def test_a_revision_changes_what_is_named_and_keeps_the_rest() -> None:
    revised = revise(NODE, {"weight": 5, "intent": "drain", "maxconn": 3}, KINDS)
    expected = {**document_of(NODE), "weight": 5, "intent": "drain", "maxconn": 3}
    assert document_of(revised) == expected
    assert (revised.version, revised.source) == (NODE.version, NODE.source)
    assert revise(revised, {"maxconn": None}, KINDS).maxconn is None


def test_a_revision_replaces_the_options_as_a_whole() -> None:
    assert revise(NODE, {"options": {"status": 204}}, KINDS).options == {"status": 204}


def test_a_revision_keeps_an_id_that_the_url_would_not_give() -> None:
    assert revise(NODE, {"url": "http://other:1"}, KINDS).id == "n1"


def test_an_id_cannot_be_revised_but_may_be_repeated() -> None:
    assert revise(NODE, {"id": "n1"}, KINDS) == NODE
    with pytest.raises(BadDocument) as raised:
        revise(NODE, {"id": "n2"}, KINDS)
    assert "cannot be changed" in faults(raised)["id"]


@pytest.mark.parametrize(
    "changes", [{"weight": 999}, {"kind": "tron"}, {"options": {"no": 1}}, {"version": 1}]
)
def test_a_revision_is_checked_like_a_new_node(changes: dict[str, Any]) -> None:
    with pytest.raises(BadDocument):
        revise(NODE, changes, KINDS)


def test_a_node_with_an_option_that_its_kind_no_longer_takes_can_still_be_drained() -> None:
    old = Node(id="n1", url="http://h:1", kind="iri", options={"gone": 1})
    assert revise(old, {"intent": "drain"}, KINDS).intent is Intent.DRAIN
    with pytest.raises(BadDocument):
        revise(old, {"url": "http://h:2"}, KINDS)


@given(node=nodes())
@settings(deadline=None, max_examples=100)
def test_a_node_written_as_a_document_is_that_node_again(node: Node) -> None:
    kinds = {node.kind: _Any(node.kind)}
    assert same(new_node(document_of(node), kinds), node)
    assert same(revise(node, {}, kinds), node)


KEYS = ["url", "kind", "id", "pool", "weight", "maxconn", "intent", "tls_verify", "options", "other", ""]
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)
)


@given(fields=st.dictionaries(st.sampled_from(KEYS), VALUES | urls() | st.just("iri"), max_size=5))
@settings(deadline=None, max_examples=150)
def test_any_fields_are_a_node_or_faults_of_these_fields(fields: dict[str, Any]) -> None:
    try:
        made: Node | BadDocument = new_node(fields, KINDS)
    except BadDocument as error:
        made = error
    if isinstance(made, BadDocument):
        assert made.faults
        assert {fault.key for fault in made.faults} <= {*fields, "url", "kind", '""'}
    else:
        shown = document_of(made)
        assert all(shown[key] == value for key, value in fields.items() if key != "url" and value is not None)


class _Any(type(KINDS["iri"])):  # type: ignore[misc]  # any class that satisfies Adapter
    """A kind that takes any option."""

    def faults(self, node: Node) -> tuple[str, ...]:
        return ()


DECLARED = """
[[nodes]]
url = "http://h:1"
kind = "iri"
weight = 7
options = {status = 200}

[[nodes]]
url = "http://h:2"
kind = "evn"

[[nodes]]
url = "http://h:3"
kind = "iri"
[nodes.options]
path = "x"
"""


def test_declared_nodes_are_the_files_and_have_no_version() -> None:
    settings = Settings.model_validate(parse(DECLARED, file="f").data)
    good = settings.model_copy(update={"nodes": settings.nodes[:1]})
    assert declared_nodes(good, KINDS) == (
        Node(id="h-1", url="http://h:1", kind="iri", weight=7, options={"status": 200}, source=Source.FILE),
    )


def test_faults_of_declared_nodes_have_file_line_and_key() -> None:
    document = parse(DECLARED, file="nodegate.toml")
    with pytest.raises(BadDocument) as raised:
        declared_nodes(Settings.model_validate(document.data), KINDS, document)
    assert str(raised.value).splitlines() == [
        "nodegate.toml:10: nodes[1].kind: 'evn' is no kind of node; known: evm, iri",
        "nodegate.toml:16: nodes[2].options.path: must begin with a slash",
    ]
