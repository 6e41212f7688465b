# SPDX-License-Identifier: Apache-2.0
"""How VMs are built, and what of it should be changed.

Reads what the VMM said last of its devices (in the background) or what its command line says,
the descriptors of tap devices that were handed to it, and, for advice on busy devices, the
records that BPF keeps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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
from kvmexporter.sources.taps import TapFlags, tap_flags

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


@dataclass(frozen=True, slots=True)
class PostureSample:
    """One VM.

    Attributes:
        vm: its name.
        vcpus: how many it has, None if that may not be seen.
        posture: how it is built.
        taps: NIC → the tap that it is behind, and how that was made.
        accesses: device → what its guest made of port and memory accesses lately, per second.
        to_vmm: device → those that the VMM had to handle.
    """

    vm: str
    vcpus: int | None
    posture: Posture
    taps: Mapping[str, tuple[str, TapFlags | None]] = field(default_factory=dict)
    accesses: Mapping[str, float] = field(default_factory=dict)
    to_vmm: Mapping[IoTarget, float] = field(default_factory=dict)


class PostureCollector(Collector[list[PostureSample]]):
    """Disks, NICs, and the advice that follows from how a VM is built."""

    name = "posture"
    summary = "what is behind VMs' disks and NICs, and advice on how VMs are built"
    metrics = (DISK, NIC)
    needs = (PID_NAMESPACE,)
    wants = (QMP, LIBVIRT)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._rates: RecentRates[VmId, IoTarget] = RecentRates()

    def sample(self, cycle: Cycle) -> list[PostureSample]:
        """Bring together what is known of each VM."""
        rates = self._rates.observe(cycle.time, _accesses(cycle))
        samples = []
        for vm in cycle.vms:
            posture = cycle.devices(vm).posture
            taps = {}
            for device in posture.devices:
                if device.netdev and (tap := self._tap(vm.id.pid, device.netdev[1])):
                    taps[device.name] = tap, tap_flags(self.sources.system.sysfs.root, tap)
            accesses: dict[str, float] = {}
            to_vmm: dict[IoTarget, float] = {}
            for target, (kernel, userspace) in rates.get(vm.id, {}).items():
                accesses[target.device] = accesses.get(target.device, 0.0) + kernel + userspace
                to_vmm[target] = userspace
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
        for one in sample:
            yield from processor_findings.cpu_model(one.vm, one.posture.cpu_model)
            yield from device_findings.devices(one.vm, one.posture, one.vcpus)
            yield from disk_findings.disks(one.vm, one.posture, one.accesses)
            yield from exit_findings.storms(one.vm, one.to_vmm)

    def _tap(self, pid: int, netdev: Netdev) -> str:
        """The first tap of a NIC: by its name, else by the descriptor that was handed over."""
        if netdev.taps:
            return netdev.taps[0]
        if not netdev.fds:
            return ""
        return self.sources.system.taps.of(pid).get(netdev.fds[0], "")


def _accesses(cycle: Cycle) -> dict[VmId, dict[IoTarget, tuple[int, int]]]:
    """What BPF counted: VM → device → accesses handled by the kernel, by the VMM."""
    try:
        io = cycle.io()
    except KvmExporterError:
        return {}
    return {identity: _by_handler(one.exits) for identity, one in io.items()}


def _by_handler(exits: Mapping[IoExit, int]) -> dict[IoTarget, tuple[int, int]]:
    result: dict[IoTarget, tuple[int, int]] = {}
    last: IoTarget | None = None
    kernel = userspace = 0
    for exit_, count in exits.items():
        if exit_[:3] != last:  # a target's come one after the other, mostly
            last = exit_.target
            kernel, userspace = result.get(last, (0, 0))
        if exit_[5] == "kernel":
            kernel += count
        else:
            userspace += count
        result[last] = kernel, userspace
    return result


def _switch(value: bool | None) -> str:
    return "" if value is None else "on" if value else "off"
