# SPDX-License-Identifier: Apache-2.0
"""Rates over the last half minute."""

from kvmexporter.model.recent import RecentRates


def test_two_samples_make_a_rate() -> None:
    """Half a second apart at least; a new counter began at 0, one that fell did not run back."""
    rates: RecentRates[str, str] = RecentRates()
    assert rates.observe(100.0, {"web": {"a": 7, "c": 0}}) == {}
    assert rates.observe(100.4, {"web": {"a": 9, "c": 0}}) == {}
    assert rates.observe(102.0, {"web": {"a": 27, "b": 4, "c": 6}, "db": {"a": 0, "b": 8}}) == {
        "web": {"a": 10.0, "b": 2.0, "c": 3.0},
        "db": {"b": 4.0},
    }
    assert rates.observe(104.0, {"web": {"a": 3, "c": 4}}) == {"web": {"a": 0.0, "c": 1.0}}


def test_what_stands_still_is_left_out() -> None:
    """A counter beside one that moves, and a group in which none does."""
    rates: RecentRates[str, str] = RecentRates()
    rates.observe(0.0, {"web": {"a": 3, "b": 5}, "db": {"a": 7}})
    found = rates.observe(1.0, {"web": {"a": 3, "b": 16}, "db": {"a": 7}})
    assert found == {"web": {"b": 11.0}}


def test_a_group_that_moves_little_is_not_told_of() -> None:
    """All its counters together: many that move a little may be one that is told of."""
    rates: RecentRates[str, str] = RecentRates(least=10.0)
    rates.observe(0.0, {"web": {"a": 7, "b": 3}, "db": {"a": 7, "b": 3}})
    found = rates.observe(
        2.0, {"web": {"a": 16, "b": 13}, "db": {"a": 17, "b": 13}, "new": {"a": 20}}
    )
    assert found == {"db": {"a": 5.0, "b": 5.0}, "new": {"a": 10.0}}


def test_a_rate_is_of_half_a_minute_at_most() -> None:
    """However often one looks: from when it is told changes by the quarter of a minute."""
    rates: RecentRates[str, str] = RecentRates()
    for second in range(120):
        found = rates.observe(float(second), {"web": {"a": second * second}})
        if second:
            # (t² - t0²) / (t - t0) is t + t0: the rate tells when it began.
            (rate,) = found["web"].values()
            age = 2 * second - rate
            assert min(second, 15) <= age <= 30


def test_what_is_long_ago_is_forgotten() -> None:
    """A storm of half an hour ago is none now, however rarely or often one looks."""
    for interval in (0.5, 1.0, 15.0, 100.0):
        rates: RecentRates[str, str] = RecentRates()
        rates.observe(0.0, {"web": {"a": 0}})
        now = 0.0
        for _ in range(int(200 / interval)):
            now += interval
            last = rates.observe(now, {"web": {"a": 1_000_000}})
        assert last == {}, interval
