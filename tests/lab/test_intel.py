# SPDX-License-Identifier: Apache-2.0
"""VMX: exits by reason, EPT and fast MMIO, counted to the event."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from kvmexporter.tables.exit_reasons import Isa
from tests.guest import BareMetalGuest, Result
from tests.lab.bare_metal import LAST_PRIORITY, booted
from tests.lab.exporter import Exporter
from tests.lab.failed_entry import FAILED_ENTRY
from tests.lab.window import Window, observe
from tests.lab.witness import EventCount

pytestmark = pytest.mark.on_cpu("intel")

VM = "vmx"
FAST, SLOW = 0, 1
DEVICES = (
    *("-blockdev", "null-co,node-name=disk0,size=1048576,read-zeroes=on"),
    *("-device", "virtio-blk-pci,id=fast,drive=disk0,disable-legacy=on,ioeventfd=on"),
    *("-device", "virtio-net-pci,id=slow,disable-legacy=on,ioeventfd=off"),
)

# operation → how often, which exits each makes, and of which class the last of them is
KNOWN: dict[str, tuple[int, dict[str, int], str]] = {
    "serial_read": (97, {"IO_INSTRUCTION": 1}, "io"),
    "pit_read": (89, {"IO_INSTRUCTION": 1}, "io"),
    "hpet_read": (83, {"EPT_MISCONFIG": 1}, "mmio"),
    "ioapic_write": (79, {"EPT_MISCONFIG": 1}, "mmio"),
    "msr_read": (73, {"MSR_READ": 1}, "msr"),
    "msr_write": (71, {"MSR_WRITE": 1}, "msr"),
    "tsc_deadline": (67, {"MSR_WRITE": 1}, "msr"),
    "cpuid": (61, {"CPUID": 1}, "cpuid"),
    "vmcall": (59, {"VMCALL": 1}, "hypercall"),
    "hlt": (43, {"IO_INSTRUCTION": 1, "HLT": 1}, "hlt"),
}
IO = {
    "serial_read": ("isa-serial", "pio", "read", "userspace"),
    "pit_read": ("kvm-pit", "pio", "read", "kernel"),
    "hpet_read": ("hpet", "mmio", "read", "userspace"),
    "ioapic_write": ("kvm-ioapic", "mmio", "write", "kernel"),
    "hlt": ("kvm-pit", "pio", "write", "kernel"),
}

# Not the guest's doing: the host's interrupts, and the timer that stands in for the guest's.
HOSTS_OWN = {"EXTERNAL_INTERRUPT", "EXCEPTION_NMI", "INTERRUPT_WINDOW", "PREEMPTION_TIMER"}


@pytest.fixture(scope="module")
def guest(session_exporter: Exporter) -> Iterator[BareMetalGuest]:
    assert session_exporter.pid
    with booted(VM, DEVICES) as machine:
        for tid in machine.vcpu_tids:
            os.setpriority(os.PRIO_PROCESS, tid, LAST_PRIORITY)
        machine.run_text(f"virtio_init=1:{FAST} virtio_init=1:{SLOW}")
        machine.run(**dict.fromkeys(KNOWN, 1))  # touch every page and device once
        session_exporter.wait_for("kvm_vm_device_info", vm=VM, device="slow", timeout=120)
        yield machine


def _exits(window: Window) -> Counter[str]:
    moved = window.moved("kvm_vm_exits_total", "reason", vm=VM)
    return Counter({key[0]: count for key, count in moved.items()})


@pytest.mark.parametrize("operation", KNOWN)
def test_known_numbers(session_exporter: Exporter, guest: BareMetalGuest, operation: str) -> None:
    """N operations are N exits of their reason and class; all reasons are the kernel's counts."""
    number, each, exit_class = KNOWN[operation]
    done: list[Result] = []
    seen = observe(session_exporter, guest, lambda: done.append(guest.run(**{operation: number})))
    exits = _exits(seen)
    assert exits == seen.by_reason()
    assert sum(exits.values()) == seen.statistics["exits"]
    own = Counter({reason: count for reason, count in exits.items() if reason not in HOSTS_OWN})
    told = Counter({reason: number * count for reason, count in each.items()})
    told["HLT"] += done[0].idle_wakes  # something else ended a HLT, and the guest made another
    assert own == told
    classes = seen.moved("kvm_vm_exits_total", "class", vm=VM)
    assert classes[exit_class,] == told[list(each)[-1]]
    assert seen.moved("kvm_vm_exit_handling_seconds_count", "class", vm=VM) == classes
    if operation in IO:
        labels = ("device", "access", "direction", "handler")
        assert seen.moved("kvm_vm_io_exits_total", *labels, vm=VM) == {IO[operation]: number}


