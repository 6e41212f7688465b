# SPDX-License-Identifier: Apache-2.0
"""The balloon of a domain whose monitor is libvirt's: by what libvirt keeps, and through virsh."""

import re
import time
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest

from tests.lab.exporter import Exporter, Scrape
from tests.lab.host import Host
from tests.lab.libvirt import Domain, Libvirt

pytestmark = [pytest.mark.on_kernel("6.12"), pytest.mark.long]

NAME = "lab-balloon"
KIB = 1 << 10
MIB = 1 << 20
WHOLE = 192 * MIB
SMALL = 131 * MIB
_SECONDS = 90.0
VIRSH_SECONDS = 5.0
"""What virsh is given to answer: a scrape that waited for it would take those."""


@pytest.fixture(scope="module")
def libvirt(module_host: Host) -> Libvirt:
    return module_host.libvirt()


@pytest.fixture(scope="module")
def domain(libvirt: Libvirt) -> Domain:
    """One domain for all tests; each leaves it with an empty balloon."""
    return libvirt.start(NAME)


def _exporter(port: int, *arguments: str) -> Iterator[Exporter]:
    made = Exporter("--no-bpf", *arguments, port=port)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def reading(domain: Domain) -> Iterator[Exporter]:
    """One that reads what libvirt writes, and asks nobody."""
    assert domain.pid
    yield from _exporter(19198)


@pytest.fixture(scope="module")
def asking(domain: Domain) -> Iterator[Exporter]:
    """One that may ask through libvirt, and does so often."""
    assert domain.pid
    yield from _exporter(19199, "--libvirt.monitor", "--balloon.interval", "2")


def shown(scrape: Scrape, name: str, **labels: str) -> float:
    return scrape.value(f"kvm_vm_balloon_{name}", vm=NAME, **labels)


def has(scrape: Scrape, name: str) -> bool:
    return bool(scrape.samples(f"kvm_vm_balloon_{name}", vm=NAME))


def rules(scrape: Scrape) -> dict[str, float]:
    return scrape.by("rule", "kvm_findings", vm=NAME)


def seen_when(exporter: Exporter, true: Callable[[Scrape], bool], what: str) -> Scrape:
    """Scrape until that is true of what has been heard after this call; no scrape takes long."""
    begun = time.monotonic()
    while True:
        before = time.monotonic()
        scrape = exporter.scrape()
        assert time.monotonic() - before < VIRSH_SECONDS, "a scrape waits for libvirt"
        age = shown(scrape, "age_seconds") if has(scrape, "age_seconds") else before
        if before - age > begun and true(scrape):
            return scrape
        told = [line for line in scrape.text.splitlines() if line.startswith("kvm_vm_balloon_")]
        assert before - begun < _SECONDS, f"{what}: not seen:\n" + "\n".join(told)
        time.sleep(0.5)


def scrape_seconds(exporter: Exporter) -> float:
    begun = time.monotonic()
    exporter.scrape()
    return time.monotonic() - begun


def current_memory(libvirt: Libvirt) -> int:
    """What libvirt's live XML says, bytes."""
    found = ElementTree.fromstring(libvirt.virsh("dumpxml", NAME)).find("currentMemory")
    assert found is not None
    assert found.get("unit") == "KiB"
    return int(found.text or "") * KIB


def dommemstat(libvirt: Libvirt) -> dict[str, int]:
    lines = libvirt.virsh("dommemstat", NAME).split("\n")
    return {name: int(value) for name, value in (line.split() for line in lines if line.strip())}


