# SPDX-License-Identifier: Apache-2.0
"""Keys, and the terminal they come from: a real one."""

import fcntl
import os
import pty
import signal
import struct
import termios
import time
from collections.abc import Iterator

import pytest

from kvmexporter.views.top.keys import Keyboard, decode


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[A\x1bOB\x1b[5~", ["up", "down", "page up"]),
        (b"\r\n\x7f\x08", ["enter", "enter", "backspace", "backspace"]),
        ("größe".encode(), list("größe")),
        (b"a\x1b[Hb", ["a", "home", "b"]),
        (b"\x03", ["interrupt"]),
        (b"\x1b[200~\x00\x07", []),
        (b"\xff\xfea", ["a"]),
        (b"\x1b[1;5A", []),
        (b"\x1b\x1b", ["escape", "escape"]),
        (b"", []),
    ],
)
def test_decode(data: bytes, keys: list[str]) -> None:
    """Keys have names, characters are themselves, anything else is nothing."""
    assert decode(data) == keys


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The keyboard's end and the program's."""
    typist, program = pty.openpty()
    yield typist, program
    os.close(typist)
    os.close(program)


def test_keys_come_at_once_and_without_echo(terminal: tuple[int, int]) -> None:
    """No Enter is needed; the terminal is as before afterwards."""
    typist, program = terminal
    before = termios.tcgetattr(program)
    with Keyboard(program) as keyboard:
        assert not termios.tcgetattr(program)[3] & (termios.ECHO | termios.ICANON)
        os.write(typist, b"s\x1b[B")
        started = time.monotonic()
        assert keyboard.wait(5) == ["s", "down"]
        assert time.monotonic() - started < 1
        assert keyboard.wait(0) == []
    assert termios.tcgetattr(program) == before


@pytest.mark.parametrize(
    ("number", "keys"), [(signal.SIGWINCH, []), (signal.SIGTERM, ["interrupt"])]
)
def test_signals_end_the_wait(
    number: signal.Signals, keys: list[str], terminal: tuple[int, int]
) -> None:
    """A new size is drawn at once; an end is an end. Handlers are put back."""
    before = signal.getsignal(number)
    with Keyboard(terminal[1]) as keyboard:
        fcntl.ioctl(terminal[1], termios.TIOCSWINSZ, struct.pack("4H", 50, 200, 0, 0))
        os.kill(os.getpid(), number)
        started = time.monotonic()
        assert keyboard.wait(5) == keys
        assert time.monotonic() - started < 1
    assert signal.getsignal(number) is before


def test_a_terminal_that_hangs_up() -> None:
    """Ends it."""
    typist, program = pty.openpty()
    with Keyboard(program) as keyboard:
        os.close(typist)
        assert keyboard.wait(5) == ["interrupt"]
    os.close(program)


def test_the_size(terminal: tuple[int, int]) -> None:
    """Is the terminal's; one that does not say has the usual."""
    with Keyboard(terminal[1]) as keyboard:
        assert keyboard.size() == (80, 24)
        fcntl.ioctl(terminal[1], termios.TIOCSWINSZ, struct.pack("4H", 50, 200, 0, 0))
        assert keyboard.size() == (200, 50)
