# SPDX-License-Identifier: Apache-2.0
"""The launcher's own QMP connection: one end of a socket pair, so no file and no competition.

Only what a test guest needs: commands and their replies; events are dropped.
"""

import json
import socket
import time
from typing import Any


class MonitorError(Exception):
    """QEMU refused a command, closed the connection or did not answer in time."""


class Monitor:
    """A QMP client on a connected stream socket, which it owns."""

    def __init__(self, connection: socket.socket, timeout: float = 20.0) -> None:
        self._connection = connection
        self._buffer = b""
        self._greeted = False
        self._timeout = timeout

    def _line(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise MonitorError("QEMU's monitor did not answer in time")
            self._connection.settimeout(left)
            try:
                data = self._connection.recv(65536)
            except OSError as err:
                raise MonitorError(f"QEMU's monitor did not answer: {err}") from err
            if not data:
                raise MonitorError("QEMU closed its monitor")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def _exchange(self, name: str, arguments: dict[str, Any], deadline: float) -> Any:
        request: dict[str, Any] = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as err:
            raise MonitorError(f"QEMU's monitor is gone: {err}") from err
        while True:
            message = self._line(deadline)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise MonitorError(f"{name}: {message['error'].get('desc')}")

    def execute(self, name: str, **arguments: Any) -> Any:
        """Runs one QMP command and returns its result.

        Raises:
            MonitorError: see the class.
        """
        deadline = time.monotonic() + self._timeout
        if not self._greeted:
            self._line(deadline)
            self._exchange("qmp_capabilities", {}, deadline)
            self._greeted = True
        return self._exchange(name, arguments, deadline)

    def close(self) -> None:
        self._connection.close()
