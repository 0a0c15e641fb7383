from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.lab.trytes import ALPHABET, curl, is_trytes, made_up, number, value_of

TRYTES = st.text(alphabet=ALPHABET, max_size=200)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # Computed with the Curl of the @iota/curl package.
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ9" * 99,
            "CCKMVNGLUAFT9XX9TPXPPJQODVYZKVCNBFKUPWBNWA99FPQFQXGGFWXQPAYVPVSDVYLPMCTFOZCYYAW9M",
        ),
        ("A" * 81, "XAL9SMWRVVMYNSIIUVHXH9LBAHYHUWXRRKOTWECQULPRVVHMJXIIHAKPMZZGUFQPJNNAWBRUMZMRLFXNP"),
        ("9" * 2673, "9" * 81),
    ],
)
def test_curl_gives_the_hashes_that_the_official_client_gives(text: str, wanted: str) -> None:
    assert curl(text) == wanted


@settings(deadline=None, max_examples=25)
@given(TRYTES)
def test_curl_agrees_with_the_definition_trit_by_trit(text: str) -> None:
    assert curl(text) == curl_by_definition(text)


def curl_by_definition(text: str) -> str:
    """Curl-P-81 as it is defined: 81 rounds of a table lookup over 729 trits."""
    table = (1, 0, -1, 2, 1, -1, 0, 2, -1, 1, 0)
    trits = [trit for letter in text for trit in trits_of(value_of(letter))]
    state = [0] * 729
    for start in range(0, len(trits), 243):
        block = trits[start : start + 243]
        state[: len(block)] = block
        for _ in range(81):
            old, place = state[:], 0
            for at in range(729):
                before, place = place, place + (364 if place < 365 else -365)
                state[at] = table[old[before] + (old[place] << 2) + 5]
    return "".join(letter_of(state[at : at + 3]) for at in range(0, 243, 3))


def trits_of(value: int) -> list[int]:
    trits = []
    for _ in range(3):
        trit = (value + 1) % 3 - 1
        trits.append(trit)
        value = (value - trit) // 3
    return trits


def letter_of(trits: list[int]) -> str:
    return ALPHABET[(trits[0] + 3 * trits[1] + 9 * trits[2]) % 27]


@settings(deadline=None, max_examples=100)
@given(st.integers(min_value=-(27**9 - 1) // 2, max_value=(27**9 - 1) // 2))
def test_a_number_reads_back(value: int) -> None:
    text = number(value, 9)
    assert len(text) == 9
    assert value_of(text) == value


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OverflowError):
        number(14, 1)


def test_made_up_trytes_are_the_same_for_the_same_seed_and_differ_otherwise() -> None:
    assert made_up("a") == made_up("a") != made_up("b")
    assert is_trytes(made_up("a"), 81)
    assert set(made_up("long", 5000)) == set(ALPHABET)


@pytest.mark.parametrize("text", ["a", "A1", None, 5, ["A"], "A\n"])
def test_what_is_not_trytes_is_told_apart(text: object) -> None:
    assert not is_trytes(text)


def test_the_length_of_trytes_counts_when_it_is_given() -> None:
    assert is_trytes("AB9", 3)
    assert not is_trytes("AB9", 4)
