# SPDX-License-Identifier: Apache-2.0
"""What is served of a real VM by default: at most 150 series, and nothing rare."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.guest import E1000, BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import Exporter, Scrape
from tests.waiting import eventually

VM = "budgeted"
MOST = 150
DEVICES = (
    *("-blockdev", "null-co,node-name=disk0,size=1048576,read-zeroes=on"),
    *("-device", "virtio-blk-pci,id=disk,drive=disk0,disable-legacy=on"),
    *("-device", "virtio-net-pci,id=nic,disable-legacy=on"),
    *("-device", "virtio-balloon-pci,id=balloon,disable-legacy=on"),
    *("-device", "virtio-rng-pci,id=rng,disable-legacy=on"),
    *E1000,
)
OFTEN, SELDOM = 1009, 97
OPERATIONS = (
    "serial_write", "serial_read", "rtc_read", "pmtimer_read", "pit_write", "pit_read", "hpet_read",
    "ioapic_read", "e1000_read", "e1000_write", "msr_write", "tsc_deadline",
)  # fmt: skip


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    require_kvm()
    with Exporter(everything=False) as running:
        yield running


@pytest.fixture(scope="module")
def guest(exporter: Exporter) -> Iterator[BareMetalGuest]:
    with BareMetalGuest(VM, devices=DEVICES) as machine:
        machine.wait_ready()
        machine.run_text("virtio_init=1:0 virtio_init=1:1")
        eventually(
            lambda: exporter.scrape().values("kvm_vm_balloon_actual_bytes", vm=VM),
            "what QEMU says",
            60.0,
            every=0.5,
        )
        yield machine


def series(scrape: Scrape) -> Counter[str]:
    """Name → series of the VM."""
    return Counter(name for name, labels, _ in scrape.samples if labels.get("vm") == VM)


def msr_reads(scrape: Scrape) -> list[float]:
    found = scrape.values("kvm_vm_msr_accesses_total", vm=VM, msr="ucode_rev", direction="read")
    return [value for _, value in found]


def msr_accesses(scrape: Scrape) -> float:
    """All of them: what has a series, and what has none yet."""
    name = "kvm_vm_msr_accesses_total"
    return scrape.sum(name, vm=VM) + scrape.sum("kvm_vm_unserved_events", vm=VM, metric=name)


def test_what_is_rare_is_not_served(exporter: Exporter, guest: BareMetalGuest) -> None:
    """Until there is enough of it: then all of it is. It is counted in sum all along."""
    before = msr_accesses(exporter.scrape())
    guest.run(msr_read=SELDOM)
    assert msr_reads(exporter.scrape()) == []
    assert msr_accesses(exporter.scrape()) - before == SELDOM
    guest.run(msr_read=OFTEN - SELDOM)
    eventually(lambda: msr_reads(exporter.scrape()), "a frequent access")
    assert msr_reads(exporter.scrape()) == [OFTEN]
    assert msr_accesses(exporter.scrape()) - before == OFTEN


def test_a_vm_is_within_its_budget(exporter: Exporter, guest: BareMetalGuest) -> None:
    """Five devices, and a guest that does everything often."""

    def busy() -> bool:
        """Once more, until QEMU has told where the guest has put its devices."""
        guest.run(**dict.fromkeys(OPERATIONS, OFTEN))
        seen = exporter.scrape().values("kvm_vm_io_exits_total", vm=VM)
        drivers = {"isa-serial", "hpet", "kvm-pit", "kvm-ioapic", "e1000"}
        return drivers <= {labels["driver"] for labels, _ in seen}

    eventually(busy, "accesses to every device", 60.0)
    found = series(exporter.scrape())
    assert found["kvm_vm_virtio_feature"] == 0
    assert found.total() <= MOST, found
