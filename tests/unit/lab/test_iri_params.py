from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nodegate.lab import iri_params
from nodegate.lab.answers import Rejected


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(3, 3), (3.9, 3), (-3.9, -3), (float("nan"), 0), (1e99, 2**31 - 1), (float("-inf"), -(2**31))],
)
def test_numbers_are_cut_as_java_cuts_them(asked: Callable[..., Any], value: float, wanted: int) -> None:
    assert iri_params.integer(asked().node, {"depth": value}, "depth") == wanted


@pytest.mark.parametrize("value", ["3", True, [3], {}])
def test_what_is_not_a_number_is_invalid(asked: Callable[..., Any], value: object) -> None:
    with pytest.raises(Rejected) as caught:
        iri_params.integer(asked().node, {"depth": value}, "depth")
    assert caught.value.reply.document == {"exception": "Invalid depth input"}


def test_a_hash_of_nines_is_no_search_term(asked: Callable[..., Any]) -> None:
    with pytest.raises(Rejected):
        iri_params.hashes(asked().node, {"bundles": ["9" * 81]}, "bundles")


def test_a_thousand_items_are_enough(asked: Callable[..., Any]) -> None:
    node = asked().node
    assert len(iri_params.texts(node, {"uris": ["u"] * 1000}, "uris")) == 1000
    with pytest.raises(Rejected) as caught:
        iri_params.texts(node, {"uris": ["u"] * 1001}, "uris")
    assert caught.value.reply.document == {"exception": "Could not complete request"}


@pytest.mark.parametrize("value", [5, None, "a" * 81, "A" * 80])
def test_trytes_are_exactly_as_long_as_they_must_be(asked: Callable[..., Any], value: object) -> None:
    with pytest.raises(Rejected):
        iri_params.trytes(asked().node, {"reference": value}, "reference", 81)
