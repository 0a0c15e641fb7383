"""The record that registries store."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.nodes import nodes, same
from nodegate.errors import BadDocument, Malformed
from nodegate.model import Intent, Node, Source
from nodegate.registry.records import read_record, write_record

NODE = Node(id="n1", url="http://h:1", kind="iri")


def altered(**changes: object) -> str:
    return json.dumps({**json.loads(write_record(NODE)), **changes})


@given(node=nodes(), version=st.integers(1, 2**62), source=st.sampled_from(Source))
@settings(deadline=None, max_examples=150)
def test_any_node_comes_back_the_same_but_for_the_version(node: Node, version: int, source: Source) -> None:
    stored = write_record(replace(node, source=source, version=3))
    expected = replace(node, source=source, version=version)
    assert same(read_record(stored, node_id=node.id, version=version), expected)
    assert same(read_record(stored.encode(), node_id=node.id, version=version), expected)


def test_the_stored_form_stays_readable_for_what_was_written_before() -> None:
    stored = (
        '{"format":1,"id":"n1","url":"http://192.0.2.1:14265","kind":"iri","pool":"main","weight":100,'
        '"maxconn":null,"intent":"drain","tls_verify":true,"options":{"path":"/x"},"source":"file"}'
    )
    node = Node(
        id="n1",
        url="http://192.0.2.1:14265",
        kind="iri",
        intent=Intent.DRAIN,
        options={"path": "/x"},
        source=Source.FILE,
        version=4,
    )
    assert read_record(stored, node_id="n1", version=4) == node
    assert write_record(node) == stored


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "it is no JSON object"),
        ("null", "it is no JSON object"),
        (b"\xff\xfe{", ""),
        ("[" * 100_000, "nested too deeply"),
        ('{"format": 1, "format": 1}', "the key 'format' stands there twice"),
        ('{"format": NaN}', "NaN is not JSON"),
        ('{"weight": ' + "9" * 5000 + "}", "digits"),
        (altered(format=2), "written by a newer nodegate (format 2, this one knows 1)"),
        (altered(format=0), "format: should be 1"),
        (altered(extra=1), "extra: unknown key"),
        (altered(weight=300), "weight: should be less than or equal to 256, not 300"),
        (altered(weight="5", url="x"), "url: 'x' is not a URL such as http://192.0.2.1:14265; weight:"),
        (altered(id="n2"), "id: it says 'n2'"),
        (altered(id=None), "id: should be a string"),
        (altered(source="moon"), "source: should be 'registry', 'file' or 'service'"),
        (json.dumps({"format": 1}), "url: is missing"),
    ],
)
def test_a_record_that_cannot_be_understood_is_told_with_id_version_and_field(
    stored: str | bytes, words: str
) -> None:
    with pytest.raises(Malformed) as raised:
        read_record(stored, node_id="n1", version=12)
    assert str(raised.value).startswith("record of node 'n1' (version 12): ")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@given(stored=st.binary(max_size=60) | st.text(max_size=60) | st.from_type(dict).map(str))
@settings(deadline=None, max_examples=150)
def test_any_bytes_are_a_node_or_malformed(stored: str | bytes) -> None:
    with pytest.raises(Malformed):
        read_record(stored, node_id="n1", version=1)


@pytest.mark.parametrize(
    "node",
    [
        replace(NODE, weight=300),
        replace(NODE, url="http://1.2.3:80"),
        replace(NODE, id="a b"),
        replace(NODE, options={"x": float("nan")}),
        replace(NODE, options={"x": "\ud800"}),
    ],
)
def test_what_could_not_be_read_back_is_not_written(node: Node) -> None:
    with pytest.raises(BadDocument):
        write_record(node)
