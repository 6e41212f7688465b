# SPDX-License-Identifier: Apache-2.0
"""Counters that never go down."""

from kvmexporter.model.growing import Growing


def test_what_is_read_is_shown() -> None:
    """As long as it grows."""
    growing = Growing()
    assert growing.follow({"a": 3, "b": 5}) == {"a": 3, "b": 5}
    assert growing.follow({"a": 7, "b": 5}) == {"a": 7, "b": 5}


def test_what_goes_down_begins_anew_on_top() -> None:
    """As often as it does."""
    growing = Growing()
    shown = [growing.follow({"a": value})["a"] for value in (100, 150, 0, 7, 3, 4)]
    assert shown == [100, 150, 150, 157, 157, 158]


def test_what_is_not_read_stays() -> None:
    """And goes on from there."""
    growing = Growing()
    growing.follow({"a": 11})
    assert growing.follow({"b": 2}) == {"a": 11, "b": 2}
    assert growing.follow({"a": 13}) == {"a": 13, "b": 2}
