# SPDX-License-Identifier: Apache-2.0
"""The paths of sockets that command lines name, opened with patience.

Tenants choose those paths: one may lead to a file system where opening takes for ever, to
libvirt's own socket by way of links, or be longer than a socket's address can be. So a path is
opened with O_PATH, in a thread that may be left behind, and whoever connects goes through the
descriptor.
"""

import asyncio
import os
from concurrent.futures import Future
from pathlib import Path
from weakref import WeakValueDictionary

from kvmexporter.errors import KvmExporterError
from kvmexporter.model.qemu_command_line import LIBVIRT_DIRECTORY
from kvmexporter.sources.patience import Patience


class LibvirtsOwn(KvmExporterError):  # noqa: N818 - whose it is, not a mistake
    """The socket is one that libvirt keeps for itself."""


class SocketPaths:
    """Opens them, each path once at a time: who comes meanwhile waits for his turn."""

    def __init__(self) -> None:
        self._patience = Patience()
        self._turns: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def open(self, path: Path) -> int:
        """Return a descriptor that stands for a socket; whoever asked closes it.

        Raises:
            LibvirtsOwn: it is libvirt's, wherever the links of the path have led.
            OSError: it cannot be opened, or an earlier attempt never came back (`StuckError`).
        """
        async with self._turns.setdefault(path, asyncio.Lock()):
            future = self._patience.begin(
                path, lambda: os.open(path, os.O_PATH | os.O_CLOEXEC), undo=os.close
            )
            try:
                fd = await asyncio.wrap_future(future)
            except asyncio.CancelledError:
                # The descriptor may have come in the moment when nobody cared any more.
                future.add_done_callback(_close)
                raise
        if LIBVIRT_DIRECTORY in os.readlink(f"/proc/self/fd/{fd}"):  # noqa: PTH115
            os.close(fd)
            raise LibvirtsOwn("that socket is libvirt's own")
        return fd


def _close(future: Future[int]) -> None:
    if not future.cancelled() and future.exception() is None:
        os.close(future.result())
