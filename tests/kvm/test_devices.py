# SPDX-License-Identifier: Apache-2.0
"""A real VM's devices, KVM's own counters of it, and what the scheduler gives its vCPU."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guest import E1000, BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import Exporter, Scrape

VM = "equipped"
DEVICES = (
    *("-blockdev", "null-co,node-name=disk0,size=1048576,read-zeroes=on"),
    *("-device", "virtio-blk-pci,id=disk,drive=disk0,disable-legacy=on"),
    *("-device", "virtio-net-pci,id=nic,disable-legacy=on"),
    *E1000,
)
DISK, NIC = 0, 1
QUEUE_ENTRIES = 8  # what the guest program gives each queue (tests/guest/src/virtio.c)

FRESH_SECONDS = 20.0
BUSY_SECONDS = 1.0
# The scheduler's account of a thread that runs is brought up to date by its tick.
TICK_SECONDS = 0.05
# Of what two that share a CPU should get; others want this host's CPUs, too.
SHARE = 0.15
HALTS = 101


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    require_kvm()
    with Exporter() as running:
        yield running


@pytest.fixture(scope="module")
def guest(exporter: Exporter) -> Iterator[BareMetalGuest]:
    with BareMetalGuest(VM, devices=DEVICES) as machine:
        machine.wait_ready()
        until(exporter, lambda scrape: bool(scrape.values("kvm_vm_device_info", vm=VM)))
        yield machine


def until(exporter: Exporter, condition: Callable[[Scrape], bool]) -> Scrape:
    """The first scrape that is so."""
    deadline = time.monotonic() + FRESH_SECONDS
    while not condition(scrape := exporter.scrape()):
        assert time.monotonic() < deadline, scrape.text
        time.sleep(0.2)
    return scrape


def queue_sizes(scrape: Scrape) -> dict[tuple[str, str], float]:
    """Device, queue → entries."""
    return {
        (labels["device"], labels["queue"]): value
        for labels, value in scrape.values("kvm_vm_virtqueue_size", vm=VM)
    }


def test_devices(exporter: Exporter, guest: BareMetalGuest) -> None:
    """Each once, under its id or its address, with its driver and path."""
    found = until(
        exporter, lambda scrape: len(scrape.values("kvm_vm_device_info", vm=VM, path="virtio")) == 2
    ).values("kvm_vm_device_info", vm=guest.name)
    names = [labels["device"] for labels, _ in found]
    assert len(set(names)) == len(names)
    assert {value for _, value in found} == {1}
    known = {labels["device"]: (labels["driver"], labels["path"]) for labels, _ in found}
    assert known["disk"] == ("virtio-blk-pci", "virtio")
    assert known["nic"] == ("virtio-net-pci", "virtio")
    assert known["e1000@00:04.0"] == ("e1000", "emulated")
    assert known["isa-serial"] == ("isa-serial", "emulated")
    assert not {"kvm-ioapic", "kvm-pit", "PIIX4_PM", "fw_cfg_io"} & known.keys()


def test_the_release_of_qemu(exporter: Exporter, guest: BareMetalGuest) -> None:
    """As the program itself says."""
    found = until(
        exporter, lambda scrape: bool(scrape.values("kvm_vm_info", vm=VM)[0][0]["version"])
    ).values("kvm_vm_info", vm=guest.name)
    program = Path(f"/proc/{found[0][0]['pid']}/exe").readlink()
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.split()[3] == found[0][0]["version"]


def test_what_the_guest_sets_up(exporter: Exporter, guest: BareMetalGuest) -> None:
    """Features and queues appear with the driver that wants them, and go with it."""
    guest.run_text(f"virtio_reset=1:{DISK} virtio_reset=1:{NIC}")
    until(exporter, lambda scrape: not queue_sizes(scrape))
    guest.run(virtio_init=(1, NIC))
    of_nic = {("nic", str(queue)): QUEUE_ENTRIES for queue in range(3)}
    scrape = until(exporter, lambda scrape: queue_sizes(scrape) == of_nic)
    features = [labels for labels, _ in scrape.values("kvm_vm_virtio_feature", vm=VM)]
    assert features == [{"vm": VM, "device": "nic", "feature": "F_VERSION_1"}]
    guest.run(virtio_init=(1, DISK))
    until(exporter, lambda scrape: queue_sizes(scrape) == {("disk", "0"): QUEUE_ENTRIES, **of_nic})


def scheduled(exporter: Exporter) -> tuple[float, float]:
    """CPU time and run delay of the VM's vCPUs, seconds."""
    scrape = exporter.scrape()
    cpu, delay = (
        scrape.values(f"kvm_vm_{name}_seconds_total", vm=VM) for name in ("vcpu_cpu", "run_delay")
    )
    assert len(cpu) == len(delay) == 1, scrape.text
    return cpu[0][1], delay[0][1]


