# SPDX-License-Identifier: Apache-2.0
"""Balloons of real guests: what is shown is what QEMU and the guest's kernel say, to the page."""

import re
import signal
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from kvmexporter.model.guest_memory import guest_memory
from tests.lab.devices import Disk
from tests.lab.exporter import Exporter, Scrape
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.shell import GuestError

pytestmark = [pytest.mark.on_kernel("6.12"), pytest.mark.long]

MIB = 1 << 20
PAGE = 4096
WHOLE = 256 * MIB
_SECONDS = 60.0


def _giving(host: Host) -> LinuxGuest:
    """Its balloon can do everything, and it has a disk to swap to."""
    options = ",deflate-on-oom=on,free-page-reporting=on"
    swap = Disk("swap", size_mib=256)
    guest = LinuxGuest(
        "giving",
        memory_mib=256,
        disks=(swap,),
        balloon=True,
        balloon_options=options,
    )
    return host.start(guest)


def _plain(host: Host) -> LinuxGuest:
    """Its balloon is as QEMU makes it when it is told nothing."""
    return host.start(LinuxGuest("plain", memory_mib=256, balloon=True))


@pytest.fixture
def giving(module_host: Host) -> LinuxGuest:
    return module_host.keep(_giving)


@pytest.fixture
def plain(module_host: Host) -> LinuxGuest:
    return module_host.keep(_plain)


@pytest.fixture(scope="module")
def exporter(module_host: Host) -> Iterator[Exporter]:
    """One that asks every second, and has guests asked for their statistics as often.

    It meets the guests when they have booted: what their drivers took it asks once a minute.
    """
    for start in (_giving, _plain):
        module_host.keep(start)
    every_second = ("--balloon.interval", "1", "--balloon.set-polling", "1")
    made = Exporter("--no-bpf", *every_second, port=19195)
    try:
        yield made.start()
    finally:
        print(made.log())
        made.close()


class Seen:
    """What the exporter shows of one VM's balloon."""

    def __init__(self, scrape: Scrape, vm: str) -> None:
        self.scrape = scrape
        self.vm = vm

    def value(self, name: str, **labels: str) -> float:
        return self.scrape.value(f"kvm_vm_balloon_{name}", vm=self.vm, **labels)

    def has(self, name: str) -> bool:
        return bool(self.scrape.samples(f"kvm_vm_balloon_{name}", vm=self.vm))

    @property
    def actual(self) -> float:
        return self.value("actual_bytes")

    @property
    def target(self) -> float:
        return self.value("target_bytes")

    @property
    def rules(self) -> set[str]:
        """The rules that found something."""
        found = self.scrape.samples("kvm_findings", vm=self.vm)
        return {sample.labels["rule"] for sample in found if sample.value}


def seen_when(
    exporter: Exporter, guest: LinuxGuest, true: Callable[[Seen], bool], what: str
) -> Seen:
    """Scrape until that is true of what was asked after this call."""
    begun = time.monotonic()
    while True:
        before = time.monotonic()
        seen = Seen(exporter.scrape(), guest.name)
        asked_at = before - seen.value("age_seconds") if seen.has("age_seconds") else 0.0
        if asked_at > begun and true(seen):
            return seen
        if before - begun > _SECONDS:
            if not guest.obeys():
                raise GuestError(f"{guest.name} is lost; waited for: {what}")
            shown = [line for line in seen.scrape.text.splitlines() if "_balloon_" in line]
            raise AssertionError(f"{what}: not seen:\n" + "\n".join(shown))
        time.sleep(0.3)


def vmstat(guest: LinuxGuest) -> dict[str, int]:
    """The guest's own counters."""
    lines = guest.run("cat /proc/vmstat").splitlines()
    return {name: int(value) for name, value in map(str.split, lines)}


def in_balloon(guest: LinuxGuest) -> int:
    """What its driver has put there, bytes, as the exporter in a guest counts."""
    return guest_memory(guest.run("cat /proc/vmstat"), "", "", PAGE).in_balloon


def set_target(guest: LinuxGuest, mib: int) -> None:
    guest.qmp("balloon", value=mib * MIB)


def resident(guest: LinuxGuest) -> int:
    return int(psutil.Process(guest.pid).memory_info().rss)


