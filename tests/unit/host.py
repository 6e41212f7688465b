# SPDX-License-Identifier: Apache-2.0
"""A host with VMs, made of a procfs tree and of records in BPF maps."""

from dataclasses import dataclass, field
from typing import Any

from kvmexporter.addressing import Addressing
from kvmexporter.bpf.request import MAPS
from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.inventory import Inventory
from kvmexporter.registry import COLLECTORS
from kvmexporter.sampler import Sampler, Snapshot
from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from kvmexporter.sources.bpfprobes import BpfProbes, ProgramState
from kvmexporter.sources.system import System
from kvmexporter.sources.vcpus import VcpuReader
from tests.unit.clock_records import clocks_layout, offsets_layout
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.vcpu_records import MemoryMap, live_key, record, retired_layout, vcpus_layout

EVERYTHING = frozenset(f"{kind.name}.{extra}" for kind in COLLECTORS for extra in kind.extras)
"""All that collectors tell beyond the usual."""

# Of maps that no test looks into.
OTHER_MAX_ENTRIES = 1009

NO_BPF = Unavailable("no bcc in this test", "nothing")


@dataclass(slots=True)
class Clock:
    """A clock that moves by `step` whenever it is read."""

    now: float = 1000.0
    step: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def _drops_map() -> MemoryMap:
    drops = MemoryMap("drops", MapLayout(4, 8, 3, {}))
    for index in range(3):
        drops.set(index.to_bytes(4, "little"), bytes(8))
    return drops


@dataclass(slots=True)
class Host:
    """The parts, and what is built from them.

    Attributes:
        tree: its processes.
        vcpus: records of live threads.
        retired: records of ended threads.
        drops: what could not be counted.
        monotonic: the clock.
        programs: the state of each BPF program.
        extras: what is told beyond the usual.
        clocks: what KVM makes of VMs' clocks.
        offsets: what is added to the TSC, by vCPU.
        tsc_hz: how fast that runs.
        system: the system itself; None: this machine, but for how fast that runs.
    """

    tree: ProcfsTree
    vcpus: BpfMap = field(default_factory=lambda: MemoryMap("vcpus", vcpus_layout()))
    retired: BpfMap = field(default_factory=lambda: MemoryMap("retired", retired_layout()))
    drops: BpfMap = field(default_factory=_drops_map)
    monotonic: Clock = field(default_factory=Clock)
    programs: tuple[ProgramState, ...] = ()
    extras: frozenset[str] = frozenset()
    clocks: BpfMap = field(default_factory=lambda: MemoryMap("vm_clocks", clocks_layout()))
    offsets: BpfMap = field(default_factory=lambda: MemoryMap("tsc_offsets", offsets_layout()))
    tsc_hz: int | None = 2_000_000_000
    system: System | None = None

    def vcpu(self, tid: int, tgid: int, created_ns: int = 20_000_000_000, **counted: Any) -> None:
        """Write the record of a vCPU thread."""
        self.vcpus.set(live_key(tid), record(tgid, created_ns, **counted))

    def sources(self) -> Sources:
        """Everything that collectors read from."""
        inventory = Inventory(self.tree.procfs)
        inventory.refresh()
        maps: dict[str, BpfMap] = {
            name: MemoryMap(name, MapLayout(16, 16, OTHER_MAX_ENTRIES, {})) for name in MAPS
        }
        maps |= {"vcpus": self.vcpus, "retired": self.retired, "drops": self.drops}
        maps |= {"vm_clocks": self.clocks, "tsc_offsets": self.offsets}
        return Sources(
            self.tree.procfs,
            inventory,
            BpfProbes(maps, self.programs, {}),
            VcpuReader(self.vcpus, self.retired, self.monotonic),
            Addressing(inventory, None, self.tree.root),
            extras=self.extras,
            system=self.system or System(tsc_hz=self.tsc_hz),
        )

    def cycle(self) -> Cycle:
        """One sampling."""
        return Cycle(self.sources(), self.monotonic)

    def sampler(self, *kinds: type[Collector[Any]]) -> Sampler:
        """What samples these collectors."""
        sources = self.sources()
        return Sampler(
            sources, [kind(sources) for kind in kinds], (), lambda: 1.7e9, self.monotonic
        )

    def snapshot(self, *kinds: type[Collector[Any]]) -> Snapshot:
        """One sampling of these collectors."""
        return self.sampler(*kinds).snapshot()


def without_bpf(tree: ProcfsTree) -> Sources:
    """The sources where no BPF is to be had."""
    inventory = Inventory(tree.procfs)
    inventory.refresh()
    addressing = Addressing(inventory, None, tree.root)
    return Sources(tree.procfs, inventory, NO_BPF, None, addressing)
