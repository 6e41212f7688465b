# SPDX-License-Identifier: Apache-2.0
"""A QMP client for the tests: one command, one answer, no event loop.

The exporter has a client of its own; this one is the tests' and speaks to a monitor the exporter
cannot reach, so that a fault in one does not hide in the other.
"""

import json
import socket
from typing import Any


class QmpError(Exception):
    """QEMU refused a command, or went away."""


class Qmp:
    """A monitor in control mode at the other end of a connected socket."""

    def __init__(self, channel: socket.socket, timeout: float = 60) -> None:
        self._channel = channel
        self._channel.settimeout(timeout)
        self._stream = channel.makefile("rb")
        self.events: list[dict[str, Any]] = []
        """Everything QEMU announced so far, oldest first."""
        greeting = self._read()
        if "QMP" not in greeting:
            raise QmpError(f"no QMP greeting: {greeting}")
        self.command("qmp_capabilities")

    def _read(self) -> dict[str, Any]:
        try:
            line = self._stream.readline()
        except OSError as err:
            raise QmpError(f"no answer from QEMU: {err}") from err
        if not line:
            raise QmpError("QEMU closed its monitor")
        message: dict[str, Any] = json.loads(line)
        return message

    def command(self, name: str, **arguments: Any) -> Any:
        """Send a command and return its answer; `_` in argument names stands for `-`."""
        request = {
            "execute": name,
            "arguments": {key.replace("_", "-"): value for key, value in arguments.items()},
        }
        try:
            self._channel.sendall(json.dumps(request).encode() + b"\n")
        except OSError as err:
            raise QmpError(f"{name}: QEMU is gone: {err}") from err
        while True:
            message = self._read()
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(f"{name}: {message['error']['desc']}")
            else:
                return message["return"]

    def close(self) -> None:
        """Close both ends that this process holds."""
        self._stream.close()
        self._channel.close()