def set_memory(libvirt: Libvirt, size: int) -> None:
    libvirt.virsh("setmem", NAME, str(size // KIB), "--live")


def in_balloon(domain: Domain) -> int:
    """What the guest's driver has put there, bytes."""
    lines = domain.run("grep ^balloon_ /proc/vmstat").splitlines()
    pages = {name: int(value) for name, value in map(str.split, lines)}
    return (pages["balloon_inflate"] - pages["balloon_deflate"]) * 4096


def test_what_libvirt_keeps(reading: Exporter, libvirt: Libvirt, domain: Domain) -> None:
    """`currentMemory` is what the guest has, to the page; the rest of it is the domain's XML."""
    first = seen_when(reading, lambda s: shown(s, "actual_bytes") == WHOLE, "at rest")
    assert shown(first, "max_bytes") == WHOLE
    assert shown(first, "stats_interval_seconds") == 1
    for feature in ("deflate-on-oom", "free-page-hint", "free-page-reporting"):
        assert shown(first, "feature", feature=feature) == 0
    assert first.samples("kvm_findings", vm=NAME, rule="balloon-no-deflate-on-oom", severity="info")
    set_memory(libvirt, SMALL)
    try:
        small = seen_when(reading, lambda s: shown(s, "actual_bytes") <= SMALL, "inflated")
        assert shown(small, "actual_bytes") == SMALL
        assert current_memory(libvirt) == SMALL == dommemstat(libvirt)["actual"] * KIB
        assert in_balloon(domain) == WHOLE - SMALL
        assert small.value("kvm_host_memory_saved_bytes", by="balloon") == WHOLE - SMALL
        assert rules(small)["balloon-no-deflate-on-oom"] == 1
        for name in ("target_bytes", "short_seconds", "stat_bytes", "stats_age_seconds"):
            assert not has(small, name), name
        assert "balloon-statistics-stale" not in rules(small)
    finally:
        set_memory(libvirt, WHOLE)
    large = seen_when(reading, lambda s: shown(s, "actual_bytes") == WHOLE, "deflated")
    for direction in ("inflate", "deflate"):
        assert shown(large, "moved_bytes_total", direction=direction) == WHOLE - SMALL


def test_through_virsh(asking: Exporter, libvirt: Libvirt, domain: Domain) -> None:
    """The target as well, which libvirt does not keep, and what the guest says of itself."""
    # Until QEMU has been asked there is what libvirt keeps.
    first = seen_when(asking, lambda s: has(s, "target_bytes"), "asked")
    assert shown(first, "target_bytes") == shown(first, "actual_bytes") == WHOLE
    set_memory(libvirt, SMALL)
    try:
        small = seen_when(asking, lambda s: shown(s, "actual_bytes") <= SMALL, "inflated")
        assert shown(small, "target_bytes") == shown(small, "actual_bytes") == SMALL
        assert shown(small, "short_seconds") == 0
        assert in_balloon(domain) == WHOLE - SMALL
        # Less than before: what is in the balloon is not the guest's.
        total = int(re.findall(r"MemTotal: +(\d+)", domain.run("cat /proc/meminfo"))[0])
        fresh = seen_when(
            asking,
            lambda s: (
                has(s, "stats_age_seconds") and shown(s, "stat_bytes", stat="total") == total * KIB
            ),
            "statistics of the small guest",
        )
        assert shown(fresh, "stats_interval_seconds") == 1
        told = dommemstat(libvirt)
        assert told["available"] == total
        assert shown(fresh, "swap_in_bytes_total") == told["swap_in"] * KIB
        assert shown(fresh, "faults_total", severity="major") <= told["major_fault"]
    finally:
        set_memory(libvirt, WHOLE)
    seen_when(asking, lambda s: shown(s, "actual_bytes") == WHOLE, "deflated")


def test_memory_that_is_taken(
    reading: Exporter, asking: Exporter, libvirt: Libvirt, domain: Domain
) -> None:
    """The target that is not reached shows through virsh; libvirt keeps what the guest has."""
    domain.run(
        "mkdir -p /mnt && mount -t tmpfs -o size=150m none /mnt &&"
        "dd if=/dev/zero of=/mnt/taken bs=1M count=80 2>/dev/null"
    )
    target = 61 * MIB
    set_memory(libvirt, target)
    try:
        stuck = seen_when(asking, lambda s: "balloon-stuck" in rules(s), "stuck")
        assert shown(stuck, "target_bytes") == target
        assert shown(stuck, "actual_bytes") > 80 * MIB
        assert shown(stuck, "short_seconds") >= 10
        assert current_memory(libvirt) > 80 * MIB
        kept = seen_when(reading, lambda s: shown(s, "actual_bytes") < WHOLE, "inflated")
        assert shown(kept, "actual_bytes") > 80 * MIB
        assert not has(kept, "target_bytes")
    finally:
        set_memory(libvirt, WHOLE)
    rested = seen_when(asking, lambda s: shown(s, "actual_bytes") == WHOLE, "deflated")
    assert "balloon-stuck" not in rules(rested)
    domain.run("umount /mnt")


def test_paused(asking: Exporter, reading: Exporter, libvirt: Libvirt, domain: Domain) -> None:
    """The guest's numbers grow old and say so; what libvirt and QEMU know stays fresh."""
    assert domain.pid
    libvirt.virsh("suspend", NAME)
    try:
        stale = seen_when(asking, lambda s: "balloon-statistics-stale" in rules(s), "stale")
        assert shown(stale, "stats_age_seconds") >= 13
        assert shown(stale, "age_seconds") < 13
        kept = seen_when(reading, lambda s: has(s, "actual_bytes"), "still told")
        assert shown(kept, "actual_bytes") == WHOLE
    finally:
        libvirt.virsh("resume", NAME)
    seen_when(asking, lambda s: shown(s, "stats_age_seconds") < 10, "fresh again")


def test_a_libvirt_that_restarts(
    asking: Exporter, reading: Exporter, libvirt: Libvirt, domain: Domain
) -> None:
    """Without its daemon what it said grows old and says so; with it, all is as before."""
    for exporter in (asking, reading):
        seen_when(exporter, lambda s: has(s, "actual_bytes"), "before")
    libvirt.stop_daemon()
    stopped = time.monotonic()
    while time.monotonic() - stopped < 35:
        for exporter in (asking, reading):
            assert scrape_seconds(exporter) < VIRSH_SECONDS
            assert shown(exporter.scrape(), "actual_bytes") == WHOLE
        time.sleep(1)
    gone = time.monotonic() - stopped
    for exporter in (asking, reading):
        assert shown(exporter.scrape(), "age_seconds") >= gone - 1
    libvirt.start_daemon()
    for exporter in (asking, reading):
        seen_when(exporter, lambda s: shown(s, "age_seconds") < 20, "fresh again")
    assert libvirt.virsh("domstate", NAME).strip() == "running"
    assert in_balloon(domain) == 0
