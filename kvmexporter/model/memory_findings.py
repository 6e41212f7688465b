# SPDX-License-Identifier: Apache-2.0
"""What is wrong with how a host's memory is shared out, why it matters, and what mends it."""

from collections.abc import Iterable

from kvmexporter.model.findings import (
    Finding,
    Place,
    Remedy,
    Rule,
    Severity,
    qemu_and_libvirt,
)
from kvmexporter.model.memory import HostMemory, Ksm, ProcessMemory

# What the kernel puts aside of any large process says nothing.
SWAPPED_BYTES = 16 << 20
# KSM needs to see a page unchanged in two scans before it merges it.
SETTLED_SCANS = 3

HOST_MEMORY_OVERCOMMITTED = Rule(
    "host-memory-overcommitted",
    "The VMs may take more memory than the host has",
    (Severity.WARNING, Severity.INFO),
    "when they do, the host swaps guests out, or kills one of the processes that run them: a "
    "warning where not even swap would hold it all",
    (
        Remedy(Place.HOST, "move VMs elsewhere, or add swap"),
        *qemu_and_libvirt(
            "-m with less; or a balloon whose target is set by what each guest can spare",
            "<memory> with less; or virsh setmem DOMAIN SIZE --live",
        ),
    ),
)
VM_MEMORY_SWAPPED = Rule(
    "vm-memory-swapped",
    "The host has swapped out memory of a VM",
    (Severity.WARNING,),
    "the guest waits for the host's disk whenever it touches such a page, and cannot see why",
    (
        *qemu_and_libvirt(
            "-object memory-backend-memfd,…,prealloc=on with -overcommit mem-lock=on",
            "<memoryBacking><locked/></memoryBacking>",
        ),
        Remedy(Place.HOST, "have the guest give memory by its balloon before the host has to swap"),
    ),
)
HOST_KSM_NO_PROFIT = Rule(
    "host-ksm-no-profit",
    "KSM works and saves nothing",
    (Severity.INFO,),
    "its scans take processor time and its records take memory, and the guests' pages are not "
    "alike; balloons or free page reporting give back more",
    (Remedy(Place.HOST, "echo 2 > /sys/kernel/mm/ksm/run; systemctl disable ksmtuned"),),
)
RULES = (HOST_MEMORY_OVERCOMMITTED, VM_MEMORY_SWAPPED, HOST_KSM_NO_PROFIT)


def overcommitted(host: HostMemory, ksm: Ksm | None) -> Iterable[Finding]:
    """VMs that were promised more than there is.

    Args:
        host: what there is, and what was promised.
        ksm: what is merged, None if the kernel cannot.
    """
    if not host.total or host.promised <= host.total:
        return
    beyond_swap = host.promised > host.total + host.swap
    unknown = f" ({host.unknown} more do not tell)" if host.unknown else ""
    yield HOST_MEMORY_OVERCOMMITTED.finding(
        "memory",
        f"VMs can take {_gib(host.promised)}{unknown}; the host has {_gib(host.total)} and "
        f"{_gib(host.swap)} of swap; balloons hold {_gib(host.ballooned)} and KSM saves "
        f"{_gib(max(ksm.saved, 0) if ksm else 0)}",
        severity=Severity.WARNING if beyond_swap else Severity.INFO,
    )


def swapped(vm: str, process: ProcessMemory) -> Iterable[Finding]:
    """A VM of which the host has put away a part.

    Args:
        vm: its name.
        process: its process's memory.
    """
    away = process.kinds.get("swapped", 0)
    if away >= SWAPPED_BYTES:
        yield VM_MEMORY_SWAPPED.finding(
            "memory", f"{away / (1 << 20):.0f} MiB of the VM's process are swapped out", vm=vm
        )


def ksm_without_profit(ksm: Ksm) -> Iterable[Finding]:
    """KSM that has looked at everything and found nothing worth its records."""
    if ksm.run == 1 and ksm.full_scans >= SETTLED_SCANS and ksm.saved <= 0:
        yield HOST_KSM_NO_PROFIT.finding(
            "ksm", f"after {ksm.full_scans} scans it saves {ksm.saved} bytes, its records included"
        )


def _gib(amount: int) -> str:
    return f"{amount / (1 << 30):.1f} GiB"
