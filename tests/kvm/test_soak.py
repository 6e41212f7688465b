# SPDX-License-Identifier: Apache-2.0
"""Scraped each second while VMs come and go on this host: nothing grows, nothing is lost.

For 20 seconds, or KVMEXPORTER_SOAK_SECONDS; `make soak` does it in the lab for half an hour.
"""

import os
import re
import statistics
import time

import pytest

from tests.guest import VIRTIO_BLK, BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import Exporter, Scrape
from tests.upkeep import Scraper, Upkeep, open_files
from tests.waiting import eventually

SECONDS = float(os.environ.get("KVMEXPORTER_SOAK_SECONDS", "20"))
WARM_UP = 2
"""VMs until everything that is taken once, for good, has been taken."""
STEADY = "soak-steady"
READS, WRITES = 1009, 503
GROWTH_KIB = 1024
POOL_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""What waits for the opener child is made when it is needed, and stays (asyncio.to_thread)."""
BOOT_SECONDS = 180.0
SLOWEST_SECONDS = 5.0  # on a machine that starts VMs meanwhile


@pytest.fixture(autouse=True)
def _kvm() -> None:
    require_kvm()


def accesses(scrape: Scrape, vm: str) -> tuple[float, float]:
    """Port reads and writes of a VM so far."""
    reads, writes = (
        scrape.sum("kvm_vm_io_exits_total", vm=vm, access="pio", direction=direction)
        for direction in ("read", "write")
    )
    return reads, writes


def worked(exporter: Exporter, guest: BareMetalGuest) -> None:
    """Every access of this guest is counted, and none more."""
    reads, writes = accesses(exporter.scrape(), guest.name)
    guest.run(serial_read=READS, pit_write=WRITES)
    assert accesses(exporter.scrape(), guest.name) == (reads + READS, writes + WRITES)


def come_and_go(exporter: Exporter, number: int) -> None:
    """One boots, works and is killed; nothing is told of it any more."""
    with BareMetalGuest(f"soak-{number}", devices=VIRTIO_BLK) as guest:
        guest.wait_ready(BOOT_SECONDS)
        worked(exporter, guest)
        guest.kill()
    assert f'"soak-{number}"' not in exporter.scrape().text


def test_nothing_grows_and_nothing_is_lost() -> None:
    """No memory, descriptor or thread stays, every access was counted, the log is quiet."""
    seen: list[Upkeep] = []
    with Exporter("--user", "nobody") as exporter, BareMetalGuest(STEADY) as steady:
        steady.wait_ready(BOOT_SECONDS)
        first = accesses(exporter.scrape(), STEADY)
        ended = time.monotonic() + SECONDS
        with Scraper(lambda: exporter.get()[2].decode(), STEADY) as scraper:
            while time.monotonic() < ended or len(seen) <= WARM_UP:
                steady.resume()
                worked(exporter, steady)
                steady.pause()  # it would take a processor for itself
                come_and_go(exporter, len(seen))
                seen.append(Upkeep.of(exporter.pid))
        rounds = len(seen)
        last = accesses(exporter.scrape(), STEADY)
        print(f"\nsoak: {rounds} VMs, {len(scraper.seconds)} scrapes, median "
              f"{statistics.median(scraper.seconds):.3f} s, slowest {max(scraper.seconds):.3f} s"
              f"\nsoak: first {seen[0]}\nsoak: last {seen[-1]}")  # fmt: skip
        assert last == (first[0] + rounds * READS, first[1] + rounds * WRITES)
        assert scraper.troubles == []
        assert max(scraper.seconds) < SLOWEST_SECONDS
        assert seen[-1].memory_kib - seen[WARM_UP - 1].memory_kib < GROWTH_KIB
        least = min(one.descriptors for one in seen), seen[WARM_UP - 1].threads + POOL_THREADS

        def is_as_before() -> bool:
            found = Upkeep.of(exporter.pid)
            return (found.descriptors, found.threads) <= least

        eventually(is_as_before, lambda: f"{least}, of {open_files(exporter.pid)}")
        dropped = exporter.scrape().values("kvmexporter_bpf_dropped_events_total")
        assert [value for _, value in dropped] == [0.0] * len(dropped)
        assert dropped
        told = [line for line in exporter.log().splitlines() if " level=info " not in line]
        gone = re.compile(
            r'level=warn .* msg="VM not visited" '
        )  # it was killed while it was asked
        assert [line for line in told if not gone.search(line)] == []
