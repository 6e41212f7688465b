# SPDX-License-Identifier: Apache-2.0
"""Which VMs exist on this host, and what each is made of.

A VM is a process that holds a KVM VM descriptor. A full scan of /proc finds them
and runs in the background; a process is looked at there and then when BPF meets a vCPU
of it, the first or one that was plugged in. A VM is gone when its process is. Where libvirt
runs a VM, its name and uuid are those that libvirt says.
"""

import threading
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import NamedTuple, Protocol

from kvmexporter.model import command_line_posture, qemu_command_line, vmm_command_line
from kvmexporter.model.vm import Vm, VmId, bounded_name, with_unique_names
from kvmexporter.sources.libvirt import Libvirt, Said
from kvmexporter.sources.procfs import KvmDescriptors, KvmProcesses, Procfs
from kvmexporter.units import ticks_to_ns


class Descriptors(Protocol):
    """Whoever sees what processes hold of KVM."""

    def kvm_descriptors(self, pid: int) -> KvmDescriptors:
        """Of one process; raises PermissionError where it may not be seen."""

    def kvm_processes(self) -> KvmProcesses:
        """Of all that hold a VM; raises PermissionError where none may be seen."""


class _Described(NamedTuple):
    """A VM as its process describes it, kept as long as that shows the same."""

    seen: tuple[int, KvmDescriptors | None]
    vm: Vm


class Inventory:
    """The VMs of a host; safe to use from several threads.

    Args:
        procfs: where processes are seen.
        descriptors: who may see what they hold of KVM; procfs itself if None.
        libvirt: where its domains are seen; None: nowhere.
    """

    def __init__(
        self,
        procfs: Procfs,
        descriptors: Descriptors | None = None,
        libvirt: Libvirt | None = None,
    ) -> None:
        self._procfs = procfs
        self._descriptors = descriptors or procfs
        self._libvirt = libvirt
        self._lock = threading.Lock()
        self._known: dict[int, Vm] = {}
        self._versions: dict[VmId, str] = {}
        self._described: dict[VmId, _Described] = {}
        self._met_since_scan: dict[VmId, int] = {}
        self._resident: dict[VmId, int] = {}
        self._named: tuple[Vm, ...] | None = None
        self._sees_all = True

    @property
    def sees_all(self) -> bool:
        """Whether no VM can have been missed, as others' are by who may not see what they hold."""
        return self._sees_all

    def vms(self, *, look: bool = True, alive: Container[VmId] = ()) -> tuple[Vm, ...]:
        """The VMs known, oldest first, each with a name of its own.

        Args:
            look: whether to look if each is still alive, a small file a VM.
            alive: those that were identified just now, and need no second look.
        """
        with self._lock:
            if look:
                self._forget_the_dead(alive)
            if self._named is None:
                known = self._known.values()
                self._versions = {
                    vm.id: self._versions[vm.id] for vm in known if vm.id in self._versions
                }
                self._named = with_unique_names(map(self._with_version, known))
            return self._named

    def resident_bytes(self, identity: VmId) -> int | None:
        """The memory that a VM's process occupied when it was last seen alive; None if unknown."""
        return self._resident.get(identity)

    def learn_version(self, identity: VmId, version: str) -> None:
        """Keep which release a VM's VMM says that it is."""
        with self._lock:
            known = self._known.get(identity.pid)
            if known and known.id == identity and version != self._versions.get(identity, ""):
                self._versions[identity] = version
                self._named = None

    def _with_version(self, vm: Vm) -> Vm:
        said = self._versions.get(vm.id, "")
        return replace(vm, version=said) if said else vm

    def refresh(self) -> None:
        """Look at every process for VMs that are not known yet, and at known ones again."""
        with self._lock:
            self._met_since_scan.clear()
        try:
            processes = self._descriptors.kvm_processes()
        except PermissionError:
            processes = KvmProcesses({}, is_complete=False)
        found = {
            pid: vm
            for pid, descriptors in processes.found.items()
            if (vm := self._look_at(pid, descriptors))
        }
        domains = self._domains(found)
        found = {pid: as_libvirt_says(vm, domains.get(pid)) for pid, vm in found.items()}
        with self._lock:
            # One that is known from BPF alone may not be visible in /proc/PID/fd.
            self._known |= {pid: self._as_met(vm) for pid, vm in found.items()}
            self._described = {
                vm.id: self._described[vm.id]
                for vm in self._known.values()
                if vm.id in self._described
            }
            for gone in self._resident.keys() - {vm.id for vm in self._known.values()}:
                self._resident.pop(gone, None)
            self._sees_all = processes.is_complete
            self._named = None
            self._forget_the_dead({vm.id for vm in found.values()})

    def identify(self, pid: int) -> VmId | None:
        """The VM of a process that runs vCPUs, met for the first time perhaps.

        Returns:
            None if the process is gone.
        """
        start_ns = self._start_ns(pid)
        with self._lock:
            known = self._known.get(pid)
            if known and known.id.start_ns == start_ns:
                return known.id
        vm = self._look_at(pid, self._held_by(pid))
        if vm is None:
            return None
        if self._libvirt:
            vm = as_libvirt_says(vm, self._libvirt.of_system().get(pid))
        with self._lock:
            known = self._known.get(pid)
            if (
                known is None or known.id != vm.id
            ):  # else another thread was first, and may know more
                self._known[pid] = self._as_met(vm)
                self._named = None
        return vm.id

    def meet(self, pid: int) -> None:
        """Look at a process that has just begun to run a vCPU, its first or one more."""
        identity = self.identify(pid)
        descriptors = self._held_by(pid)
        if identity is None or descriptors is None:
            return
        with self._lock:
            known = self._known.get(pid)
            if known and known.id == identity:
                self._met_since_scan[identity] = descriptors.vcpus
                if known.vcpus != descriptors.vcpus:
                    self._known[pid] = self._as_met(known)
                    self._named = None

    def _as_met(self, vm: Vm) -> Vm:
        """A VM with the vCPUs that it had when the last one was met, later than the scan came."""
        return replace(vm, vcpus=self._met_since_scan.get(vm.id, vm.vcpus))

    def _held_by(self, pid: int) -> KvmDescriptors | None:
        """What a process holds of KVM, None if that may not be seen."""
        try:
            return self._descriptors.kvm_descriptors(pid)
        except PermissionError:
            return None

    def _domains(self, pids: Iterable[int]) -> dict[int, Said]:
        """Process → libvirt's domain, where there is one."""
        if self._libvirt is None:
            return {}
        of_user: defaultdict[int, set[int]] = defaultdict(set)
        for pid in pids:
            if (uid := self._procfs.uid(pid)) is not None:
                of_user[uid].add(pid)
        domains: dict[int, Said] = {}
        for uid, theirs in of_user.items():
            found = self._libvirt.of_user(uid)
            domains |= {pid: said for pid, said in found.items() if pid in theirs}
        return domains | self._libvirt.of_system()

    def _forget_the_dead(self, alive: Container[VmId] = ()) -> None:
        for pid, vm in list(self._known.items()):
            if vm.id not in alive and self._start_ns(pid) != vm.id.start_ns:
                del self._known[pid]
                self._resident.pop(vm.id, None)
                self._named = None

    def _start_ns(self, pid: int) -> int | None:
        running = self._procfs.running(pid)
        if running is None:
            return None
        start_ns = ticks_to_ns(running.start_ticks, self._procfs.ticks_per_second)
        self._resident[VmId(start_ns, pid)] = running.resident_bytes
        return start_ns

    def _look_at(self, pid: int, descriptors: KvmDescriptors | None) -> Vm | None:
        start_ns = self._start_ns(pid)
        arguments = self._procfs.command_line(pid)
        if start_ns is None or not arguments:
            return None
        identity, seen = VmId(start_ns, pid), (hash(arguments), descriptors)
        before = self._described.get(identity)
        if before is None or before.seen != seen:
            before = _Described(seen, describe(identity, arguments, descriptors))
            self._described[identity] = before
        return before.vm


