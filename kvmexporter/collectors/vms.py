# SPDX-License-Identifier: Apache-2.0
"""Which VMs run here.

Reads /proc: a start time per VM at each scrape, and every process's descriptors in a
background scan. The version is what the VM's monitor said at the last visit (QMP query-version).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kvmexporter.collector import Collector, Cycle
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.vm import Vm
from kvmexporter.needs import CAPABILITIES, KVM, LIBVIRT, PID_NAMESPACE

INFO = Metric(
    "kvm_vm_info",
    Kind.INFO,
    "A VM that runs on this host, and what runs it; identified_by says where its name is from, "
    "version is empty until the VM's monitor has told it.",
    ("vm", "uuid", "pid", "vmm", "version", "machine", "cpu_model", "identified_by"),
    "/proc/PID/fd, /proc/PID/cmdline, QMP query-version",
)
VCPUS = Metric(
    "kvm_vm_vcpus",
    Kind.GAUGE,
    "Virtual CPUs that the VMM has made for the VM; QEMU keeps those that are unplugged.",
    ("vm",),
    "/proc/PID/fd",
)
MEMORY_MAX = Metric(
    "kvm_vm_memory_max_bytes",
    Kind.GAUGE,
    "Memory that the VM was started with: what its guest can use at most.",
    ("vm",),
    "/proc/PID/cmdline",
)
RESIDENT = Metric(
    "kvm_vm_resident_memory_bytes",
    Kind.GAUGE,
    "Host memory that the VM's process occupies, the VMM's own included.",
    ("vm",),
    "/proc/PID/stat",
)


@dataclass(frozen=True, slots=True)
class VmSample:
    """A VM and the memory its process occupies, None if it was gone before that was seen."""

    vm: Vm
    resident_bytes: int | None


class VmsCollector(Collector[list[VmSample]]):
    """The VMs themselves."""

    name = "vms"
    summary = "which VMs run, and the memory they occupy"
    metrics = (INFO, VCPUS, MEMORY_MAX, RESIDENT)
    needs = (KVM, PID_NAMESPACE)
    wants = (CAPABILITIES, LIBVIRT)

    def sample(self, cycle: Cycle) -> list[VmSample]:
        """Take the memory of each VM's process as it was when it was identified."""
        resident_bytes = self.sources.inventory.resident_bytes
        return [VmSample(vm, resident_bytes(vm.id)) for vm in cycle.vms]

    def families(self, sample: list[VmSample]) -> Iterable[Family]:
        """One series of each per VM."""
        info, vcpus, memory_max, resident = (Family(metric) for metric in self.metrics)
        for one in sample:
            vm = one.vm
            pid = str(vm.id.pid)
            info.add(
                1, vm.name, vm.uuid, pid, vm.vmm, vm.version, vm.machine, vm.cpu_model,
                vm.identified_by,
            )  # fmt: skip
            if vm.vcpus is not None:
                vcpus.add(vm.vcpus, vm.name)
            if vm.memory_max_bytes is not None:
                memory_max.add(vm.memory_max_bytes, vm.name)
            if one.resident_bytes is not None:
                resident.add(one.resident_bytes, vm.name)
        return info, vcpus, memory_max, resident
