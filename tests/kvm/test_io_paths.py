# SPDX-License-Identifier: Apache-2.0
"""Every access is counted on the device it was for, with its path and who handled it."""

import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from tests.guest import E1000, BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import Exporter, Scrape
from tests.kvm.settling import Key, moved, settled

VM = "pathed"

# Doorbells of one device pass through the kernel, those of the other to QEMU.
DEVICES = (
    *("-blockdev", "null-co,node-name=disk0,size=1048576,read-zeroes=on"),
    *("-device", "virtio-blk-pci,id=fast,drive=disk0,disable-legacy=on,ioeventfd=on"),
    *("-device", "virtio-net-pci,id=slow,disable-legacy=on,ioeventfd=off"),
    *E1000,
)
FAST, SLOW = 0, 1

# All but those that would end or stop the VM (tests/guest/README.md).
ALL_PORTS = 65464
NOBODYS_PAGES = 1_000_003
FRESH_SECONDS = 20.0


def on(device: str, driver: str, path: str, *how: str) -> Key:
    return (device, driver, path, *how)


# operation → how often, and where one of them is counted
PATHS: dict[str, tuple[int | tuple[int, ...], dict[Key, int]]] = {
    "serial_write": (
        97,
        {on("isa-serial", "isa-serial", "emulated", "pio", "write", "userspace"): 1},
    ),
    "serial_read": (
        89,
        {on("isa-serial", "isa-serial", "emulated", "pio", "read", "userspace"): 1},
    ),
    "rtc_read": (
        83,
        {
            on("mc146818rtc", "mc146818rtc", "emulated", "pio", "write", "kernel"): 1,
            on("mc146818rtc", "mc146818rtc", "emulated", "pio", "read", "userspace"): 1,
        },
    ),
    "pmtimer_read": (73, {on("PIIX4_PM", "PIIX4_PM", "platform", "pio", "read", "userspace"): 1}),
    "pit_write": (71, {on("kvm-pit", "kvm-pit", "irqchip", "pio", "write", "kernel"): 1}),
    "pit_read": (67, {on("kvm-pit", "kvm-pit", "irqchip", "pio", "read", "kernel"): 1}),
    "pic_read": (61, {on("kvm-i8259", "kvm-i8259", "irqchip", "pio", "read", "kernel"): 1}),
    "ioapic_read": (59, {on("kvm-ioapic", "kvm-ioapic", "irqchip", "mmio", "read", "kernel"): 1}),
    "ioapic_write": (53, {on("kvm-ioapic", "kvm-ioapic", "irqchip", "mmio", "write", "kernel"): 1}),
    "hpet_read": (47, {on("hpet", "hpet", "emulated", "mmio", "read", "userspace"): 1}),
    "hpet_write": (43, {on("hpet", "hpet", "emulated", "mmio", "write", "userspace"): 1}),
    "e1000_read": (
        41,
        {on("e1000@00:04.0", "e1000", "emulated", "mmio", "read", "userspace"): 1},
    ),
    "e1000_write": (
        37,
        {on("e1000@00:04.0", "e1000", "emulated", "mmio", "write", "userspace"): 1},
    ),
}


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    require_kvm()
    with Exporter() as running:
        yield running


@pytest.fixture(scope="module")
def guest(exporter: Exporter) -> Iterator[BareMetalGuest]:
    with BareMetalGuest(VM, devices=DEVICES) as machine:
        machine.wait_ready()
        machine.run_text(f"virtio_init=1:{FAST} virtio_init=1:{SLOW}")
        await_fresh(exporter, machine)
        yield machine


def await_fresh(exporter: Exporter, guest: BareMetalGuest) -> None:
    """Wait until an access to a device that the guest has placed is counted on it again."""
    deadline = time.monotonic() + FRESH_SECONDS
    while time.monotonic() < deadline:
        before = exporter.scrape().sum("kvm_vm_io_exits_total", vm=guest.name, driver="e1000")
        guest.run(e1000_read=1)
        after = exporter.scrape().sum("kvm_vm_io_exits_total", vm=guest.name, driver="e1000")
        if after == before + 1:
            settled(exporter, counts)
            return
        time.sleep(0.2)
    raise AssertionError(f"the devices of {guest.name} are not known:\n{exporter.scrape().text}")


def counts(scrape: Scrape) -> Counter[Key]:
    labels = ("device", "driver", "path", "access", "direction", "handler")
    result: Counter[Key] = Counter()
    for own, value in scrape.values("kvm_vm_io_exits_total", vm=VM):
        result[tuple(own[label] for label in labels)] = int(value)
    for own, value in scrape.values("kvm_vm_virtqueue_kicks_total", vm=VM):
        result["kick", own["device"], own["queue"]] = int(value)
    return result


@pytest.mark.parametrize("operation", PATHS)
def test_each_device_gets_its_own(
    exporter: Exporter, guest: BareMetalGuest, operation: str
) -> None:
    """N accesses to a device arrive as exactly N on that device, and nowhere else."""
    number, places = PATHS[operation]
    assert isinstance(number, int)
    seen = moved(exporter, counts, lambda: guest.run(**{operation: number}))
    assert seen == {place: number * each for place, each in places.items()}


@pytest.mark.parametrize(
    ("index", "device", "driver", "handler", "queues"),
    [
        (FAST, "fast", "virtio-blk-pci", "kernel", (0,)),
        (SLOW, "slow", "virtio-net-pci", "userspace", (0, 1)),
    ],
)
def test_doorbells(
    exporter: Exporter,
    guest: BareMetalGuest,
    index: int,
    device: str,
    driver: str,
    handler: str,
    queues: tuple[int, ...],
) -> None:
    """A kick is counted on its device and queue; ioeventfd decides who handles it."""
    for queue, number in zip(queues, (101, 103), strict=False):
        seen = moved(
            exporter,
            counts,
            lambda: guest.run(virtio_notify=(number, queue, index)),  # noqa: B023 - at once
        )
        accesses = {
            key[3:]: value for key, value in seen.items() if key[:3] == (device, driver, "virtio")
        }
        fast = {("fast_mmio", "write", "kernel"): number}
        plain = {("mmio", "write", handler): number}
        assert accesses == plain or (handler == "kernel" and accesses == fast)
        assert seen["kick", device, str(queue)] == number
        assert len(seen) == 2


def test_a_hostile_guest_is_bounded(exporter: Exporter, guest: BareMetalGuest) -> None:
    """Every port and a million pages of nobody's: bounds hold, and devices stay exact."""
    server = psutil.Process(exporter.pid)
    before, memory = exporter.scrape(), server.memory_info().rss
    guest.run_text(f"port_sweep={ALL_PORTS} mmio_random={NOBODYS_PAGES}", timeout=600)
    await_fresh(exporter, guest)
    seen = moved(exporter, counts, lambda: guest.run(serial_read=1009))
    assert seen == {on("isa-serial", "isa-serial", "emulated", "pio", "read", "userspace"): 1009}
    after = exporter.scrape()
    unknown = ("unknown", "unknown", "unknown", "mmio", "read", "userspace")
    assert counts(after)[unknown] - counts(before)[unknown] == NOBODYS_PAGES
    devices = {labels["device"] for labels, _ in after.values("kvm_vm_io_exits_total", vm=VM)}
    assert len(devices) <= 32
    bounded = after.values("kvmexporter_bpf_map_entries")
    assert {labels["map"] for labels, _ in bounded} >= {"vcpus", "regions"}
    for labels, entries in bounded:
        assert entries <= after.sum("kvmexporter_bpf_map_max_entries", map=labels["map"])
    assert server.memory_info().rss - memory < 4 << 20
