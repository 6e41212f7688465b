# SPDX-License-Identifier: Apache-2.0
"""What a collector is: one subject, sampled, then turned into metrics and findings."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from kvmexporter.addressing import Addressing, VmAddressing
from kvmexporter.agents import GuestAgents
from kvmexporter.errors import KvmExporterError, Unavailable
from kvmexporter.inventory import Inventory
from kvmexporter.model.balloon import Balloon
from kvmexporter.model.findings import Finding
from kvmexporter.model.io import UNKNOWN_TARGET, UnknownAddress, VmIo, vm_io
from kvmexporter.model.libvirt_balloon import libvirt_balloon
from kvmexporter.model.metrics import Family, Metric, rare_below
from kvmexporter.model.posture import Posture
from kvmexporter.model.vm import Vm, VmId
from kvmexporter.model.vm_devices import KnownDevices, VmDevices
from kvmexporter.needs import Need
from kvmexporter.sources.bpfprobes import BpfProbes
from kvmexporter.sources.debugfs import Debugfs
from kvmexporter.sources.host_nics import HostNics
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.system import System
from kvmexporter.sources.taps import Taps
from kvmexporter.sources.vcpus import VcpuReader, VmCounters
from kvmexporter.units import ns_to_seconds

S = TypeVar("S")

_NO_POSTURE = Posture()

PER_VCPU = "exits.per-vcpu"
"""The extra that has vCPUs' counters read one by one."""

IO_RARE = "io.rare"
"""The extra that has handling times of rare accesses told."""


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Sources:
    """What collectors read from.

    Attributes:
        procfs: processes.
        inventory: the VMs.
        probes: the attached BPF programs, or why there are none.
        vcpus: the records of vCPUs in BPF; None without probes.
        addressing: what is known of each VM's devices.
        extras: what is told beyond the usual, as `collector.extra` (`Collector.extras`).
        system: the system itself, its clocks and its role.
        agents: the guests' agents; None unless somebody wants them asked.
        debugfs: KVM's own counters, where the kernel shows them.
        devices: what was brought together of each VM's devices.
        counting_since_ns: when that began, CLOCK_BOOTTIME.
    """

    procfs: Procfs
    inventory: Inventory
    probes: BpfProbes | Unavailable
    vcpus: VcpuReader | None
    addressing: Addressing
    extras: frozenset[str] = frozenset()
    system: System = field(default_factory=System)
    agents: GuestAgents | None = None
    debugfs: Debugfs = field(default_factory=Debugfs)
    devices: KnownDevices = field(default_factory=KnownDevices)
    counting_since_ns: int = field(default_factory=_boottime_ns)

    def attached(self) -> BpfProbes:
        """The attached programs.

        Raises:
            Unavailable: there are none.
        """
        if isinstance(self.probes, Unavailable):
            raise self.probes
        return self.probes


