# SPDX-License-Identifier: Apache-2.0
"""Arrays of counters within a record, added up as one integer."""

import struct

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


def total(*words: int) -> int:
    return int.from_bytes(struct.pack("6Q", *words), "little")


def test_layout() -> None:
    """Everything from the first array on is counters, by index from there."""
    assert (LAYOUT.offset, LAYOUT.size) == (8, 48)
    assert LAYOUT.arrays == {"exits": (0, 3), "halts": (3, 1), "io": (4, 2)}


def test_each_array_by_its_name() -> None:
    """An array has its own counters and no neighbour's."""
    counters = Counters(total(1, 2, 3, 4, 5, 6), LAYOUT)
    assert list(counters["exits"]) == [1, 2, 3]
    assert list(counters["halts"]) == [4]
    assert list(counters["io"]) == [5, 6]


def test_sums_do_not_touch_their_neighbours() -> None:
    """Records are added lane by lane, up to the largest count there is."""
    largest = (1 << 64) - 1
    added = total(largest - 5, 0, 7, 0, 0, largest - 11) + total(5, 0, 8, 0, 0, 11)
    assert list(Counters(added, LAYOUT)["exits"]) == [largest, 0, 15]
    assert list(Counters(added, LAYOUT)["halts"]) == [0]
    assert list(Counters(added, LAYOUT)["io"]) == [0, largest]


def test_only_what_is_not_zero() -> None:
    """Of an array, by its own index; and the rows of one that is made of several."""
    counters = Counters(total(0, 2, 3, 0, 0, 6), LAYOUT)
    assert counters.nonzero("exits") == [(1, 2), (2, 3)]
    assert counters.nonzero("halts") == []
    assert counters.nonzero("io") == [(1, 6)]
    rows = {name: [(n, [*row]) for n, row in counters.rows(name, 1)] for name in LAYOUT.arrays}
    assert rows == {"exits": [(1, [2]), (2, [3])], "halts": [], "io": [(1, [6])]}
    assert [(n, [*row]) for n, row in counters.rows("io", 2)] == [(0, [0, 6])]
    assert [
        (n, [*row]) for n, row in Counters(total(1, 0, 7, 0, 0, 0), LAYOUT).rows("exits", 3)
    ] == [(0, [1, 0, 7])]


def test_an_unknown_array() -> None:
    """A name that the C does not have is an error, never zero."""
    with pytest.raises(KeyError, match="ecits"):
        Counters(0, LAYOUT)["ecits"]
