# SPDX-License-Identifier: Apache-2.0
"""vCPU threads for tests: their records in maps of the kernel's and in memory."""

from collections.abc import Callable

from kvmexporter.model.vm import VmId
from kvmexporter.sources.vcpus import VcpuReader, VmCounters
from kvmexporter.tables.exit_reasons import Isa
from tests.unit.host import Clock
from tests.unit.near_places import NearPlaces
from tests.unit.vcpu_records import (
    MemoryMap,
    live_key,
    record,
    retired_key,
    retired_layout,
    vcpus_layout,
)

VM, OTHER = VmId(1_000_000_000, 500), VmId(2_000_000_000, 600)
CREATED_NS = 3_000_000_000


class Threads:
    """vCPU threads as BPF keeps them, and what reads them."""

    def __init__(self, make: type[MemoryMap] | Callable[..., MemoryMap]) -> None:
        self.vcpus = make("vcpus", vcpus_layout())
        self.retired = make("retired", retired_layout())
        self.near = NearPlaces(make)
        self.clock = Clock()
        self.reader = VcpuReader(self.vcpus, self.retired, self.clock, self.near.reader)
        self.processes = {one.pid: one for one in (VM, OTHER)}

    def live(
        self,
        tid: int,
        exits: int,
        vm: VmId = VM,
        created_ns: int = CREATED_NS,
        vcpu_id: int = 0,
        isa: int = Isa.VMX,
        pending_cell: int = 0,
        io: dict[int, int] | None = None,
    ) -> None:
        """A thread that runs."""
        counted = {"exits": {1: exits}, "io": io or {}}
        self.keep(tid, record(vm.pid, created_ns, vcpu_id, isa, pending_cell, tid, **counted))

    def keep(self, tid: int, made: bytes) -> None:
        """Put a record where BPF does."""
        self.vcpus.set(live_key(tid), made)

    def ended(
        self,
        tid: int,
        exits: int,
        vm: VmId = VM,
        created_ns: int = CREATED_NS,
        pending_cell: int = 0,
        io: dict[int, int] | None = None,
    ) -> None:
        """A thread that has ended."""
        made = record(vm.pid, created_ns, 0, Isa.VMX, pending_cell, exits={1: exits}, io=io or {})
        self.retire(tid, retired_key(tid, vm.pid, created_ns), made)

    def retire(self, tid: int, key: bytes, made: bytes) -> None:
        """Move the record of a thread where BPF does when it ends."""
        self.retired.set(key, made)
        self.forget(tid)

    def forget(self, tid: int) -> None:
        """Remove the record of a live thread, as BPF does when it ends."""
        self.vcpus.delete(live_key(tid))

    def read(self, by_vcpu: bool = False) -> dict[VmId, VmCounters]:
        return self.reader.read(self.processes.get, by_vcpu)

    def exits(self) -> dict[VmId, int]:
        """VM → its exits."""
        return {vm: counted.counters["exits"][1] for vm, counted in self.read().items()}

    def close(self) -> None:
        self.vcpus.close()
        self.retired.close()
        self.near.close()


class NearThreads(Threads):
    """The same threads, with records in places of their own."""

    def keep(self, tid: int, made: bytes) -> None:
        self.near.take(tid, made)

    def retire(self, tid: int, key: bytes, made: bytes) -> None:  # noqa: ARG002 - in its own place
        self.near.take(tid, made)
