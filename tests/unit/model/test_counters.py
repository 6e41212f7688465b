# SPDX-License-Identifier: Apache-2.0
"""Arrays of counters within a record, by those that are not zero."""

import pytest

from kvmexporter.model.counters import Counters, counter_layout

FIELDS = {
    "tgid": (0, 4, 1),
    "isa": (4, 4, 1),
    "exits": (8, 24, 3),
    "halts": (32, 8, 1),
    "io": (40, 16, 2),
}
LAYOUT = counter_layout(56, FIELDS, "exits")


def counted(*words: int) -> Counters:
    places = [place for place, word in enumerate(words) if word]
    return Counters(places, [words[place] for place in places], LAYOUT)


def test_layout() -> None:
    """Everything from the first array on is counters, by index from there."""
    assert (LAYOUT.offset, LAYOUT.count) == (8, 6)
    assert LAYOUT.arrays == {"exits": (0, 3), "halts": (3, 1), "io": (4, 2)}


def test_each_array_by_its_name() -> None:
    """An array has its own counters and no neighbour's."""
    counters = counted(1, 2, 3, 4, 5, 6)
    assert list(counters["exits"]) == [1, 2, 3]
    assert list(counters["halts"]) == [4]
    assert list(counters["io"]) == [5, 6]


def test_only_what_is_not_zero() -> None:
    """Of an array, by its own index; and the rows of one that is made of several."""
    counters = counted(0, 2, 3, 0, 0, 6)
    assert list(counters.nonzero("exits")) == [(1, 2), (2, 3)]
    assert list(counters.nonzero("halts")) == []
    assert list(counters.nonzero("io")) == [(1, 6)]
    rows = {name: [(n, [*row]) for n, row in counters.rows(name, 1)] for name in LAYOUT.arrays}
    assert rows == {"exits": [(1, [2]), (2, [3])], "halts": [], "io": [(1, [6])]}
    assert [(n, [*row]) for n, row in counters.rows("io", 2)] == [(0, [0, 6])]
    assert [(n, [*row]) for n, row in counted(1, 0, 7, 0, 0, 0).rows("exits", 3)] == [
        (0, [1, 0, 7])
    ]


def test_rows_that_count_little() -> None:
    """Their last counter, a sum of times, is no count."""
    counted_ = counted(3, 4, 900, 0, 0, 0)
    assert [number for number, _ in counted_.rows("exits", 3, 7)] == [0]
    assert counted_.rows("exits", 3, 8) == []
    assert counted(3, 4, 0, 0, 0, 0).rows("exits", 3, 7) == [(0, [3, 4, 0])]


def test_rows_that_may_not_be_left_out() -> None:
    """However little they count."""
    words = counted(3, 0, 4, 0, 0, 0)
    assert words.rows("exits", 1, 9, (False, True, True)) == [(0, [3])]
    assert words.rows("exits", 1, 9, (True, True, False)) == [(2, [4])]


def test_an_unknown_array() -> None:
    """A name that the C does not have is an error, never zero."""
    with pytest.raises(KeyError, match="ecits"):
        counted()["ecits"]
