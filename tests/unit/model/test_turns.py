# SPDX-License-Identifier: Apache-2.0
"""Everybody has a turn, and none has two before another has one."""

import pytest

from kvmexporter.model.turns import Turns


def test_few_are_taken_every_time() -> None:
    """As long as all of them are not too many."""
    turns: Turns[str] = Turns(10)
    for _ in range(3):
        assert turns.take({"a": 3, "b": 3, "c": 4}) == {"a", "b", "c"}


def test_many_take_turns() -> None:
    """In the order in which they were looked at, with no more than may be at once."""
    turns: Turns[str] = Turns(10)
    weights = dict.fromkeys("abcdefg", 5)
    assert [sorted(turns.take(weights)) for _ in range(4)] == [
        ["a", "b"], ["c", "d"], ["e", "f"], ["a", "g"]
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 7, 61, 499])
def test_nobody_waits_for_long(count: int) -> None:
    """All have had a turn after as many times as it takes."""
    turns: Turns[int] = Turns(61)
    weights = dict.fromkeys(range(count), 8)
    seen: set[int] = set()
    for _ in range(-(-count // (61 // 8))):
        taken = turns.take(weights)
        assert len(taken) <= 61 // 8
        seen |= taken
    assert seen == set(range(count))


def test_new_ones_come_first() -> None:
    """A VM that has just started is not told late."""
    turns: Turns[str] = Turns(2)
    turns.take({"a": 1, "b": 1, "c": 1})
    assert turns.take({"a": 1, "b": 1, "c": 1, "new": 1}) == {"c", "new"}
    assert turns.take({"a": 1, "b": 1, "newer": 1}) == {"newer", "a"}


def test_what_is_too_large_has_its_turn() -> None:
    """Alone."""
    turns: Turns[str] = Turns(10)
    weights = {"huge": 1009, "small": 1}
    assert turns.take(weights) == {"huge"}
    assert turns.take(weights) == {"small"}
    assert turns.take(weights) == {"huge"}


def test_who_cannot_wait() -> None:
    """Goes before all others, and takes no more than they would."""
    turns: Turns[str] = Turns(2)
    weights = dict.fromkeys("abcd", 1)
    assert turns.take(weights) == {"a", "b"}
    assert turns.take(weights, {"b"}) == {"b", "c"}
    assert turns.take(weights, {"a", "b", "c"}) == {"a", "b"}
    assert turns.take(weights) == {"d", "c"}
