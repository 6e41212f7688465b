# SPDX-License-Identifier: Apache-2.0
"""How VMs are built, and what of it should be changed.

Reads what the VMM said last of its devices (in the background) or what its command line says,
the descriptors of tap devices that were handed to it, and, for advice on busy devices, the
records that BPF keeps.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import KvmExporterError
from kvmexporter.model import (
    device_findings,
    disk_findings,
    exit_findings,
    processor_findings,
)
from kvmexporter.model.findings import Finding
from kvmexporter.model.io import IoExit, IoTarget
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.posture import Backing, Netdev, Posture
from kvmexporter.model.recent import RecentRates
from kvmexporter.model.vm import VmId
from kvmexporter.needs import LIBVIRT, PID_NAMESPACE, QMP
from kvmexporter.sources.taps import TapFlags

DISK = Metric(
    "kvm_vm_disk_info",
    Kind.INFO,
    "A disk of the VM and how the VMM reads and writes it; aio is known from the command line "
    "alone, and empty for what is not a file or device of the host.",
    ("vm", "device", "cache", "aio"),
    "QMP query-block, the command line",
)
NIC = Metric(
    "kvm_vm_nic_info",
    Kind.INFO,
    "A NIC of the VM and what is behind it; nic: the tap, as in kvm_host_nic_offload_enabled; "
    "vnet_hdr: whether offloads pass it.",
    ("vm", "device", "netdev", "nic", "vnet_hdr", "multi_queue"),
    "QMP info network, the command line, /sys/class/net",
)

# A VM that does fewer accesses in all has no device with as many as give reason for advice.
_LEAST_PER_SECOND = min(disk_findings.BUSY_PER_SECOND, exit_findings.STORM_PER_SECOND)


@dataclass(frozen=True, slots=True)
class PostureSample:
    """One VM.

    Attributes:
        vm: its name.
        vcpus: how many it has, None if that may not be seen.
        posture: how it is built.
        taps: NIC → the tap that it is behind, and how that was made.
        accesses: device → what its guest made of port and memory accesses lately, per second;
            empty where all together are too few for advice, as the next one is.
        to_vmm: device → those that the VMM had to handle.
    """

    vm: str
    vcpus: int | None
    posture: Posture
    taps: Mapping[str, tuple[str, TapFlags | None]] = field(default_factory=dict)
    accesses: Mapping[str, float] = field(default_factory=dict)
    to_vmm: Mapping[IoTarget, float] = field(default_factory=dict)


class _Built(NamedTuple):
    """The advice on how a VM is built, and what it follows from."""

    posture: Posture
    vcpus: int | None
    findings: tuple[Finding, ...]


class PostureCollector(Collector[list[PostureSample]]):
    """Disks, NICs, and the advice that follows from how a VM is built."""

    name = "posture"
    summary = "what is behind VMs' disks and NICs, and advice on how VMs are built"
    metrics = (DISK, NIC)
    needs = (PID_NAMESPACE,)
    wants = (QMP, LIBVIRT)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._rates: RecentRates[VmId, IoExit] = RecentRates(_LEAST_PER_SECOND)
        self._built: dict[str, _Built] = {}

    def sample(self, cycle: Cycle) -> list[PostureSample]:
        """Bring together what is known of each VM."""
        rates: Mapping[VmId, Mapping[IoExit, float]] = {}
        with suppress(KvmExporterError):  # nothing counts, or what is counted cannot be read now
            counted = {identity: one.exits for identity, one in cycle.io().items()}
            rates = self._rates.observe(cycle.time, counted)
        samples = []
        held, nics = cycle.nics()
        for vm in cycle.vms:
            posture = cycle.devices(vm).posture
            taps = {}
            for device in posture.devices:
                if device.netdev and (tap := _tap(held.of(vm.id), device.netdev[1])):
                    taps[device.name] = tap, nics.flags(tap)
            accesses: dict[str, float] = {}
            to_vmm: dict[IoTarget, float] = {}
            for exit_, rate in rates.get(vm.id, {}).items():
                name, _, _, _, _, handler = exit_
                accesses[name] = accesses.get(name, 0.0) + rate
                if handler == "userspace":
                    target = exit_.target
                    to_vmm[target] = to_vmm.get(target, 0.0) + rate
            samples.append(PostureSample(vm.name, vm.vcpus, posture, taps, accesses, to_vmm))
        return samples

    def families(self, sample: list[PostureSample]) -> Iterable[Family]:
        """One series a disk, one a NIC."""
        disk, nic = Family(DISK), Family(NIC)
        for one in sample:
            for device in one.posture.devices:
                if device.drive:
                    backing: Backing = device.drive[1]
                    disk.add(1, one.vm, device.name, backing.cache, backing.aio)
                if device.netdev:
                    tap, flags = one.taps.get(device.name, ("", None))
                    nic.add(
                        1, one.vm, device.name, device.netdev[1].type, tap,
                        _switch(flags.vnet_hdr if flags else None),
                        _switch(flags.multi_queue if flags else None),
                    )  # fmt: skip
        return disk, nic

    def findings(self, sample: list[PostureSample]) -> Iterable[Finding]:
        """What should be built otherwise."""
        self._built = {one.vm: self._as_built(one) for one in sample}
        for one in sample:
            yield from self._built[one.vm].findings
            yield from disk_findings.disks(one.vm, one.posture, one.accesses)
            yield from exit_findings.storms(one.vm, one.to_vmm)

    def _as_built(self, one: PostureSample) -> "_Built":
        """The advice on what does not change while a VM runs, mostly."""
        before = self._built.get(one.vm)
        if before and before.posture is one.posture and before.vcpus == one.vcpus:
            return before
        findings = (
            *processor_findings.cpu_model(one.vm, one.posture.cpu_model),
            *device_findings.devices(one.vm, one.posture, one.vcpus),
        )
        return _Built(one.posture, one.vcpus, findings)


def _tap(held: Mapping[int, str], netdev: Netdev) -> str:
    """The first tap of a NIC: by its name, else by the descriptor that was handed over."""
    if netdev.taps:
        return netdev.taps[0]
    return held.get(netdev.fds[0], "") if netdev.fds else ""


def _switch(value: bool | None) -> str:
    return "" if value is None else "on" if value else "off"
