# SPDX-License-Identifier: Apache-2.0
"""The host's end of a Linux guest's serial line: send a command, get output and exit code.

`guest-init.sh` is the other end and says how the lines look.  Output travels in base64, and every
answer carries its command's number, so nothing a command prints can be taken for an answer.
"""

import base64
import gzip
import itertools
import socket
import time
from pathlib import Path


class GuestError(Exception):
    """A guest did not answer in time, died, or a command in it failed."""


class Shell:
    """A guest's shell behind a UNIX socket that QEMU listens on."""

    _numbers = itertools.count(1)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._pending = b""

    def connect(self) -> None:
        """Connect; QEMU holds the line from then on, whether or not the guest has booted."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(self._path))

    def _line(self, deadline: float) -> str:
        if self._socket is None:
            raise GuestError(f"{self._path}: not connected")
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            chunk = self._socket.recv(65536)
            if not chunk:
                raise GuestError(f"{self._path}: the guest's machine is gone")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode("ascii", errors="replace").strip("\r\0")

    def wait_ready(self, timeout: float) -> None:
        """Wait until the guest's init says that it obeys."""
        deadline = time.monotonic() + timeout
        try:
            while self._line(deadline) != "READY":
                pass
        except TimeoutError:
            raise GuestError(f"{self._path}: the guest has no shell after {timeout} s") from None

    def run(self, command: str, timeout: float) -> tuple[str, int]:
        """Run a command and return its output (both streams) and its exit code."""
        number = next(self._numbers)
        if self._socket is None:
            raise GuestError(f"{self._path}: not connected")
        encoded = base64.b64encode(command.encode()).decode()
        self._socket.settimeout(timeout)
        self._socket.sendall(f"RUN {number} {encoded}\n".encode())
        deadline = time.monotonic() + timeout
        body: list[str] | None = None
        packed = False
        try:
            while True:
                line = self._line(deadline)
                if line.startswith(f"BEGIN {number} "):
                    packed = line.endswith(" gzip")
                    body = []
                elif line.startswith(f"END {number} ") and body is not None:
                    raw = base64.b64decode("".join(body))
                    output = gzip.decompress(raw) if packed else raw
                    return output.decode(errors="replace"), int(line.rpartition(" ")[2])
                elif body is not None:
                    body.append(line)
        except TimeoutError:
            raise GuestError(f"no answer within {timeout} s to: {command}") from None

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
