# SPDX-License-Identifier: Apache-2.0
"""The exporter's counts equal the kernel's own, on real SVM exits, to the event."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest import BareMetalGuest, Result
from tests.lab.bare_metal import booted
from tests.lab.devices import Disk
from tests.lab.exporter import Exporter
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.window import Window, observe
from tests.lab.witness import EventCount

WORK = (
    "dd if=/dev/vda of=/dev/null bs=4096 count=211 iflag=direct 2>/dev/null;"
    "dd if=/dev/sda of=/dev/null bs=4096 count=23 iflag=direct 2>/dev/null;"
    "cat /proc/interrupts >/dev/null; sleep 1"
)


def _linux(host: Host) -> LinuxGuest:
    return host.start(LinuxGuest("truth", vcpus=2, disks=(Disk("blk"), Disk("ide", bus="ide"))))


@pytest.fixture(scope="module")
def window(session_exporter: Exporter, module_host: Host) -> Window:
    """One window of mixed work in a Linux guest that booted after the exporter had started."""
    assert session_exporter.pid
    linux = module_host.keep(_linux)
    return observe(session_exporter, linux, lambda: linux.run(WORK))


@pytest.fixture(scope="module")
def bare_metal(session_exporter: Exporter) -> Iterator[BareMetalGuest]:
    assert session_exporter.pid
    with booted("known") as guest:
        guest.run(**dict.fromkeys(KNOWN, 1))  # touch every page and device once
        yield guest


def test_kernel_of_the_lab() -> None:
    """The host runs the kernel it was asked for, with KVM's tracepoints and without lockdown."""
    assert os.uname().release.startswith(os.environ["KVMEXPORTER_LAB_KERNEL"] + ".")
    with EventCount("kvm_exit", "exit_reason") as exits:
        assert exits.read() == {}
    assert Path("/sys/kernel/debug/kvm/exits").read_text().strip().isdigit()


def test_exits_by_reason(window: Window) -> None:
    """Exits by reason are what the kernel's own histogram of kvm_exit counts, each one."""
    exits = window.moved("kvm_vm_exits_total", "reason", vm="truth")
    ours = {key[0]: n for key, n in exits.items()}
    assert ours == dict(window.by_reason())
    assert sum(ours.values()) > 500
    assert {"io", "npf", "hlt", "msr"} <= ours.keys()


def test_total_and_classes(window: Window) -> None:
    """The sum over reasons is KVM's own total; io, mmio and halt exits agree with its counters."""
    exits = window.moved("kvm_vm_exits_total", "reason", vm="truth")
    assert sum(exits.values()) == window.statistics["exits"]
    assert exits["io",] == window.statistics["io_exits"]
    assert exits["hlt",] == window.statistics["halt_exits"]
    mmio = window.moved(
        "kvm_vm_io_exits_total", "access", vm="truth", access="mmio", handler="userspace"
    )
    assert mmio["mmio",] == window.statistics["mmio_exits"]


def test_handling_time_has_one_observation_a_pair(window: Window) -> None:
    """As many handling times as exits, each ended by an entry or the pause."""
    handled = window.moved("kvm_vm_exit_handling_seconds_count", "class", vm="truth")
    exits = window.moved("kvm_vm_exits_total", "class", vm="truth")
    assert handled == exits
    assert window.entries == sum(exits.values())


def test_userspace_exits_agree_with_accesses(window: Window) -> None:
    """Every access that userspace handled is one exit to it, and there are no others."""
    userspace = window.moved("kvm_vm_userspace_exits_total", "reason", vm="truth")
    accesses = window.moved("kvm_vm_io_exits_total", "access", vm="truth", handler="userspace")
    assert userspace["IO",] == accesses["pio",]
    assert userspace["MMIO",] == accesses["mmio",]


# operation → how often, and which exit each makes
KNOWN: dict[str, tuple[int, dict[str, int], str]] = {
    "serial_read": (97, {"io": 1}, "io"),
    "pit_read": (89, {"io": 1}, "io"),
    "hpet_read": (83, {"npf": 1}, "page_fault"),
    "ioapic_write": (79, {"npf": 1}, "page_fault"),
    "msr_read": (73, {"msr": 1}, "msr"),
    "msr_write": (71, {"msr": 1}, "msr"),
    "tsc_deadline": (67, {"msr": 1}, "msr"),
    "cpuid": (61, {"cpuid": 1}, "cpuid"),
    "vmcall": (59, {"hypercall": 1}, "hypercall"),
    "timer": (53, {"msr": 1, "hlt": 1, "npf": 1}, "hlt"),
}

# The host's own interrupts end guest mode, too, and an interrupt window follows an injection.
HOSTS_OWN = {"interrupt", "vintr", "nmi"}


@pytest.mark.parametrize("operation", KNOWN)
def test_the_bare_metal_guests_known_numbers(
    session_exporter: Exporter, bare_metal: BareMetalGuest, operation: str
) -> None:
    """N operations are exactly N exits of their reason, in their class, and no other."""
    number, each, exit_class = KNOWN[operation]
    done: list[Result] = []
    seen = observe(
        session_exporter, bare_metal, lambda: done.append(bare_metal.run(**{operation: number}))
    )
    exits = seen.moved("kvm_vm_exits_total", "reason", vm="known")
    guests_own = {key[0]: n for key, n in exits.items() if key[0] not in HOSTS_OWN}
    expected = {reason: number * n for reason, n in each.items()}
    woken_early = done[0].idle_wakes  # it halted again, and counted that
    if woken_early:
        expected["hlt"] += woken_early
    assert guests_own == expected
    assert {key[0]: n for key, n in exits.items()} == dict(seen.by_reason())
    classes = seen.moved("kvm_vm_exits_total", "class", vm="known")
    assert classes[exit_class,] == number + woken_early
    if operation == "vmcall":
        calls = seen.moved("kvm_vm_hypercalls_total", "hypercall", vm="known")
        assert calls == Counter({("vapic_poll_irq",): number})


def test_exits_by_vcpu(window: Window) -> None:
    """With --collector.exits.per-vcpu, each vCPU's exits are those of its own thread."""
    ours = window.moved("kvm_vm_vcpu_exits_total", "vcpu", "reason", vm="truth")
    kernels = {
        (str(vcpu), reason): count
        for vcpu, reasons in enumerate(window.exits.values())
        for reason, count in reasons.items()
    }
    assert ours == Counter(kernels)
    assert len(window.exits) == 2