def fill(guest: LinuxGuest, mib: int) -> None:
    """Have memory taken that only swap can free."""
    guest.run(
        "mkdir -p /mnt && mount -t tmpfs -o size=200m none /mnt &&"
        f"dd if=/dev/zero of=/mnt/taken bs=1M count={mib} 2>/dev/null"
    )


def free(guest: LinuxGuest) -> None:
    guest.run("umount /mnt", check=False)


def test_free_page_reporting(exporter: Exporter, giving: LinuxGuest, plain: LinuxGuest) -> None:
    """The host gets back what a guest has freed, or does not.

    The first of all: a kernel whose memory has been through the rest may not report any more.
    """
    returned = {}
    for guest in (giving, plain):
        seen_when(exporter, guest, lambda s: s.actual == WHOLE, "deflated")
        fill(guest, 100)
        filled = exporter.scrape().value("kvm_vm_resident_memory_bytes", vm=guest.name)
        free(guest)
        # The guest's kernel reports every two seconds.
        deadline = time.monotonic() + (30 if guest is giving else 8)
        while resident(guest) > filled - 80 * MIB and time.monotonic() < deadline:
            time.sleep(0.5)
        left = exporter.scrape().value("kvm_vm_resident_memory_bytes", vm=guest.name)
        returned[guest.name] = (filled - left) / MIB
    assert returned["giving"] > 80, guest.run("free; cat /proc/buddyinfo")
    assert returned["plain"] < 20


def test_agrees_to_the_page(exporter: Exporter, giving: LinuxGuest) -> None:
    """Down to 128 MiB and back: host, QEMU and guest say the same; each way counts once."""
    first = seen_when(exporter, giving, lambda s: s.target == WHOLE == s.actual, "at rest")
    assert first.value("max_bytes") == WHOLE
    held = in_balloon(giving)
    assert held == 0
    set_target(giving, 128)
    small = seen_when(exporter, giving, lambda s: s.actual <= 128 * MIB, "inflated")
    assert small.target == small.actual == 128 * MIB
    assert giving.qmp("query-balloon")["actual"] == 128 * MIB
    assert in_balloon(giving) == WHOLE - 128 * MIB
    assert small.value("short_seconds") == 0
    set_target(giving, 256)
    large = seen_when(exporter, giving, lambda s: s.actual == WHOLE, "deflated")
    assert large.target == WHOLE
    assert in_balloon(giving) == 0
    for direction in ("inflate", "deflate"):
        moved = [s.value("moved_bytes_total", direction=direction) for s in (first, large)]
        assert moved[1] - moved[0] == 128 * MIB


def test_features_and_statistics(exporter: Exporter, giving: LinuxGuest, plain: LinuxGuest) -> None:
    """What was asked of QEMU is what is offered; the guest's numbers are the guest's own."""
    names = ("deflate-on-oom", "free-page-hint", "free-page-reporting")
    for guest, expected in ((giving, (1, 0, 1)), (plain, (0, 0, 0))):
        seen = seen_when(exporter, guest, lambda s: s.has("stats_age_seconds"), "statistics")
        assert tuple(seen.value("feature", feature=name) for name in names) == expected
        assert seen.value("stats_interval_seconds") == 1
        assert seen.value("stats_age_seconds") < 30
        total = int(re.findall(r"MemTotal: +(\d+)", guest.run("cat /proc/meminfo"))[0])
        assert seen.value("stat_bytes", stat="total") == total * 1024
        rules = {"balloon-no-deflate-on-oom", "balloon-no-free-page-reporting"}
        assert seen.rules & rules == (rules if guest is plain else set())


