# SPDX-License-Identifier: Apache-2.0
"""What the exporter counts is what the guest did: to the event, by direction and handler."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.guest import E1000, VIRTIO_BLK, VIRTIO_NET, BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import Exporter, Scrape
from tests.kvm.settling import Key, moved, settled

VM = "counted"


def io(access: str, direction: str, handler: str) -> Key:
    return "kvm_vm_io_exits_total", access, direction, handler


def msr(name: str, direction: str) -> Key:
    return "kvm_vm_msr_accesses_total", name, direction


def exit_to(reason: str) -> Key:
    return "kvm_vm_userspace_exits_total", reason


# operation → what one of them makes; each is done a prime number of times
EVENTS: dict[str, tuple[int, dict[Key, int]]] = {
    "serial_write": (97, {io("pio", "write", "userspace"): 1, exit_to("IO"): 1}),
    "serial_read": (89, {io("pio", "read", "userspace"): 1, exit_to("IO"): 1}),
    # KVM collects writes to the index port ("coalesced I/O") until the data port exits.
    "rtc_read": (
        83,
        {io("pio", "write", "kernel"): 1, io("pio", "read", "userspace"): 1, exit_to("IO"): 1},
    ),
    "rtc_write": (
        79,
        {io("pio", "write", "kernel"): 1, io("pio", "write", "userspace"): 1, exit_to("IO"): 1},
    ),
    "pmtimer_read": (73, {io("pio", "read", "userspace"): 1, exit_to("IO"): 1}),
    "pit_write": (71, {io("pio", "write", "kernel"): 1}),
    "pit_read": (67, {io("pio", "read", "kernel"): 1}),
    "pic_write": (61, {io("pio", "write", "kernel"): 1}),
    "pic_read": (59, {io("pio", "read", "kernel"): 1}),
    "hpet_read": (53, {io("mmio", "read", "userspace"): 1, exit_to("MMIO"): 1}),
    "hpet_write": (47, {io("mmio", "write", "userspace"): 1, exit_to("MMIO"): 1}),
    "ioapic_read": (43, {io("mmio", "read", "kernel"): 1}),
    "ioapic_write": (41, {io("mmio", "write", "kernel"): 1}),
    "e1000_read": (37, {io("mmio", "read", "userspace"): 1, exit_to("MMIO"): 1}),
    "e1000_write": (31, {io("mmio", "write", "userspace"): 1, exit_to("MMIO"): 1}),
    "msr_read": (29, {msr("ucode_rev", "read"): 1}),
    "msr_write": (23, {msr("ucode_rev", "write"): 1}),
    "tsc_deadline": (19, {msr("tsc_deadline", "write"): 1}),
    # Arms the timer, halts, and ends the interrupt at the local APIC.
    "timer": (17, {msr("tsc_deadline", "write"): 1, io("mmio", "write", "kernel"): 1}),
    "cpuid": (13, {}),
}

# A signal that QEMU sends to its own vCPU thread says nothing of the guest.
NOT_THE_GUESTS = {exit_to("restart")}


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    require_kvm()
    with Exporter() as running:
        yield running


@pytest.fixture(scope="module")
def guest(exporter: Exporter) -> Iterator[BareMetalGuest]:
    with BareMetalGuest(VM, devices=(*E1000, *VIRTIO_BLK, *VIRTIO_NET)) as machine:
        machine.wait_ready()
        settled(exporter, counts)  # what the firmware did
        yield machine


def counts(scrape: Scrape, vm: str = VM) -> Counter[Key]:
    result: Counter[Key] = Counter()
    for name, names in (
        ("kvm_vm_io_exits_total", ("access", "direction", "handler")),
        ("kvm_vm_msr_accesses_total", ("msr", "direction")),
        ("kvm_vm_userspace_exits_total", ("reason",)),
        ("kvm_vm_halt_polls_total", ("outcome",)),
    ):
        for labels, value in scrape.values(name, vm=vm):
            result[name, *(labels[label] for label in names)] += int(value)
    return result


def made(exporter: Exporter, work: Callable[[], object]) -> dict[Key, int]:
    """What the guest's work added."""
    seen = moved(exporter, counts, work)
    return {key: value for key, value in seen.items() if key not in NOT_THE_GUESTS}


@pytest.mark.parametrize("operation", EVENTS)
def test_each_kind_is_counted_exactly(
    exporter: Exporter, guest: BareMetalGuest, operation: str
) -> None:
    """N of one kind move its own counters by exactly N, and no other."""
    number, events = EVENTS[operation]
    seen = made(exporter, lambda: guest.run(**{operation: number}))
    halts = {key: seen.pop(key) for key in list(seen) if key[0] == "kvm_vm_halt_polls_total"}
    assert seen == {key: number * each for key, each in events.items()}
    if operation == "timer":
        assert sum(halts.values()) == number
    else:
        assert not halts


def test_a_mixture_is_counted_exactly(exporter: Exporter, guest: BareMetalGuest) -> None:
    """Kinds that follow one another closely do not blur into each other."""
    rounds = 11
    mixture = list(EVENTS)
    expected: Counter[Key] = Counter()
    for operation in mixture:
        for key, each in EVENTS[operation][1].items():
            expected[key] += each * rounds
    words = " ".join(f"{operation}=1" for operation in mixture)

    def work() -> None:
        for _ in range(rounds):
            guest.run_text(words)

    seen = made(exporter, work)
    halts = sum(seen.pop(key) for key in list(seen) if key[0] == "kvm_vm_halt_polls_total")
    assert seen == dict(expected)
    assert halts == rounds


def test_no_event_is_kept_from_a_probe(exporter: Exporter, guest: BareMetalGuest) -> None:
    """The kernel tells of each that is attached; where nothing interrupts one, none is."""
    guest.run(serial_write=97, timer=17)
    scrape = exporter.scrape()
    missed, attached = (
        {labels["tracepoint"]: value for labels, value in scrape.values(f"kvmexporter_bpf_{name}")}
        for name in ("missed_events_total", "attached")
    )
    assert missed == {event: 0 for event, value in attached.items() if value}
    assert "kvm_exit" in missed


def test_the_vm_is_described(exporter: Exporter, guest: BareMetalGuest) -> None:
    """Name, process and size are the VM's own."""
    scrape = exporter.scrape()
    [(labels, one)] = scrape.values("kvm_vm_info", vm=VM)
    assert one == 1
    assert labels["pid"] == str(guest.pid)
    assert labels["vmm"] == "qemu"
    assert labels["identified_by"] == "qemu"
    assert scrape.sum("kvm_vm_vcpus", vm=VM) == 1
    assert scrape.sum("kvm_vm_memory_max_bytes", vm=VM) == 32 << 20
    assert scrape.sum("kvm_vm_resident_memory_bytes", vm=VM) > 1 << 20