class Cycle:
    """One sampling: what several collectors need is read once.

    Args:
        sources: what to read from.
        monotonic: the clock, in seconds.
    """

    def __init__(self, sources: Sources, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._counters: Mapping[VmId, VmCounters] | KvmExporterError = {}
        if sources.vcpus:
            try:
                self._counters = sources.vcpus.read(
                    sources.inventory.identify, PER_VCPU in sources.extras
                )
            except KvmExporterError as err:
                self._counters = err
        self._io: Mapping[VmId, VmIo] | None = None
        self._devices: dict[VmId, VmDevices] = {}
        self._has_looked_at_nics = False
        self.time = monotonic()
        self._boottime_ns = _boottime_ns()
        self.addressing: Mapping[VmId, VmAddressing] = sources.addressing.known()
        self._stale_seconds = sources.addressing.stale_seconds
        # After the counters: reading them may have met VMs that nobody knew.
        counted = {} if isinstance(self._counters, KvmExporterError) else self._counters
        self.vms: tuple[Vm, ...] = sources.inventory.vms(alive=counted.keys())
        sources.devices.keep_only({vm.id for vm in self.vms})

    def rare_below(self, vm: Vm) -> int:
        """How many events of a kind are no rarity with a VM."""
        since_ns = max(vm.id.start_ns, self._sources.counting_since_ns)
        return rare_below(ns_to_seconds(self._boottime_ns - since_ns))

    def unknown_addresses(self) -> tuple[UnknownAddress, ...]:
        """A sample of the addresses that belong to no known device, most used first."""
        by_pid = self._sources.addressing.unknown_addresses()
        found = [
            UnknownAddress(vm.name, space, address, accesses)
            for vm in self.vms
            for (space, address), accesses in by_pid.get(vm.id.pid, {}).items()
        ]
        return tuple(sorted(found, key=lambda one: (-one.accesses, one.vm, one.space, one.address)))

    def devices(self, vm: Vm) -> VmDevices:
        """Everything known of a VM's devices: from its monitor, else from its command line."""
        if not (devices := self._devices.get(vm.id)):
            known = self.addressing.get(vm.id)
            facts = known.facts if known else None
            devices = self._devices[vm.id] = self._sources.devices.of(
                vm.id,
                facts.windows if facts else (),
                facts.virtio if facts else (),
                facts.posture if facts else _NO_POSTURE,
                vm.posture,
                vm.backends,
                vm.libvirt,
            )
        return devices

    def nics(self) -> tuple[Taps, HostNics]:
        """The taps that VMMs hold, and how these and those that VMs name hang together.

        None of that is told for longer than a minute.
        """
        taps, nics = self._sources.system.taps, self._sources.system.nics
        if not self._has_looked_at_nics:
            taps.look(self.time, [vm.id for vm in self.vms])
            names: dict[str, None] = {}
            for vm in self.vms:
                names |= dict.fromkeys(taps.of(vm.id).values())
                for device in self.devices(vm).posture.devices:
                    if device.netdev:
                        names |= dict.fromkeys(device.netdev[1].taps)
            nics.look(self.time, names)
            self._has_looked_at_nics = True
        return taps, nics

    def balloon(self, vm: Vm) -> tuple[Balloon, float] | None:
        """A VM's balloon and how old that is, seconds: from its monitor, else from libvirt.

        Returns:
            None if it has none, or nothing has been heard of it for so long that it is of the past.
        """
        known = self.addressing.get(vm.id)
        if known and known.facts and known.facts.balloon and known.glanced is not None:
            age = self.time - known.glanced
            if age <= self._stale_seconds:
                return known.facts.balloon, age
        if vm.libvirt and vm.libvirt_at is not None:
            balloon = libvirt_balloon(vm.libvirt)
            age = max(self.time - vm.libvirt_at, 0.0)
            if balloon and age <= self._stale_seconds:
                return balloon, age
        return None

    def io(self) -> Mapping[VmId, VmIo]:
        """The I/O that BPF counted, by device, for each VM that it has seen.

        Without the handling times of what is so rare that they are not served.

        Raises:
            KvmExporterError: as `counters`.
        """
        if self._io is None:
            self._io = {
                vm.id: vm_io(
                    counted.counters,
                    known.targets if known else (UNKNOWN_TARGET,),
                    0 if IO_RARE in self._sources.extras else self.rare_below(vm),
                )
                for vm, counted in self.counters()
                for known in (self.addressing.get(vm.id),)
            }
        return self._io

    def counters(self) -> list[tuple[Vm, VmCounters]]:
        """What BPF counted, for each VM that it has seen.

        Raises:
            Unavailable: BPF is not to be had.
            KvmExporterError: the maps could not be read.
        """
        self._sources.attached()
        if isinstance(self._counters, KvmExporterError):
            raise self._counters
        return [(vm, self._counters[vm.id]) for vm in self.vms if vm.id in self._counters]


class Collector(ABC, Generic[S]):
    """One subject. Built once; sampled again and again, by one thread at a time.

    Attributes:
        name: in flags, docs and the `collector` label.
        summary: one line on what it gives.
        metrics: every metric it can give.
        extras: what it tells only if asked with `--collector.NAME.EXTRA`: extra → what that is.
            `dump` and `top` tell all but `PER_VCPU` anyway.
        default: whether it runs when nobody asks.
        needs_bpf: whether it has nothing to say without the BPF programs.
        needs: what it can give nothing without; every collector says so, `()` if nothing.
        wants: what it gives less without.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    extras: ClassVar[Mapping[str, str]] = {}
    default: ClassVar[bool] = True
    needs_bpf: ClassVar[bool] = False
    needs: ClassVar[tuple[Need, ...]] = ()
    wants: ClassVar[tuple[Need, ...]] = ()

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    @abstractmethod
    def sample(self, cycle: Cycle) -> S:
        """Read what is needed; the only step that may.

        Raises:
            Unavailable: what it reads is not there on this system.
            KvmExporterError: reading failed.
        """

    @abstractmethod
    def families(self, sample: S) -> Iterable[Family]:
        """The metrics of a sample."""

    def findings(self, sample: S) -> Iterable[Finding]:  # noqa: ARG002 - most have no advice
        """The advice that follows from a sample."""
        return ()

    def close(self) -> None:
        """Give back what the collector holds: threads, descriptors."""