@contextmanager
def competitor(cpu: int) -> Iterator[None]:
    """A process that wants all of one CPU."""
    code = f"import os; os.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_vcpu_that_shares_its_cpu(exporter: Exporter, guest: BareMetalGuest) -> None:
    """It runs for a part of the time and waits for a part: never more than there was."""
    (tid,) = guest.vcpu_tids
    cpu = max(os.sched_getaffinity(tid))
    os.sched_setaffinity(tid, {cpu})
    try:
        with competitor(cpu):
            begin, before = time.monotonic(), scheduled(exporter)
            seen = [before]
            while time.monotonic() - begin < BUSY_SECONDS:
                time.sleep(BUSY_SECONDS / 10)
                seen.append(scheduled(exporter))
            passed = time.monotonic() - begin
    finally:
        os.sched_setaffinity(tid, os.sched_getaffinity(0))
    assert [one[0] for one in seen] == sorted(one[0] for one in seen)
    assert [one[1] for one in seen] == sorted(one[1] for one in seen)
    ran, waited = seen[-1][0] - before[0], seen[-1][1] - before[1]
    assert ran >= SHARE * passed / 2
    assert waited >= SHARE * passed
    assert ran + waited <= passed + TICK_SECONDS


def test_a_paused_vcpu(exporter: Exporter, guest: BareMetalGuest) -> None:
    """It neither runs nor waits, and what it had stays."""
    guest.pause()
    try:
        time.sleep(2 * TICK_SECONDS)
        before = scheduled(exporter)
        time.sleep(BUSY_SECONDS / 2)
        after = scheduled(exporter)
    finally:
        guest.resume()
    assert before[0] > 0
    assert after == pytest.approx(before, abs=TICK_SECONDS)
    assert after >= before


def test_threads_are_found_by_name_without_bpf(guest: BareMetalGuest) -> None:
    """The VMM has named them; the sums are the same threads' then."""
    (tid,) = guest.vcpu_tids
    with Exporter("--no-bpf") as other:
        begin = time.monotonic()
        shown, _ = scheduled(other)
        text = f"/proc/{guest.pid}/task/{tid}/schedstat"
        with open(text) as file:  # noqa: PTH123 - procfs
            expected = int(file.read().split()[0]) / 1e9
        assert 0 <= expected - shown <= time.monotonic() - begin + TICK_SECONDS


def kvm_stats() -> tuple[dict[str, float], float]:
    """KVM's own counters, and for how long it polled in vain, as a new exporter sees them.

    It asks the VMM at once.
    """
    with Exporter("--no-bpf") as new:
        scrape = until(new, lambda scrape: bool(scrape.values("kvm_vm_kvm_stat_total", vm=VM)))
    found = scrape.values("kvm_vm_kvm_stat_total", vm=VM)
    assert all(value > 0 for _, value in found)
    counted = {labels["stat"]: value for labels, value in found}
    ((_, polled),) = scrape.values("kvm_vm_halt_poll_fail_seconds_total", vm=VM)
    return counted, polled


def test_kvm_s_own_counters(guest: BareMetalGuest) -> None:
    """They are there whether the kernel is locked down or not; halts are counted exactly."""
    before, polled_before = kvm_stats()
    begin = time.monotonic()
    result = guest.run(timer=(HALTS, 100))
    passed = time.monotonic() - begin
    after, polled_after = kvm_stats()
    assert after["exits"] >= before["exits"]
    assert after["halt_exits"] - before.get("halt_exits", 0) == HALTS + result.idle_wakes
    assert all(after[name] >= value for name, value in before.items())
    polled = polled_after - polled_before
    assert 0 <= polled <= passed
    assert (polled > 0) == (failed_polls(after) > failed_polls(before))


def failed_polls(stats: dict[str, float]) -> float:
    """Polls for a halted vCPU's next event that ended without one."""
    return stats.get("halt_attempted_poll", 0) - stats.get("halt_successful_poll", 0)
