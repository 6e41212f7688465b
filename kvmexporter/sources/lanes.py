# SPDX-License-Identifier: Apache-2.0
"""Rows of 64-bit counters, added up and looked through by a few instructions of the processor.

A record of a vCPU has 2,500 counters, most of them zero, and a host can have thousands of vCPUs.
As Python's integers they take six times as long, which is what is left where no machine code may be
mapped.
"""

import ctypes
import mmap
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from itertools import compress

from kvmexporter.sources import machinecode

MOST = 1 << 16
"""Counters that a row can have: their places are 16-bit numbers."""

_BYTES = 8

# void add(u64 *sums, const char *record, u64 count, u64 offset); count is not 0
_ADD = bytes.fromhex(
    "f30f1efa"  # endbr64
    "4801ce"  # add rsi, rcx
    "488b44d6f8"  # 1: mov rax, [rsi + 8*rdx - 8]
    "480144d7f8"  # add [rdi + 8*rdx - 8], rax
    "48ffca"  # dec rdx
    "75f1"  # jnz 1b
    "c3"  # ret
)
# u64 nonzero(const u64 *row, u64 count, u16 *places, u64 *values); count is not 0
_NONZERO = bytes.fromhex(
    "f30f1efa"  # endbr64
    "31c0"  # xor eax, eax
    "4531c0"  # xor r8d, r8d
    "4e8b0cc7"  # 1: mov r9, [rdi + 8*r8]
    "6644890442"  # mov [rdx + 2*rax], r8w
    "4c890cc1"  # mov [rcx + 8*rax], r9
    "4983f901"  # cmp r9, 1
    "4883d8ff"  # sbb rax, -1: one more unless that was zero
    "49ffc0"  # inc r8
    "4939f0"  # cmp r8, rsi
    "75e3"  # jne 1b
    "c3"  # ret
)

_Add = Callable[[int, int | bytes, int, int], None]
_Nonzero = Callable[[int, int, int, int], int]


class Lanes:
    """A row of counters, all zero at first.

    Args:
        count: how many.
        words: where they are kept; of their own if None.

    Attributes:
        words: the counters.

    Raises:
        ValueError: none, or more than MOST.
    """

    __slots__ = ("_address", "words")

    def __init__(self, count: int, words: memoryview | None = None) -> None:
        if not 0 < count <= MOST:
            raise ValueError(f"{count} counters")
        self.words = memoryview(array("Q", bytes(count * _BYTES))) if words is None else words
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self.words))

    def add(self, record: bytes | memoryview, offset: int = 0) -> None:
        """Add the counters of a record to these, one by one.

        Args:
            record: its last bytes are the counters.
            offset: where they begin.

        Raises:
            ValueError: it has fewer or more of them.
        """
        count = len(self.words)
        if len(record) - offset != count * _BYTES:
            raise ValueError(f"{len(record) - offset} bytes for {count} counters")
        if add := _native_add():
            add(self._address, _address(record), count, offset)
        else:
            self._add_as_integers(record, offset)

    def _add_as_integers(self, record: bytes | memoryview, offset: int) -> None:
        # Adding two integers adds all their lanes, as long as none overflows: it is centuries to
        # 2^64 events.
        words = self.words.cast("B")
        total = int.from_bytes(words, "little") + int.from_bytes(record[offset:], "little")
        words[:] = total.to_bytes(len(words), "little")

    def active(self) -> tuple[Sequence[int], Sequence[int]]:
        """Those that are not zero: their places, and what they count."""
        words = self.words
        if nonzero := _native_nonzero():
            places, values = array("H", bytes(2 * len(words))), array("Q", words.tobytes())
            count = nonzero(
                self._address, len(words), places.buffer_info()[0], values.buffer_info()[0]
            )
            del places[count:], values[count:]
            return places, values
        places = array("H", compress(range(len(words)), words))
        return places, array("Q", filter(None, words))


class Rows:
    """Makes rows, hundreds from a piece of memory.

    What a scrape adds up in is megabytes: a large piece comes in few pages, and goes back to the
    system with the last row in it, where many small ones would leave holes between what stays.

    Args:
        count: counters of a row.
    """

    _PIECE_BYTES = 8 << 20

    def __init__(self, count: int) -> None:
        self._count = count
        self._left = memoryview(b"").cast("Q")

    def make(self) -> Lanes:
        """One more."""
        if len(self._left) < self._count:
            piece = mmap.mmap(-1, self._PIECE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            with suppress(OSError):  # a kernel without large pages
                piece.madvise(mmap.MADV_HUGEPAGE)
            self._left = memoryview(piece).cast("Q")
        row, self._left = self._left[: self._count], self._left[self._count :]
        return Lanes(self._count, row)


def _address(record: bytes | memoryview) -> int | bytes:
    """What stands for the address of its first byte where C is called."""
    if isinstance(record, bytes):
        return record
    return ctypes.addressof(ctypes.c_char.from_buffer(record))


@cache
def _native_add() -> _Add | None:
    address = machinecode.load(_ADD)
    if address is None:
        return None
    kind = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
    )
    return kind(address)


@cache
def _native_nonzero() -> _Nonzero | None:
    address = machinecode.load(_NONZERO)
    if address is None:
        return None
    kind = ctypes.CFUNCTYPE(
        ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p
    )
    return kind(address)
