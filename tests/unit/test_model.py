"""The values: frozen, without hidden state, and in the order that the rest relies on."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from nodegate import model
from nodegate.model import ChangeKind, Instant, Intent, Inventory, Node, Status

VALUES = [value for _, value in inspect.getmembers(model, dataclasses.is_dataclass)]


def test_there_are_values_to_check() -> None:
    assert len(VALUES) > 10


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_every_value_is_frozen_and_keyword_only_and_takes_no_other_attributes(value: type) -> None:
    parameters = value.__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen
    assert all(field.kw_only for field in dataclasses.fields(value))
    assert "__slots__" in vars(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_every_value_says_what_it_is(value: type) -> None:
    assert value.__doc__
    assert not value.__doc__.startswith(f"{value.__name__}(")


def test_a_value_cannot_be_changed() -> None:
    node = Node(id="n1", url="http://h:1", kind="iri")
    with pytest.raises(dataclasses.FrozenInstanceError):
        node.weight = 1  # type: ignore[misc]


def test_values_with_equal_parts_are_equal() -> None:
    one, other = (
        Inventory(
            nodes=(Node(id="n1", url="http://h:1", kind="iri", options={"a": 1}),),
            index=1,
            read_at=Instant(0),
        )
        for _ in range(2)
    )
    assert one == other


def test_no_two_nodes_share_their_options() -> None:
    first, second = (Node(id=name, url="http://h:1", kind="iri") for name in "ab")
    assert first.options is not second.options


def test_words_are_spelt_as_the_api_and_the_registry_spell_them() -> None:
    assert [intent.value for intent in Intent] == ["serve", "drain", "remove"]
    assert [status.value for status in Status] == ["up", "degraded", "down", "unknown"]


def test_a_plan_adds_before_it_deletes_and_reloads_before_all_else() -> None:
    order = list(ChangeKind)
    assert order[0] is ChangeKind.RELOAD
    assert order.index(ChangeKind.ADD) < order.index(ChangeKind.SET_STATE) < order.index(ChangeKind.DELETE)
