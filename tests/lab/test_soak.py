# SPDX-License-Identifier: Apache-2.0
"""`make soak MINUTES=30`: scraped each second while VMs come and go, it neither grows nor loses.

What was seen after each VM is in `soak.csv` of the lab's results. A shorter one is in tests/kvm.
"""

import csv
import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

import pytest

from kvmexporter.tables.exit_reasons import Isa, exit_reason
from tests.guest import VIRTIO_BLK, VIRTIO_NET, BareMetalGuest
from tests.guest import GuestError as LostMachineError
from tests.lab.bare_metal import booted
from tests.lab.devices import Disk, UserNic
from tests.lab.exporter import Exporter, Scrape
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.shell import GuestError
from tests.lab.witness import EventCount
from tests.upkeep import Scraper, Upkeep, open_files
from tests.waiting import eventually

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("KVMEXPORTER_LAB_SOAK_SECONDS") or 0)
RESULTS = Path(os.environ.get("KVMEXPORTER_LAB_RESULTS", "."))
STEADY = "steady"
WORK = {"serial_read": 1009, "pit_write": 503, "hpet_read": 251}
LINUX_EVERY = 6
"""One VM in so many is a Linux guest with devices, whose monitor has much to tell."""
WARM_UP = 6
"""VMs until everything that is taken once, for good, has been taken."""
GROWTH_KIB = 1024
POOL_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""What waits for the opener child is made when it is needed, and stays (asyncio.to_thread)."""
LOST_OF = 4
"""At most one VM in so many may the emulator lose (tests/lab/guests.py)."""


@dataclass(slots=True)
class Lives:
    """What was seen after each VM that came and went."""

    begun: float = field(default_factory=time.monotonic)
    upkeep: list[Upkeep] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    exits: int = 0

    def save(self, target: Path) -> None:
        """As lines of numbers, the last one as it was at the end."""
        with target.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow([one.name for one in fields(Upkeep)])
            out.writerows(astuple(one) for one in self.upkeep)


def witness() -> EventCount:
    return EventCount("kvm_exit", "common_pid", "exit_reason")


def by_reason(exits: EventCount, tids: Sequence[int]) -> Counter[str]:
    """What the kernel counted of these threads."""
    result: Counter[str] = Counter()
    for (tid, code), count in exits.read().items():
        if tid in tids:
            result[exit_reason(Isa.SVM, code)] += count
    return result


def served(exporter: Exporter, vm: str) -> Counter[str]:
    """What the exporter counted of this VM."""
    reasons = exporter.scrape().by("reason", "kvm_vm_exits_total", vm=vm)
    return Counter({reason: int(count) for reason, count in reasons.items() if count})


def accesses(scrape: Scrape) -> dict[str, float]:
    return scrape.by("access", "kvm_vm_io_exits_total", vm=STEADY)


def bare_metal(exporter: Exporter, name: str) -> int:
    """One that boots, works, and is killed; how many exits it made, all of them counted."""
    with witness() as exits, booted(name, [*VIRTIO_BLK, *VIRTIO_NET]) as guest:
        guest.run(**WORK)
        guest.pause()
        kernel = by_reason(exits, guest.vcpu_tids)
        assert served(exporter, name) == kernel
        guest.kill()
    return kernel.total()


def linux(exporter: Exporter, host: Host, name: str) -> int:
    """One with devices, that boots, works, and is told to quit."""
    guest = LinuxGuest(name, disks=(Disk("disk0"),), nics=(UserNic("net0"),), balloon=True)
    with witness() as exits:
        host.start(guest)
        guest.run("dd if=/dev/vda of=/dev/null bs=4096 count=1009 iflag=direct")
        guest.pause()
        kernel = by_reason(exits, guest.vcpu_tids)
        assert served(exporter, name) == kernel
        guest.stop()
    return kernel.total()


def come_and_go(exporter: Exporter, host: Host, steady: BareMetalGuest, lives: Lives) -> int:
    """VMs, one after the other, for as long as was told; how many."""
    number = 0
    while time.monotonic() - lives.begun < SECONDS or number <= WARM_UP:
        name = f"passing-{number}"
        steady.resume()
        steady.run(**WORK)
        steady.pause()  # it would take a processor for itself
        try:
            if number % LINUX_EVERY == LINUX_EVERY - 1:
                lives.exits += linux(exporter, host, name)
            else:
                lives.exits += bare_metal(exporter, name)
        except (GuestError, LostMachineError) as err:
            lives.lost.append(f"{name}: {err}")
        number += 1
        assert f'"{name}"' not in exporter.scrape().text
        lives.upkeep.append(Upkeep.of(exporter.pid))
    return number


def test_nothing_grows_and_nothing_is_lost(host: Host) -> None:
    """No memory, descriptor, thread or map entry stays, each event is counted, the log is quiet."""
    exporter = Exporter("--user", "nobody", port=19185).start()
    lives = Lives()
    try:
        with witness() as exits, booted(STEADY) as steady:
            steady.pause()
            before = accesses(exporter.scrape())
            with Scraper(lambda: exporter.get("/metrics"), STEADY) as scraper:
                number = come_and_go(exporter, host, steady, lives)
            assert served(exporter, STEADY) == by_reason(exits, steady.vcpu_tids)
            after = accesses(exporter.scrape())
        tell(lives, scraper)
        pio, mmio = WORK["serial_read"] + WORK["pit_write"], WORK["hpet_read"]
        assert after["pio"] - before["pio"] == number * pio
        assert after["mmio"] - before.get("mmio", 0) == number * mmio
        assert scraper.troubles == []
        assert statistics.median(scraper.seconds) < 1
        assert len(lives.lost) * LOST_OF <= number, lives.lost
        nothing_is_left(exporter, lives)
        assert unexpected(exporter.log()) == []
        assert exporter.stop() == 0
    finally:
        exporter.close()
        lives.save(RESULTS / "soak.csv")


def nothing_is_left(exporter: Exporter, lives: Lives) -> None:
    # A VM that has ended is looked for every few seconds; a clock that is nobody's stays for two
    # minutes.
    eventually(
        lambda: sum(entries(exporter).values()) == 0,
        lambda: entries(exporter),
        seconds=150,
        every=0.5,
    )
    dropped = exporter.scrape().by("map", "kvmexporter_bpf_dropped_events_total")
    assert dropped == dict.fromkeys(("vcpu", "retired", "clock"), 0.0)
    warm, now = lives.upkeep[WARM_UP - 1], lives.upkeep[-1]
    assert now.memory_kib - warm.memory_kib < GROWTH_KIB
    threads = warm.threads + POOL_THREADS
    least = (min(one.descriptors for one in lives.upkeep), threads, warm.processes)

    def is_as_before() -> bool:
        found = Upkeep.of(exporter.pid)
        return (found.descriptors, found.threads, found.processes) <= least

    eventually(is_as_before, lambda: f"{least}, of {open_files(exporter.pid)}", seconds=60)


def entries(exporter: Exporter) -> dict[str, float]:
    return exporter.scrape().by("map", "kvmexporter_bpf_map_entries")


def unexpected(log: str) -> list[str]:
    """Lines that tell of trouble, but for VMs that ended, or were too slow, while being asked."""
    told = [line for line in log.splitlines() if not re.search(r" level=(info|debug) ", line)]
    return [line for line in told if 'msg="VM not visited" vm=passing-' not in line]


def tell(lives: Lives, scraper: Scraper) -> None:
    slowest, median = max(scraper.seconds), statistics.median(scraper.seconds)
    print(
        f"\nsoak: {time.monotonic() - lives.begun:.0f} s, {len(lives.upkeep)} VMs came and went "
        f"({len(lives.lost)} lost by the emulator), {lives.exits} exits of theirs all counted; "
        f"{len(scraper.seconds)} scrapes, median {median:.3f} s, slowest {slowest:.3f} s\n"
        f"soak: first {lives.upkeep[0]}\nsoak: warm {lives.upkeep[WARM_UP - 1]}\n"
        f"soak: last {lives.upkeep[-1]}"
    )
