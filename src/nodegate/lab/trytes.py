"""Trytes, numbers in trytes, and the Curl-P-81 hash that names IOTA transactions. Pure.

A tryte is one of 27 letters and stands for three balanced trits, least significant first. Transaction hashes
are real (clients compute them themselves), so the sponge is too: its state is held as two integers of 729
bits, one for the trits that are not -1 and one for those that are not +1, because a round over all 729 trits
is then a rotation and a few bitwise operations.
"""

from __future__ import annotations

import hashlib
import re
from operator import itemgetter
from typing import Final

ALPHABET: Final = "9ABCDEFGHIJKLMNOPQRSTUVWXYZ"
HASH_TRYTES: Final = 81
NULL_HASH: Final = "9" * HASH_TRYTES

_TRYTES = re.compile(r"[9A-Z]*")
_STATE: Final = 729
_RATE: Final = 243
_ROUNDS: Final = 81
_FULL: Final = (1 << _STATE) - 1
_STEP: Final = 364  # Curl reads trit i from place 364*i mod 729


def _trits_of(value: int) -> tuple[int, int, int]:
    digits = []
    for _ in range(3):
        digit = (value + 1) % 3 - 1
        digits.append(digit)
        value = (value - digit) // 3
    return digits[0], digits[1], digits[2]


def _values() -> tuple[int, ...]:
    """The number that each letter of the alphabet stands for: 0 to 13, then -13 to -1."""
    return tuple(place if place <= 13 else place - 27 for place in range(27))


_NOT_MINUS = {
    letter: "".join("0" if trit < 0 else "1" for trit in _trits_of(value))
    for letter, value in zip(ALPHABET, _values(), strict=True)
}
_NOT_PLUS = {
    letter: "".join("0" if trit > 0 else "1" for trit in _trits_of(value))
    for letter, value in zip(ALPHABET, _values(), strict=True)
}
_LETTER = {(_NOT_MINUS[letter], _NOT_PLUS[letter]): letter for letter in ALPHABET}
_NOT_MINUS_TABLE = str.maketrans(_NOT_MINUS)
_NOT_PLUS_TABLE = str.maketrans(_NOT_PLUS)


def is_trytes(text: object, length: int | None = None) -> bool:
    """Whether `text` is a string of trytes, of exactly `length` if given."""
    return (
        isinstance(text, str)
        and (length is None or len(text) == length)
        and _TRYTES.fullmatch(text) is not None
    )


def number(value: int, length: int) -> str:
    """`value` in `length` trytes. Raises OverflowError when it does not fit."""
    letters = []
    for _ in range(length):
        digit = (value + 13) % 27 - 13
        letters.append(ALPHABET[digit % 27])
        value = (value - digit) // 27
    if value:
        raise OverflowError(f"the number does not fit in {length} trytes")
    return "".join(letters)


def value_of(trytes: str) -> int:
    """The number that `trytes` stand for, the opposite of `number`."""
    total = 0
    for letter in reversed(trytes):
        place = ALPHABET.index(letter)
        total = total * 27 + (place if place <= 13 else place - 27)
    return total


def made_up(seed: str, length: int = HASH_TRYTES) -> str:
    """`length` trytes that look random and always are the same for the same `seed`."""
    # Two bytes for each tryte keep the 27 letters evenly spread.
    stream = hashlib.shake_256(seed.encode()).digest(2 * length)
    return "".join(
        ALPHABET[int.from_bytes(stream[at : at + 2], "big") % 27] for at in range(0, 2 * length, 2)
    )


def _final_places() -> tuple[int, ...]:
    """Where, after all rounds, each trit of the state stands in the integers."""
    factor = pow(_STEP, _ROUNDS, _STATE)
    return tuple(factor * place % _STATE for place in range(_STATE))


_ROTATIONS: Final = tuple(pow(_STEP, turn + 1, _STATE) for turn in range(_ROUNDS))
_REORDER = itemgetter(*_final_places())


def _transform(low: int, high: int) -> tuple[int, int]:
    """Curl's 81 rounds. The trits are not moved between rounds: moving them by a fixed step is the same as
    rotating by another power of that step each round, and one reordering at the end."""
    for turn in _ROTATIONS:
        low_next = (low >> turn) | ((low << (_STATE - turn)) & _FULL)
        high_next = (high >> turn) | ((high << (_STATE - turn)) & _FULL)
        delta = low & (high ^ low_next)
        low, high = ~delta & _FULL, (low ^ high_next) | delta
    return _reordered(low), _reordered(high)


def _reordered(plane: int) -> int:
    bits = format(plane, f"0{_STATE}b")[::-1]
    return int("".join(_REORDER(bits))[::-1], 2)


def curl(trytes: str) -> str:
    """The Curl-P-81 hash (81 trytes) of `trytes`."""
    low = high = _FULL  # all trits are zero: neither -1 nor +1
    keep = _FULL ^ ((1 << _RATE) - 1)
    # Nines absorbed into the empty state leave it empty: most transactions begin with thousands of them.
    begin = (len(trytes) - len(trytes.lstrip("9"))) // HASH_TRYTES * HASH_TRYTES
    for start in range(begin, len(trytes), HASH_TRYTES):
        block = trytes[start : start + HASH_TRYTES]
        size = len(block) * 3
        kept = keep if size == _RATE else _FULL ^ ((1 << size) - 1)
        # `low` holds "not +1" and `high` "not -1"; bit 0 is the first trit.
        low = (low & kept) | int(block.translate(_NOT_PLUS_TABLE)[::-1], 2)
        high = (high & kept) | int(block.translate(_NOT_MINUS_TABLE)[::-1], 2)
        low, high = _transform(low, high)
    low_bits = format(low, f"0{_STATE}b")[::-1]
    high_bits = format(high, f"0{_STATE}b")[::-1]
    return "".join(_LETTER[high_bits[at : at + 3], low_bits[at : at + 3]] for at in range(0, _RATE, 3))
