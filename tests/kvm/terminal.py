# SPDX-License-Identifier: Apache-2.0
"""A real terminal, of tmux, in which a program runs and keys are typed."""

import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.1


class Terminal:
    """A tmux server of its own with one session.

    Args:
        command: what runs in it.
        width: columns.
        height: lines.
    """

    def __init__(self, command: Sequence[str], width: int, height: int) -> None:
        self._command = command
        self._size = width, height
        self._directory = tempfile.TemporaryDirectory(prefix="kvmexporter-tmux-")
        self._socket = str(Path(self._directory.name) / "socket")

    def __enter__(self) -> Self:
        width, height = self._size
        program = f"trap : INT; {shlex.join(self._command)}; echo ended with $?; sleep 3600"
        self._tmux(
            *("-f", "/dev/null", "new-session", "-d", "-s", "test"),
            *("-x", str(width), "-y", str(height), f"sh -c {shlex.quote(program)}"),
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            print("the screen:", *self.lines(), sep="\n")
        self._tmux("kill-server")
        self._directory.cleanup()

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", self._socket, *arguments],
            capture_output=True, text=True, check=True, timeout=_WAIT_SECONDS,
        )  # fmt: skip
        return done.stdout

    def press(self, *keys: str) -> None:
        """Type keys, by tmux's names for them."""
        self._tmux("send-keys", "-t", "test", *keys)

    def resize(self, width: int, height: int) -> None:
        """Make the terminal larger or smaller."""
        self._tmux("resize-window", "-t", "test", "-x", str(width), "-y", str(height))

    def lines(self) -> list[str]:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p", "-t", "test").split("\n")[:-1]

    def wait_for(self, condition: Callable[[list[str]], bool], what: str) -> list[str]:
        """The screen, once it is so."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while not condition(lines := self.lines()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come:\n" + "\n".join(lines))
            time.sleep(_POLL_SECONDS)
        return lines

    def wait_for_text(self, text: str) -> list[str]:
        """The screen, once it has this text."""
        return self.wait_for(lambda lines: any(text in line for line in lines), text)