def test_memory_that_is_taken(exporter: Exporter, giving: LinuxGuest) -> None:
    """The target is not reached, and that shows; with swap it is, and that shows as well."""
    fill(giving, 120)
    try:
        set_target(giving, 64)
        stuck = seen_when(exporter, giving, lambda s: "balloon-stuck" in s.rules, "stuck")
        assert stuck.target == 64 * MIB
        assert stuck.actual > 120 * MIB
        assert stuck.value("short_seconds") >= 10
        before = vmstat(giving)
        assert before["pswpout"] == 0
        giving.run("mkswap /dev/vda >/dev/null && swapon /dev/vda")
        swapped = seen_when(
            exporter, giving,
            lambda s: s.value("swap_out_bytes_total") > 0 and "balloon-guest-swapping" in s.rules,
            "swapping",
        )  # fmt: skip
        assert swapped.actual < stuck.actual
    finally:
        free(giving)
        set_target(giving, 256)
    giving.run("swapoff /dev/vda; sleep 2")  # reads back what is left, and is counted
    counters = vmstat(giving)
    rested = seen_when(exporter, giving, lambda s: s.actual == WHOLE, "deflated")
    assert counters["pswpout"] > 0
    assert rested.value("swap_out_bytes_total") == counters["pswpout"] * PAGE
    assert rested.value("swap_in_bytes_total") == counters["pswpin"] * PAGE
    assert "balloon-stuck" not in rested.rules


@pytest.mark.parametrize("rescued", [True, False], ids=["deflate-on-oom", "without"])
def test_out_of_memory(
    exporter: Exporter, giving: LinuxGuest, plain: LinuxGuest, rescued: bool
) -> None:
    """A process that needs what is in the balloon gets it, or is killed."""
    guest = giving if rescued else plain
    set_target(guest, 96)
    seen_when(exporter, guest, lambda s: s.actual == 96 * MIB, "inflated")
    killed = vmstat(guest)["oom_kill"]
    # A kernel that was asked for more than there is would refuse instead of killing.
    guest.run("echo 1 >/proc/sys/vm/overcommit_memory")
    code = guest.exit_code("dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null")
    after = seen_when(exporter, guest, lambda s: s.target == 96 * MIB, "afterwards")
    try:
        if rescued:
            assert code == 0
            assert vmstat(guest)["oom_kill"] == killed
            assert after.actual > 96 * MIB
            assert WHOLE - after.actual == in_balloon(guest)
        else:
            assert code == 128 + signal.SIGKILL
            assert vmstat(guest)["oom_kill"] == killed + 1
            assert after.actual == 96 * MIB
            severities = after.scrape.by(
                "severity", "kvm_findings", vm=guest.name, rule="balloon-no-deflate-on-oom"
            )
            assert severities == {"warning": 1}
    finally:
        set_target(guest, 256)


def test_paused(exporter: Exporter, plain: LinuxGuest) -> None:
    """Its statistics grow old and say so, while the rest stays fresh and nobody waits."""
    plain.pause()
    try:
        paused = time.monotonic()
        stale = seen_when(exporter, plain, lambda s: "balloon-statistics-stale" in s.rules, "stale")
        assert stale.value("stats_age_seconds") >= 13
        assert stale.value("age_seconds") < 10
        assert stale.value("stats_age_seconds") < time.monotonic() - paused + 10
    finally:
        plain.resume()
    seen_when(exporter, plain, lambda s: s.value("stats_age_seconds") < 10, "fresh again")


def test_a_vmm_that_hangs(exporter: Exporter, giving: LinuxGuest, plain: LinuxGuest) -> None:
    """Its numbers keep their age, nobody waits for it, and others are as fresh as ever."""
    process = psutil.Process(giving.pid)
    seen_when(exporter, giving, lambda _: True, "before")
    process.suspend()
    try:
        stopped = time.monotonic()
        seen_when(exporter, plain, lambda _: True, "another")
        while time.monotonic() - stopped < 8:
            begun = time.monotonic()
            scrape = exporter.scrape()
            assert time.monotonic() - begun < 3
            time.sleep(1)
        age = Seen(scrape, giving.name).value("age_seconds")
        assert age >= 7
    finally:
        process.resume()
    seen_when(exporter, giving, lambda _: True, "again")


def test_unplugged_and_gone(exporter: Exporter, plain: LinuxGuest) -> None:
    """A balloon that is unplugged has no numbers any more, nor has a VM that ended."""
    seen_when(exporter, plain, lambda _: True, "before")
    plain.qmp("device_del", id="balloon0")
    deadline = time.monotonic() + _SECONDS
    while Seen(exporter.scrape(), plain.name).has("actual_bytes"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert exporter.scrape().samples("kvm_vm_info", vm=plain.name)
    plain.kill()
    assert f'"{plain.name}"' not in exporter.scrape().text
