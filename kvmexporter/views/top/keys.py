# SPDX-License-Identifier: Apache-2.0
"""Keys as a terminal sends them, and the terminal's mode while they are read.

Source: ECMA-48 and xterm's control sequences; a key without a name here is left out.
"""

import contextlib
import os
import re
import selectors
import signal
import termios
import tty
from typing import Self

_MOST_BYTES = 1024
# Of a terminal that does not say.
_COLUMNS, _LINES = 80, 24
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~])|.", re.DOTALL)
_NAMES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[C": "right", b"\x1bOC": "right", b"\x1b[D": "left", b"\x1bOD": "left",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home",
    b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
    b"\r": "enter", b"\n": "enter", b"\x1b": "escape", b"\x7f": "backspace", b"\x08": "backspace",
    b"\x03": "interrupt", b"\x04": "interrupt",
}  # fmt: skip


def decode(data: bytes) -> list[str]:
    """What was typed: names of keys, and characters as themselves."""
    keys: list[str] = []
    text = b""
    for found in _SEQUENCE.finditer(data):
        part = found[0]
        if part in _NAMES or part.startswith(b"\x1b") or part < b" ":
            keys += _characters(text)
            text = b""
            if part in _NAMES:
                keys.append(_NAMES[part])
        else:
            text += part
    return keys + _characters(text)


def _characters(text: bytes) -> list[str]:
    return [one for one in text.decode(errors="ignore") if one.isprintable()]


class Keyboard:
    """A terminal whose keys are read one by one, without echo, until it is closed.

    Args:
        fd: the terminal.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before = termios.tcgetattr(fd)
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._resized = signal.signal(signal.SIGWINCH, self._wake)
        self._ended = signal.signal(signal.SIGTERM, self._end)
        self._is_over = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(fd, selectors.EVENT_READ)
        self._selector.register(self._read, selectors.EVENT_READ)
        tty.setcbreak(fd)

    def wait(self, seconds: float) -> list[str]:
        """The keys pressed, as soon as there are any; none when the time is over.

        Also returns at once, with none, when the terminal's size changed; with
        `interrupt` when the terminal is gone or the process is told to end.
        """
        keys: list[str] = []
        for ready, _ in self._selector.select(max(seconds, 0)):
            if ready.fd == self._fd:
                try:
                    data = os.read(self._fd, _MOST_BYTES)
                except OSError:  # it hung up
                    data = b""
                keys += decode(data) if data else ["interrupt"]
            else:
                os.read(self._read, _MOST_BYTES)
        return ["interrupt"] if self._is_over else keys

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal now, whatever the environment says they were."""
        columns, lines = os.get_terminal_size(self._fd)
        return columns or _COLUMNS, lines or _LINES

    def _wake(self, *_: object) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it wakes up anyway
            os.write(self._write, b".")

    def _end(self, *_: object) -> None:
        self._is_over = True
        self._wake()

    def close(self) -> None:
        """Give the terminal back as it was."""
        signal.signal(signal.SIGWINCH, self._resized)
        signal.signal(signal.SIGTERM, self._ended)
        with contextlib.suppress(termios.error):  # it is gone, and its mode with it
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        self._selector.close()
        os.close(self._read)
        os.close(self._write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
