# SPDX-License-Identifier: Apache-2.0
"""A virtual machine: its identity and what its process says of it."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from kvmexporter.model.posture import Backends, Posture

if TYPE_CHECKING:  # which bounds its names with what is below
    from kvmexporter.model.libvirt_domain import LibvirtDomain

MAX_NAME_LENGTH = 128

UNSEEN = "no VM can be seen: other users' processes do not show what they hold"
SEEING = "start as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
"""What mends that."""


class VmId(NamedTuple):
    """Which VM: a process, told from another of the same pid by its start.

    Attributes:
        start_ns: nanoseconds since boot, CLOCK_BOOTTIME, rounded down to a clock tick.
        pid: the VMM's process (tgid).
    """

    start_ns: int
    pid: int


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM.

    Attributes:
        id: its process.
        name: unique among the VMs of a snapshot, bounded, printable.
        vmm: the program that runs it (`qemu`), or the executable's name.
        identified_by: where the name comes from: `libvirt`, the VMM's command line (`qemu`, …)
            or `pid`.
        uuid: "" if not known.
        version: of the VMM, "" if not known.
        machine: the machine type, "" if not known.
        cpu_model: "" if not known.
        vcpus: number of vCPUs, None if it may not be seen.
        memory_max_bytes: the RAM it was given, None if not known.
        qmp_sockets: where its VMM may be asked, in its own file system.
        agent_socket: where its guest's agent may be asked, likewise; "" if nowhere.
        libvirt: what libvirt says of it, None if it runs without.
        libvirt_at: when libvirt's daemon last stood behind that, seconds, CLOCK_MONOTONIC; None
            if never.
        posture: how its command line says it was built.
        backends: what its command line says stands behind its devices.
    """

    id: VmId
    name: str
    vmm: str
    identified_by: str
    uuid: str = ""
    version: str = ""
    machine: str = ""
    cpu_model: str = ""
    vcpus: int | None = None
    memory_max_bytes: int | None = None
    qmp_sockets: tuple[str, ...] = ()
    agent_socket: str = ""
    libvirt: "LibvirtDomain | None" = None
    libvirt_at: float | None = None
    posture: Posture = field(default_factory=Posture)
    backends: Backends = field(default_factory=Backends)


def bounded_name(name: str) -> str:
    """A name fit for a label: printable, at most MAX_NAME_LENGTH characters.

    Tenants choose names. What cannot be printed becomes U+FFFD. Names that are equal are one
    object: hundreds of VMs have the same devices.
    """
    printable = name[: MAX_NAME_LENGTH + 1]
    if not printable.isprintable():
        printable = "".join(c if c.isprintable() else "\ufffd" for c in printable)
    if len(printable) > MAX_NAME_LENGTH:
        printable = printable[: MAX_NAME_LENGTH - 1] + "…"
    return sys.intern(printable)


def with_unique_names(vms: Iterable[Vm]) -> tuple[Vm, ...]:
    """The VMs, oldest first, where one whose name is taken is called `NAME~PID`.

    Two processes have one name while a VM migrates within its host; the older keeps it.
    Should a tenant have called another VM just that, the pid is appended once more.
    """
    ordered = sorted(vms, key=lambda vm: vm.id)
    given = {vm.name for vm in ordered}
    taken: set[str] = set()
    result = []
    for vm in ordered:
        name = vm.name
        while name in taken or (name != vm.name and name in given):
            name = f"{name}~{vm.id.pid}"
        taken.add(name)
        result.append(vm if name == vm.name else replace(vm, name=name))
    return tuple(result)
