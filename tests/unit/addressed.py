# SPDX-License-Identifier: Apache-2.0
"""VMs with QMP servers and region tables, for `Addressing`."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from kvmexporter.addressing import Addressing, Glance, Visit, VmAddressing
from kvmexporter.inventory import Inventory
from kvmexporter.model.regiontable import Entry, Key
from kvmexporter.model.vm import VmId
from kvmexporter.sources.qemu import QemuFacts, Visitor
from kvmexporter.sources.qmp import Door
from tests.unit.model.recorded import load
from tests.unit.procfs_tree import NS_PER_TICK, ProcfsTree
from tests.unit.region_maps import Maps
from tests.unit.sources.qmp_server import Answer, QmpServer, honest
from tests.unit.vcpu_records import MemoryMap

QEMU = "/usr/bin/qemu-system-x86_64"
PC = load("10.0", "pc")
START_TICKS = 1000
DEADLINE_SECONDS = 1.5


def identity(pid: int, start_ticks: int = START_TICKS) -> VmId:
    return VmId(start_ticks * NS_PER_TICK, pid)


def fast() -> float:
    """A clock on which a minute passes in a fifth of a second."""
    return time.monotonic() * 300


class Visits:
    """Visits with a short deadline, counted; or whatever else `how` does.

    Attributes:
        begun: how many, by the process's directory.
    """

    def __init__(self, how: Visit | None = None) -> None:
        self.begun: dict[str, int] = {}
        self._how = how or Visitor().visit

    async def __call__(
        self, socket: Door, deadline_seconds: float, known: QemuFacts | None
    ) -> QemuFacts:
        assert isinstance(socket, Path)
        pid = socket.parts[-3]
        self.begun[pid] = self.begun.get(pid, 0) + 1
        return await self._how(socket, min(deadline_seconds, DEADLINE_SECONDS), known)


class Vms:
    """VMs with their servers, and what addresses them; a context manager.

    Args:
        tree: where their processes are.
        directory: for their sockets.
    """

    def __init__(self, tree: ProcfsTree, directory: Path) -> None:
        self.tree = tree
        self.maps = Maps(MemoryMap, max_vms=64)
        self.inventory = Inventory(tree.procfs)
        self.addressing: Addressing | None = None
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.addressing:
            self.addressing.close()
        self._stack.close()

    def add(
        self, pid: int, answer: Answer | None = honest, start_ticks: int = START_TICKS
    ) -> QmpServer:
        """A VM with a server; with None for an answer, nobody serves its socket yet."""
        self.process(pid, "-qmp", "unix:/qmp.sock,server=on,wait=off", start_ticks=start_ticks)
        server = QmpServer(self._directory / str(pid) / "qmp.sock", PC, answer or honest)
        if answer:
            self._stack.enter_context(server)
        return server

    def process(self, pid: int, *arguments: str, start_ticks: int = START_TICKS) -> None:
        """A VM."""
        home = self._directory / str(pid)
        home.mkdir(exist_ok=True)
        self.tree.process(pid, [QEMU, "-name", f"vm{pid}", *arguments], start_ticks)
        for link in ("root", "cwd"):
            (self.tree.root / str(pid) / link).symlink_to(home)
        self.inventory.refresh()

    def start(
        self,
        visit: Visit | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        glance: Glance | None = None,
        glance_seconds: float | None = None,
    ) -> Addressing:
        """Begin to visit them."""
        self.addressing = Addressing(
            self.inventory,
            self.maps.tables,
            self.tree.root,
            visit or Visits(),
            monotonic,
            glance,
            glance_seconds,
        )
        self.addressing.start()
        return self.addressing

    def known(self, pid: int) -> VmAddressing:
        """What is known of a VM; nothing yet, perhaps."""
        assert self.addressing
        return self.addressing.known().get(
            identity(pid), VmAddressing((), (), None, None, "not met")
        )

    def written(self, pid: int) -> dict[Key, Entry]:
        """The table of a VM."""
        return {key: entry for (of, key), entry in self.maps.regions().items() if of == pid}


class Held:
    """A visit that lasts until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.ended = threading.Event()

    async def __call__(
        self, _socket: Door, _deadline_seconds: float, _known: QemuFacts | None
    ) -> QemuFacts:
        self.begun.set()
        while not self.let_go.is_set():
            await asyncio.sleep(0.005)
        self.ended.set()
        return QemuFacts("10.0.0", PC.windows(), ())
