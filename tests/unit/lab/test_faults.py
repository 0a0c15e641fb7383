from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import BadDocument
from nodegate.lab.faults import TAKES, WORDS, Fault, FaultName, fault, fault_of


@pytest.mark.parametrize("name", list(FaultName))
def test_every_fault_has_words_and_reads_back(name: FaultName) -> None:
    assert WORDS[name]
    made = fault(name)
    assert made.name is name
    assert fault_of(made.document()) == made


def test_parameters_are_taken() -> None:
    assert fault("lag", milestones=7) == Fault(name=FaultName.LAG, milestones=7)
    assert fault("slow", seconds=0.5).seconds == 0.5
    assert fault("error", status=500).status == 500
    assert fault("garbage", layer="wire").layer == "wire"


def test_a_liar_is_far_ahead_unless_told_otherwise() -> None:
    assert fault("lie").milestones == 1_000_000
    assert fault("lie", milestones=3).milestones == 3
    assert fault("lag").milestones == 20


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"fault": "melt"}, "fault"),
        ({"fault": 5}, "fault"),
        ({}, "fault"),
        ({"fault": "lag", "milestones": 0}, "milestones"),
        ({"fault": "lag", "milestones": "7"}, "milestones"),
        ({"fault": "lag", "seconds": 1.0}, "seconds"),
        ({"fault": "error", "status": 200}, "status"),
        ({"fault": "garbage", "layer": "moon"}, "layer"),
        ({"fault": "slow", "seconds": -1.0}, "seconds"),
        ({"fault": "slow", "speed": 1}, "speed"),
    ],
)
def test_a_bad_document_names_the_key_that_is_wrong(document: dict[str, Any], key: str) -> None:
    with pytest.raises(BadDocument) as caught:
        fault_of(document, file="request")
    assert [each.key for each in caught.value.faults] == [key]
    assert caught.value.faults[0].file == "request"


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_anything_else_is_a_bad_document(document: object) -> None:
    with pytest.raises(BadDocument):
        fault_of(document)


def test_only_known_parameters_are_taken() -> None:
    assert set().union(*TAKES.values()) == {"seconds", "milestones", "status", "layer", "neighbours"}
