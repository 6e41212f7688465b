# SPDX-License-Identifier: Apache-2.0
"""The lab's host as one sees it who is outside: two exporters to scrape, and orders to give.

The other end is `tests/lab/trouble.py`.
"""

import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from tests.lab import trouble

_TREE: Final = Path(__file__).parents[2]
# A host and two guests, one of which unpacks a Python and starts an exporter.
_READY_SECONDS: Final = 420.0
_ORDER_SECONDS: Final = 240.0
_END_SECONDS: Final = 90.0
_KERNEL: Final = "6.12"
# As many as have work at a time: none of it is to wait for another.
_CPUS: Final = 4


class LabError(Exception):
    """The lab did not boot, or an order failed."""


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Lab:
    """A host with VMs that runs until this is closed.

    Args:
        results: directory for what it writes; emptied first.
        timeout: seconds after which it ends by itself.
    """

    def __init__(self, results: Path, timeout: float) -> None:
        self._orders, host, web = free_port(), free_port(), free_port()
        self.targets = {"host": f"127.0.0.1:{host}", "web": f"127.0.0.1:{web}"}
        forwarded = {
            self._orders: trouble.ORDERS_PORT,
            host: trouble.HOST_EXPORTER,
            web: trouble.VM_EXPORTER,
        }
        self._log = results / "output.log"
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "tests.lab.boot", "--kernel", _KERNEL,
                "--tsc", "reliable", "--cpus", str(_CPUS), "--timeout", str(timeout),
                "--results", str(results),
                *(word for outer, inner in forwarded.items()
                  for word in ("--forward", f"{outer}:{inner}")),
                "--", sys.executable, "-m", "tests.lab.trouble",
            ],
            cwd=_TREE, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.close)
            deadline = time.monotonic() + _READY_SECONDS
            while not self._obeys():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise LabError(f"the lab's host is not ready:\n{self.said()}")
                time.sleep(1)
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _obeys(self) -> bool:
        # The emulator takes connections before anybody listens inside.
        try:
            with socket.create_connection(("127.0.0.1", self._orders), timeout=5) as line:
                line.sendall(b"\n")
                return line.recv(16) == b"" and "ready\n" in self.said()
        except OSError:
            return False

    def order(self, name: str) -> None:
        """Have something done and wait until it is.

        Raises:
            LabError: it was not.
        """
        with socket.create_connection(("127.0.0.1", self._orders), _ORDER_SECONDS) as line:
            line.sendall(f"{name}\n".encode())
            try:
                answer = line.recv(16)
            except OSError as err:
                raise LabError(f"{name}: {err}:\n{self.said()}") from err
        if answer != b"done\n":
            raise LabError(f"{name}: not done:\n{self.said()}")

    def said(self) -> str:
        """What it has written."""
        return self._log.read_text("utf-8", "replace")[-6000:] if self._log.exists() else ""

    def close(self) -> None:
        """End it: in order, or else at once."""
        if self._process.poll() is not None:
            return
        try:
            self.order(trouble.END)
            self._process.wait(_END_SECONDS)
        except (LabError, OSError, subprocess.TimeoutExpired) as err:
            print(f"the lab's host is ended: {err}", flush=True)
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
