from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.lab.histogram import Histogram


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_percentiles_are_at_most_two_percent_too_high(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, -(-int(share * 1000) * len(values) // 1000) - 1)]
    found = histogram.percentile(share)
    assert found is not None
    assert exact * 0.999 <= found <= exact * 1.021


def test_the_largest_is_exact_and_nothing_has_no_percentile() -> None:
    histogram = Histogram()
    assert histogram.percentile(0.5) is None
    histogram.add(0.0)
    histogram.add(1.2345)
    assert histogram.percentile(1.0) == 1.2345
    assert histogram.percentile(0.5) == pytest.approx(1e-6)
    assert histogram.count == 2
