from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import BadDocument
from nodegate.host.neighbours.files import Edit, edited, listed

A, B, C = "tcp://a.example.net:15600", "tcp://b.example.net:15600", "tcp://c.example.net:15600"
PEER = "/dns/peer.example.net/tcp/15600/p2p/12D3KooWEYHtkdMVrrj7yGKXcn1yMdMpZu3qEzKA7qkPmKGWQBSV"
IDENTITY = "12D3KooWEYHtkdMVrrj7yGKXcn1yMdMpZu3qEzKA7qkPmKGWQBSV"
OTHER = "/ip4/192.0.2.7/tcp/15600/p2p/12D3KooWFJ8Nq6gHLLvigTpPSbyMmLk35k1TcpJof8Y4y8yFAB32"


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        (
            '# mine\nIRI_NEIGHBORS="{A} {B}"\nX=1\n',
            Edit(add=(C,)),
            '# mine\nIRI_NEIGHBORS="{A} {B} {C}"\nX=1\n',
        ),
        ('IRI_NEIGHBORS="{A} {B}"  # keep\n', Edit(remove=(A,)), 'IRI_NEIGHBORS="{B}"  # keep\n'),
        ("IRI_NEIGHBORS='{A}'", Edit(remove=(A,)), "IRI_NEIGHBORS=''"),
        ("IRI_NEIGHBORS={A}\n", Edit(add=(B,)), 'IRI_NEIGHBORS="{A} {B}"\n'),
        ("IRI_NEIGHBORS=\n", Edit(add=(B,)), "IRI_NEIGHBORS={B}\n"),
        ("export NEIGHBORS={A}\r\nX=1\r\n", Edit(remove=(A,), add=(B,)), "export NEIGHBORS={B}\r\nX=1\r\n"),
        ("#IRI_NEIGHBORS={A}\nX=1", Edit(add=(B,)), '#IRI_NEIGHBORS={A}\nX=1\nIRI_NEIGHBORS="{B}"\n'),
        (
            "[IRI]\nPORT = 14265\n; old: {C}\n",
            Edit(add=(A,)),
            "[IRI]\nPORT = 14265\n; old: {C}\nNEIGHBORS = {A}\n",
        ),
        ("[IRI]\nNEIGHBORS = {A} {B}\n", Edit(add=(C,)), "[IRI]\nNEIGHBORS = {A} {B} {C}\n"),
        ("[IRI]\nNEIGHBORS = {A},{B} ; two\n", Edit(add=(C,)), "[IRI]\nNEIGHBORS = {A},{B},{C} ; two\n"),
        ("NEIGHBORS=TCP://A.example.net:15600\n", Edit(remove=(A,)), "NEIGHBORS=\n"),
    ],
)
def test_only_the_neighbours_change(before: str, edit: Edit, after: str) -> None:
    def filled(text: str) -> str:
        return text.replace("{A}", A).replace("{B}", B).replace("{C}", C)

    assert edited("iri", filled(before), edit) == filled(after)


@pytest.mark.parametrize("text", ['IRI_NEIGHBORS="{A}"  \n', "[IRI]\nNEIGHBORS={A}\n", "  NEIGHBORS = {A}"])
def test_what_is_there_already_or_not_there_changes_nothing(text: str) -> None:
    text = text.replace("{A}", A)
    assert edited("iri", text, Edit(add=(A,), remove=(B,))) == text
    assert edited("iri", "X=1", Edit(remove=(B,))) == "X=1"


def test_another_name_of_the_setting_may_be_given() -> None:
    assert edited("env", f'MY_PEERS="{A}"\n', Edit(remove=(A,)), keys=("MY_PEERS",)) == 'MY_PEERS=""\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"IRI_NEIGHBORS={A}\nX=1\nIRI_NEIGHBORS={B}\n", 3, "lines 1, 3"),
        (f"X=1\nIRI_NEIGHBORS={A} \\\n  {B}\n", 2, "one line"),
        (f'IRI_NEIGHBORS="{A}\n{B}"\n', 1, "one line"),
        (f"IRI_NEIGHBORS=\"{A}\" '{B}'\n", 1, "one line"),
    ],
)
def test_a_file_that_is_not_clear_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(BadDocument, match=words) as caught:
        edited("/etc/default/iri", text, Edit(add=(C,)))
    assert (caught.value.faults[0].file, caught.value.faults[0].line) == ("/etc/default/iri", line)


