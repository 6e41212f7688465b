# SPDX-License-Identifier: Apache-2.0
"""The raw counters of one VM or vCPU: the u64 arrays of `struct vcpu`, by name."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

BYTES_PER_COUNTER = 8


@dataclass(frozen=True, slots=True)
class CounterLayout:
    """Where each array of counters lies.

    Attributes:
        offset: bytes from the start of a record to its first counter.
        size: bytes of all counters.
        arrays: name → (index of the first counter, number of counters).
        places: the index of every counter, as numbers that all VMs share.
    """

    offset: int
    size: int
    arrays: Mapping[str, tuple[int, int]]
    places: Sequence[int]


def counter_layout(
    record_size: int, fields: Mapping[str, tuple[int, int, int]], first: str
) -> CounterLayout:
    """The layout of the counters in a record: everything from one field on.

    Args:
        record_size: bytes.
        fields: name → (offset, bytes, elements).
        first: the name of the first array of counters.
    """
    offset = fields[first][0]
    arrays = {
        name: ((place - offset) // BYTES_PER_COUNTER, size // BYTES_PER_COUNTER)
        for name, (place, size, _) in fields.items()
        if place >= offset
    }
    size = record_size - offset
    return CounterLayout(offset, size, arrays, tuple(range(size // BYTES_PER_COUNTER)))


class Counters:
    """Counters added up over any number of records.

    Args:
        total: all counters as the 64-bit lanes of one integer. Adding two such integers
            adds every lane at once, as long as none overflows; 2^64 events are
            centuries away. It is many times faster than adding lists.
        layout: which lane is what.
    """

    __slots__ = ("_active", "_layout", "_words")

    def __init__(self, total: int, layout: CounterLayout) -> None:
        words = array("Q", total.to_bytes(layout.size, "little"))
        self._words = words
        self._layout = layout
        # Six of seven are zero, and who reads the others need not look at those.
        self._active = list(compress(layout.places, words))

    def __getitem__(self, name: str) -> Sequence[int]:
        """The array of counters of that name in the C."""
        first, count = self._layout.arrays[name]
        return self._words[first : first + count]

    def count(self, name: str) -> int:
        """How many counters the array of that name has."""
        return self._layout.arrays[name][1]

    def nonzero(self, name: str) -> list[tuple[int, int]]:
        """(index, count) of those in the array that are not zero, most being that."""
        first, words = self._layout.arrays[name][0], self._words
        return [
            (place - first, words[place]) for place in self._active[slice(*self._active_in(name))]
        ]

    def rows(self, name: str, size: int) -> Iterator[tuple[int, Sequence[int]]]:
        """(number, counters) of those rows of the array that are not all zero.

        Args:
            name: of the array.
            size: counters of a row.
        """
        first, words, active = self._layout.arrays[name][0], self._words, self._active
        at, end = self._active_in(name)
        while at < end:
            row = (active[at] - first) // size
            begin = first + row * size
            yield row, words[begin : begin + size]
            at = bisect_left(active, begin + size, at, end)

    def _active_in(self, name: str) -> tuple[int, int]:
        """Where in `_active` an array begins, and where it ends."""
        first, count = self._layout.arrays[name]
        begin = bisect_left(self._active, first)
        return begin, bisect_left(self._active, first + count, begin)
