# SPDX-License-Identifier: Apache-2.0
"""Which I/O path a guest leaves through: device, driver, access, direction, handler.

Reads the tracepoints kvm_pio, kvm_mmio, kvm_fast_mmio and kvm_userspace_exit through
the records that BPF keeps, and what the VMM says of its devices in the background.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from kvmexporter.collector import IO_RARE, Collector, Cycle
from kvmexporter.model.io import VmIo, vm_kicks
from kvmexporter.model.metrics import RARE_BELOW, Family, Kind, Metric
from kvmexporter.needs import COUNTING, COUNTING_WELL, LIBVIRT, QMP

IO_EXITS = Metric(
    "kvm_vm_io_exits_total",
    Kind.COUNTER,
    "Port and memory-mapped accesses that left the guest, by the device they were for, the "
    "path they took and whether the kernel or the VMM handled them.",
    ("vm", "device", "driver", "path", "access", "direction", "handler"),
    "kvm:kvm_pio, kvm:kvm_mmio, kvm:kvm_fast_mmio",
    rare=IO_RARE,
)
IO_HANDLING = Metric(
    "kvm_vm_io_handling_seconds",
    Kind.HISTOGRAM,
    "Time from an exit with a device access to the vCPU's next entry into the guest.",
    ("vm", "device", "path"),
    "kvm:kvm_exit, kvm:kvm_entry",
    buckets="io.buckets",
    rare=IO_RARE,
)
KICKS = Metric(
    "kvm_vm_virtqueue_kicks_total",
    Kind.COUNTER,
    "Times that the guest rang the doorbell of a virtqueue. With ioeventfd the kernel passes "
    "it on by itself; without, each kick is an exit to the VMM.",
    ("vm", "device", "queue"),
    "kvm:kvm_mmio, kvm:kvm_fast_mmio",
)


@dataclass(frozen=True, slots=True)
class IoSample:
    """The I/O of one VM; kicks: (device, queue) → kicks; rare_below: what is no rarity with it."""

    vm: str
    io: VmIo
    kicks: Mapping[tuple[str, str], int]
    rare_below: int = RARE_BELOW


class IoCollector(Collector[list[IoSample]]):
    """I/O exits by device and path."""

    name = "io"
    summary = "which device and path I/O exits are for, and who handles them"
    metrics = (IO_EXITS, IO_HANDLING, KICKS)
    extras: ClassVar[Mapping[str, str]] = {
        "buckets": "Also serve the distributions of handling times by device.",
        "rare": "Also serve accesses of which there were fewer than 1,000, or fewer than one in "
        "100 seconds: what firmware and a booting guest make of every device, mostly.",
    }
    needs_bpf = True
    needs = COUNTING
    wants = (*COUNTING_WELL, QMP, LIBVIRT)

    def sample(self, cycle: Cycle) -> list[IoSample]:
        """Name what BPF counted."""
        io = cycle.io()
        samples = []
        for vm, counted in cycle.counters():
            known = cycle.addressing.get(vm.id)
            labels = known.kick_labels if known else ()
            kicks = vm_kicks(counted.counters, labels)
            samples.append(IoSample(vm.name, io[vm.id], kicks, cycle.rare_below(vm)))
        return samples

    def families(self, sample: list[IoSample]) -> Iterable[Family]:
        """Counts that are not zero."""
        exits, handling, kicks = Family(IO_EXITS), Family(IO_HANDLING), Family(KICKS)
        for one in sample:
            exits.group((one.vm,), one.io.exits, one.rare_below)
            handling.group((one.vm,), one.io.handling, one.rare_below)
            kicks.group((one.vm,), one.kicks)
        return exits, handling, kicks