def test_first_touch_of_memory_is_a_violation(session_exporter: Exporter) -> None:
    """Memory that a guest has not used yet is missing in its page table: EPT_VIOLATION."""
    with (
        EventCount("kvm_exit", "common_pid", "exit_reason") as exits,
        booted("touched") as guest,
    ):
        guest.pause()
        scrape = session_exporter.scrape()
        tids = guest.vcpu_tids
        kernels = {
            code & 0xFFFF: count for (tid, code), count in exits.read().items() if tid in tids
        }
    seen = scrape.total("kvm_vm_exits_total", vm="touched", reason="EPT_VIOLATION")
    assert seen == kernels[48] > 0
    assert scrape.total("kvm_vm_exits_total", vm="touched") == sum(kernels.values())


@pytest.mark.parametrize(
    ("index", "device", "access", "handler", "number"),
    [(FAST, "fast", "fast_mmio", "kernel", 101), (SLOW, "slow", "mmio", "userspace", 103)],
)
def test_kicks(
    session_exporter: Exporter,
    guest: BareMetalGuest,
    index: int,
    device: str,
    access: str,
    handler: str,
    number: int,
) -> None:
    """With ioeventfd a kick is a kvm_fast_mmio; without, an MMIO write that QEMU handles.

    The very first of a page, which KVM has to learn is no memory, is a violation and plain MMIO.
    """
    labels = ("device", "access", "direction", "handler")
    for times, how, reason in ((1, "mmio", "EPT_VIOLATION"), (number, access, "EPT_MISCONFIG")):
        work = lambda times=times: guest.run(virtio_notify=(times, 0, index))  # noqa: E731
        seen = observe(session_exporter, guest, work)
        io = seen.moved("kvm_vm_io_exits_total", *labels, vm=VM)
        assert io == {(device, how, "write", handler): times}
        kicks = seen.moved("kvm_vm_virtqueue_kicks_total", "device", "queue", vm=VM)
        assert kicks == {(device, "0"): times}
        exits = _exits(seen)
        assert exits == seen.by_reason()
        assert exits[reason] == times
        assert {"EPT_VIOLATION", "EPT_MISCONFIG"} & exits.keys() == {reason}


def test_flags_are_no_part_of_a_reason(session_exporter: Exporter) -> None:
    """An entry that fails is its reason's exit; the flag in the code, which says so, is masked."""
    number = 7
    program = [sys.executable, "-m", "tests.lab.failed_entry", str(number)]
    with (
        EventCount("kvm_exit", "common_pid", "isa", "exit_reason") as exits,
        subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as vm,
    ):
        assert vm.stdout is not None
        assert int(vm.stdout.readline()) == number
        name = f"pid-{vm.pid}"
        scrape = session_exporter.wait_for("kvm_vm_exits_total", vm=name)
    kernels = {key[1:]: count for key, count in exits.read().items() if key[0] == vm.pid}
    assert kernels == {(Isa.VMX, FAILED_ENTRY): number}
    assert scrape.by("reason", "kvm_vm_exits_total", vm=name) == {"INVALID_STATE": number}
