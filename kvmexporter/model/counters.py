# SPDX-License-Identifier: Apache-2.0
"""The raw counters of one VM or vCPU: the u64 arrays of `struct vcpu`, by name."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

BYTES_PER_COUNTER = 8


@dataclass(frozen=True, slots=True)
class CounterLayout:
    """Where each array of counters lies.

    Attributes:
        offset: bytes from the start of a record to its first counter.
        count: counters of a record.
        arrays: name → (index of the first counter, number of counters).
    """

    offset: int
    count: int
    arrays: Mapping[str, tuple[int, int]]


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
    return CounterLayout(offset, (record_size - offset) // BYTES_PER_COUNTER, arrays)


class Counters:
    """Counters added up over any number of records: those alone that are not zero.

    Six of seven are zero, and there are thousands for each VM.

    Args:
        places: where they lie among all, ascending.
        values: what they count.
        layout: which is what.
    """

    __slots__ = ("_layout", "_places", "_values")

    def __init__(self, places: Sequence[int], values: Sequence[int], layout: CounterLayout) -> None:
        self._places = places
        self._values = values
        self._layout = layout

    def __getitem__(self, name: str) -> Sequence[int]:
        """The array of counters of that name in the C."""
        first, count = self._layout.arrays[name]
        places, values = self._places, self._values
        words = [0] * count
        at, last = bisect_left(places, first), first + count
        while at < len(places) and places[at] < last:
            words[places[at] - first] = values[at]
            at += 1
        return words

    @property
    def is_zero(self) -> bool:
        """Whether nothing at all was counted."""
        return not self._places

    def count(self, name: str) -> int:
        """How many counters the array of that name has."""
        return self._layout.arrays[name][1]

    def nonzero(self, name: str) -> Iterator[tuple[int, int]]:
        """(index, count) of those in the array that are not zero."""
        first, count = self._layout.arrays[name]
        begin = bisect_left(self._places, first)
        end = bisect_left(self._places, first + count, begin)
        indexes = map((-first).__add__, self._places[begin:end])
        return zip(indexes, self._values[begin:end], strict=True)

    def rows(
        self, name: str, size: int, least: int = 0, may_lack: Sequence[bool] = ()
    ) -> list[tuple[int, list[int]]]:
        """(number, counters) of those rows of the array that are not all zero.

        Args:
            name: of the array.
            size: counters of a row.
            least: rows that count less, their last counter aside, are left out.
            may_lack: number → whether that row may be; all may where nothing is given.
        """
        first, count = self._layout.arrays[name]
        places, values = self._places, self._values
        rows: list[tuple[int, list[int]]] = []
        at, last = bisect_left(places, first), first + count
        while at < len(places) and places[at] < last:
            number = (places[at] - first) // size
            begin = first + number * size
            end = bisect_left(places, begin + size, at)
            if least and (not may_lack or may_lack[number]):
                counted = end - (places[end - 1] == begin + size - 1)
                if sum(values[at:counted]) < least:
                    at = end
                    continue
            row = [0] * size
            for place, value in zip(places[at:end], values[at:end], strict=True):
                row[place - begin] = value
            rows.append((number, row))
            at = end
        return rows
