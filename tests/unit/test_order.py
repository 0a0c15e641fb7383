"""The order of the tests in a parallel run."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order import LONG, long_first, pieces


@dataclass(eq=False)
class Test:
    """What the order looks at of a test."""

    __test__ = False

    nodeid: str
    patience: float = 0.0
    fixturenames: tuple[str, ...] = ()

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return pytest.Mark(name, (self.patience,), {}, _ispytest=True) if self.patience else None


SOME = st.lists(
    st.builds(
        Test,
        nodeid=st.sampled_from(["a::x", "b::x", "b::y", "c::x"]),
        patience=st.sampled_from([0.0, LONG - 1, LONG, 900.0]),
        fixturenames=st.sampled_from([(), ("cloud",)]),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(tests=SOME, workers=st.integers(1, 5))
def test_every_test_is_there_once_and_short_ones_keep_their_order(tests: list[Test], workers: int) -> None:
    ordered = long_first(tests, workers)  # type: ignore[arg-type]
    assert sorted(map(id, ordered)) == sorted(map(id, tests))
    short = [test for test in tests if test.patience < LONG and not test.fixturenames]
    assert [test for test in ordered if test in short] == short


def test_every_worker_begins_with_long_tests_and_one_has_all_of_the_cloud() -> None:
    short = [Test(f"short::{number}") for number in range(12)]
    cloud = [Test(f"cloud::{number}", 900.0, ("cloud",)) for number in range(2)]
    longest, long = Test("longest::it", 600.0), Test("long::it", LONG)
    ordered = long_first([*short, long, cloud[0], longest, cloud[1]], 3)  # type: ignore[list-item]
    first, second, third = ordered[:5], ordered[5:10], ordered[10:]
    assert first[:2] == cloud
    assert second[0] is longest
    assert third[0] is long


@settings(max_examples=100, deadline=None)
@given(total=st.integers(0, 10_000), workers=st.integers(1, 16))
def test_the_pieces_are_the_whole_and_as_good_as_equal(total: int, workers: int) -> None:
    sizes = pieces(total, workers)
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1