def test_peers_are_added_and_removed_by_identity_and_the_rest_stays() -> None:
    before = json.dumps(
        {"network": "x", "peers": [{"alias": "me", "multiAddress": PEER, "weight": 3}]}, indent=4
    )
    added = edited("peering.json", before, Edit(add=(OTHER,), alias="neu"))
    assert json.loads(added)["peers"] == [
        {"alias": "me", "multiAddress": PEER, "weight": 3},
        {"alias": "neu", "multiAddress": OTHER},
    ]
    assert '\n    "network": "x"' in added
    assert edited("peering.json", added, Edit(remove=(OTHER,))) == before
    assert json.loads(edited("peering.json", before, Edit(remove=(IDENTITY,))))["peers"] == []
    assert edited("peering.json", before, Edit(add=(PEER,), remove=(OTHER,))) == before


def test_the_form_of_hornet_0_is_kept() -> None:
    before = '{\n  "peers": [\n    {\n      "identity": "a.example.net:15600",\n      "alias": "a"\n    }\n  ]\n}\n'
    after = edited("peering.json", before, Edit(add=(B,), remove=(A,)))
    assert json.loads(after) == {"peers": [{"identity": "b.example.net:15600", "alias": ""}]}
    assert after.endswith("}\n")


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("{", "", "no JSON"),
        ("[]", "", "one object"),
        ('{"peers": {}}', "peers", "list"),
        ('{"peers": [{"multiAddress": 5}]}', "peers.0", "multiAddress"),
        ('{"peers": ["x"]}', "peers.0", "multiAddress"),
    ],
)
def test_a_peering_file_with_faults_is_refused_with_the_key(text: str, key: str, words: str) -> None:
    with pytest.raises(BadDocument, match=words) as caught:
        edited("peering.json", text, Edit(add=(PEER,)))
    assert caught.value.faults[0].key == key


ADDRESSES = st.lists(st.sampled_from([f"tcp://n{n}.example.net:15600" for n in range(6)]), unique=True)
LINES = st.lists(st.sampled_from(["# a comment", "X=1", 'Y="two words"', "", "; z", "#IRI_NEIGHBORS=x"]))


@settings(max_examples=150, deadline=None)
@given(LINES, ADDRESSES, LINES, ADDRESSES, ADDRESSES, st.sampled_from(["env", "ini"]))
def test_an_edit_does_what_it_says_and_nothing_else(
    above: list[str], there: list[str], below: list[str], add: list[str], remove: list[str], form: str
) -> None:
    line = f'IRI_NEIGHBORS="{" ".join(there)}"' if form == "env" else f"NEIGHBORS = {' '.join(there)}"
    head = [] if form == "env" else ["[IRI]"]
    text = "\n".join([*head, *above, line, *below])
    after = edited("iri", text, Edit(add=tuple(add), remove=tuple(remove)))
    left = [one for one in there if one not in remove]
    assert list(listed("iri", after)) == [*left, *(one for one in add if one not in left)]
    others = [one for one in after.splitlines() if "NEIGHBORS" not in one or one.startswith("#")]
    assert others == [*head, *above, *below][: len(others)]
    assert edited("iri", after, Edit(add=tuple(add))) == after


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="IRI_NEIGHBORS=\"' \n\\#;[]tcp://a:1,x"), st.sampled_from(["iri", "p.json"]))
def test_any_file_is_edited_or_refused_in_words(text: str, name: str) -> None:
    try:
        after = edited(name, text, Edit(add=(A,)))
    except BadDocument:
        return
    assert A in listed(name, after)
