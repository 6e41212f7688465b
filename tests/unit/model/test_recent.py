# SPDX-License-Identifier: Apache-2.0
"""Rates over the last half minute."""

from kvmexporter.model.recent import RecentRates


def test_two_samples_make_a_rate() -> None:
    """Half a second apart at least; a new counter began at 0, one that fell did not run back."""
    rates: RecentRates[str] = RecentRates()
    assert rates.observe(100.0, {"a": 7}) == {}
    assert rates.observe(100.4, {"a": 9}) == {}
    assert rates.observe(102.0, {"a": 27, "b": 4}) == {"a": 10.0, "b": 2.0}
    assert rates.observe(104.0, {"a": 3}) == {"a": 0.0}


def test_what_is_long_ago_is_forgotten() -> None:
    """A storm of half an hour ago is none now, however rarely or often one looks."""
    for interval in (0.5, 1.0, 15.0, 100.0):
        rates: RecentRates[str] = RecentRates()
        rates.observe(0.0, {"a": 0})
        now = 0.0
        for _ in range(int(200 / interval)):
            now += interval
            last = rates.observe(now, {"a": 1_000_000})
        assert last == {"a": 0.0}, interval
