# SPDX-License-Identifier: Apache-2.0
"""The guest's mailbox, seen from the host through the memory that both share.

The layout is that of `src/mailbox.h`. Reading and writing it costs the guest no exit.
"""

import mmap
import struct
from dataclasses import dataclass

ADDRESS = 0x200000
MAGIC = 0x4758564B
VERSION = 1

STATE_BOOTING = 0
STATE_READY = 1
STATE_RUNNING = 2
STATE_HALTED = 3

_STATE = 0x08
_COMMAND_SEQ = 0x0C
_DONE_SEQ = 0x10
_STATUS = 0x14
_TSC_CYCLES = 0x18
_TSC_HZ = 0x20
_OPERATIONS = 0x28
_ROUNDS = 0x2C
_IDLE_WAKES = 0x30
_OK_COUNT = 0x40
_ERROR = (0x140, 192)
_NAMES = (0x200, 3072)
_COMMAND = (0x1000, 4096)
SIZE = 0x2000


@dataclass(frozen=True, slots=True)
class Result:
    """What the guest published after a command.

    Attributes:
        error: the guest's sentence, empty when all operations were done.
        counts: how often each operation of the command was done, in the command's order.
        tsc_cycles: guest TSC cycles that the operations took.
        idle_wakes: HLTs which ended without the interrupt they waited for: one extra HLT each.
    """

    error: str
    counts: tuple[int, ...]
    tsc_cycles: int
    idle_wakes: int


class Mailbox:
    """Reads and writes the mailbox in `memory`, a shared mapping of the guest's RAM."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def _u32(self, offset: int) -> int:
        with memoryview(self._memory) as raw, raw.cast("I") as words:
            return words[(ADDRESS + offset) // 4]

    def _set_u32(self, offset: int, value: int) -> None:
        # One store, unlike struct.pack_into, which clears the bytes first and writes them one by
        # one: the guest, which looks all the time, would see a number that was never meant.
        with memoryview(self._memory) as raw, raw.cast("I") as words:
            words[(ADDRESS + offset) // 4] = value

    def _u64(self, offset: int) -> int:
        return int(struct.unpack_from("<Q", self._memory, ADDRESS + offset)[0])

    def _text(self, field: tuple[int, int]) -> str:
        start = ADDRESS + field[0]
        raw: bytes = self._memory[start : start + field[1]]
        return raw.split(b"\0", 1)[0].decode("ascii", "replace")

    @property
    def started(self) -> bool:
        """Whether the guest program has finished its start-up (or failed in it)."""
        return self._u32(0) == MAGIC

    @property
    def version(self) -> int:
        return self._u32(4)

    @property
    def state(self) -> int:
        """One of the STATE_ constants."""
        return self._u32(_STATE)

    @property
    def failed(self) -> bool:
        return self._u32(_STATUS) != 0

    @property
    def error(self) -> str:
        return self._text(_ERROR)

    @property
    def rounds(self) -> int:
        """Finished rounds over the command line's operations."""
        return self._u32(_ROUNDS)

    @property
    def tsc_hz(self) -> int:
        """The TSC's frequency as the guest measured it against the PM timer; 0 = unknown."""
        return self._u64(_TSC_HZ)

    @property
    def names(self) -> tuple[str, ...]:
        """The operations that this guest program knows."""
        return tuple(self._text(_NAMES).split())

    def post(self, command: str) -> int:
        """Hands a command over and returns its sequence number.

        Raises:
            ValueError: the command is too long or not ASCII.
        """
        raw = command.encode("ascii") + b"\0"
        if len(raw) > _COMMAND[1]:
            raise ValueError(f"a command has at most {_COMMAND[1] - 1} bytes, not {len(raw) - 1}")
        start = ADDRESS + _COMMAND[0]
        self._memory[start : start + len(raw)] = raw
        seq = (self._u32(_COMMAND_SEQ) + 1) & 0xFFFFFFFF
        self._set_u32(_COMMAND_SEQ, seq)
        return seq

    def done(self, seq: int) -> bool:
        """Whether the result of command `seq` is complete."""
        return self._u32(_DONE_SEQ) == seq

    def result(self) -> Result:
        """The result of the last command."""
        used = self._u32(_OPERATIONS)
        counts = struct.unpack_from(f"<{used}I", self._memory, ADDRESS + _OK_COUNT)
        return Result(
            error=self.error if self.failed else "",
            counts=counts,
            tsc_cycles=self._u64(_TSC_CYCLES),
            idle_wakes=self._u32(_IDLE_WAKES),
        )