def as_libvirt_says(vm: Vm, said: Said | None) -> Vm:
    """A VM with what libvirt says of it.

    Not if its process was started with another uuid: then the domain's has ended, unseen by
    libvirt, and its number is another's now.
    """
    if said is None or (vm.uuid and vm.uuid.lower() != said.domain.uuid):
        return vm
    domain = said.domain
    memory = domain.memory_max_bytes
    return replace(
        vm,
        name=domain.name or vm.name,
        identified_by="libvirt" if domain.name else vm.identified_by,
        uuid=domain.uuid,
        machine=domain.machine or vm.machine,
        memory_max_bytes=vm.memory_max_bytes if memory is None else memory,
        qmp_sockets=tuple(path for path in vm.qmp_sockets if path != domain.monitor),
        libvirt=domain,
        libvirt_at=said.at,
    )


def describe(identity: VmId, arguments: Sequence[str], descriptors: KvmDescriptors | None) -> Vm:
    """What a VM's command line and descriptors say of it."""
    vcpus = descriptors.vcpus if descriptors else None
    if not qemu_command_line.is_qemu(arguments):
        other = vmm_command_line.identify(arguments)
        if other is None:
            return Vm(
                id=identity,
                name=f"pid-{identity.pid}",
                vmm=bounded_name(PurePath(arguments[0]).name),
                identified_by="pid",
                vcpus=vcpus,
            )
        return Vm(
            id=identity,
            name=bounded_name(other.name) or f"pid-{identity.pid}",
            vmm=other.vmm,
            identified_by=other.vmm if other.name else "pid",
            uuid=bounded_name(other.uuid),
            vcpus=vcpus if vcpus is not None else other.vcpus,
            memory_max_bytes=other.memory_bytes,
        )
    line = qemu_command_line.parse(arguments)
    return Vm(
        id=identity,
        name=bounded_name(line.name) or f"pid-{identity.pid}",
        vmm="qemu",
        identified_by="qemu" if line.name else "pid",
        uuid=bounded_name(line.uuid),
        machine=bounded_name(line.machine),
        cpu_model=bounded_name(line.cpu_model),
        vcpus=vcpus,
        memory_max_bytes=line.memory_bytes,
        qmp_sockets=line.qmp_sockets,
        agent_socket=line.agent_socket,
        posture=command_line_posture.posture(arguments),
        backends=command_line_posture.backends(arguments),
    )
