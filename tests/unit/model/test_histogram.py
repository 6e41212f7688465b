# SPDX-License-Identifier: Apache-2.0
"""Distributions: bounds, quantiles, differences."""

import pytest

from kvmexporter.model.histogram import Histogram, from_words, upper_bound_seconds

BUCKETS = 24


def histogram(counts: dict[int, int], sum_ns: int = 0) -> Histogram:
    return Histogram(tuple(counts.get(bucket, 0) for bucket in range(BUCKETS)), sum_ns)


@pytest.mark.parametrize(
    ("bucket", "bound"), [(0, 1.024e-6), (1, 2.048e-6), (10, 1024**2 / 1e9), (22, 4.294967296)]
)
def test_bounds(bucket: int, bound: float) -> None:
    """Powers of two of a nanosecond, from 1.024 µs."""
    assert upper_bound_seconds(bucket) == bound


def test_shown_buckets_are_exact_at_their_bounds() -> None:
    """An observation is in the first shown bucket whose bound is not below it."""
    bounds = [upper_bound_seconds(bucket) for bucket in (3, 7, 11, 15)]
    for bucket in range(BUCKETS - 1):
        shown = histogram({bucket: 1}).shown_buckets()
        assert [bound for bound, _ in shown] == [*bounds, float("inf")]
        for bound, count in shown:
            assert count == int(upper_bound_seconds(bucket) <= bound)


def test_shown_buckets_are_cumulative() -> None:
    """Each holds those before it; the last, everything."""
    shown = histogram({0: 2, 1: 3, 3: 5, 22: 7, 23: 11}).shown_buckets()
    assert [count for _, count in shown] == [10, 10, 10, 10, 28]
    assert histogram({0: 2, 1: 3, 3: 5, 22: 7, 23: 11}).count == 28


@pytest.mark.parametrize(
    ("counts", "q", "seconds"),
    [
        ({}, 0.5, None),
        ({0: 4}, 0.0, 0.0),
        ({0: 4}, 0.5, 0.512e-6),
        ({0: 4}, 1.0, 1.024e-6),
        ({1: 4}, 0.0, 1.024e-6),
        ({1: 4}, 0.25, 1.28e-6),
        ({1: 4}, 1.0, 2.048e-6),
        ({0: 1, 2: 1}, 0.5, 1.024e-6),
        ({0: 1, 2: 1}, 0.75, 3.072e-6),
        ({0: 99, 10: 1}, 0.99, 1.024e-6),
        ({0: 99, 10: 1}, 1.0, upper_bound_seconds(10)),
        ({23: 5}, 0.5, upper_bound_seconds(22)),
        ({0: 1, 23: 1}, 1.0, upper_bound_seconds(22)),
    ],
)
def test_quantile(counts: dict[int, int], q: float, seconds: float | None) -> None:
    """Interpolated within a bucket, exact at its bounds, never beyond the last one."""
    expected = None if seconds is None else pytest.approx(seconds, rel=1e-12)
    assert histogram(counts).quantile(q) == expected


def test_quantiles_rise() -> None:
    """A larger share never has a smaller quantile."""
    times = histogram({0: 3, 1: 7, 2: 1, 9: 11, 22: 2, 23: 1})
    values = [times.quantile(q / 100) or 0.0 for q in range(101)]
    assert values == sorted(values)


def test_plus_and_since_undo_each_other() -> None:
    """What came after an earlier reading, added to it, is the later reading."""
    earlier, later = histogram({0: 1, 5: 2}, 100), histogram({0: 1, 5: 7, 23: 3}, 1000)
    assert later.since(earlier) == histogram({5: 5, 23: 3}, 900)
    assert earlier.plus(later.since(earlier)) == later
    assert later.since(later) == histogram({}, 0)


def test_distributions_of_other_shapes_are_not_mixed() -> None:
    """Adding needs the same buckets."""
    with pytest.raises(ValueError):
        Histogram((1, 2), 3).plus(Histogram((1, 2, 3), 3))


def test_from_the_words_of_the_c() -> None:
    """The buckets, then the sum."""
    assert from_words([1, 2, 3, 40]) == Histogram((1, 2, 3), 40)
