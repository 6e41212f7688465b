# SPDX-License-Identifier: Apache-2.0
"""Changes of the clocksource: each counted once, whoever tells it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmexporter.errors import Unavailable
from kvmexporter.sources.clocksource_watch import ClocksourceWatch
from kvmexporter.sources.kernellog import KernelLog
from kvmexporter.sources.sysfs import Sysfs
from tests.unit.clock_tree import ClockTree

NO_LOG = Unavailable("/dev/kmsg: Operation not permitted", "grant CAP_SYSLOG")


class Kernel:
    """A kernel that logs what it does with its clocksource, and shows it in sysfs."""

    def __init__(self, root: Path) -> None:
        self.tree = ClockTree(root)
        self.reader, self.writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK | os.O_CLOEXEC)

    def log(self, *texts: str) -> None:
        for text in texts:
            os.write(self.writer, f"6,1,0,-;{text}\n".encode())

    def switch(self, to: str) -> None:
        self.log(f"clocksource: Switched to clocksource {to}")
        self.tree.clocksource(to, "tsc hpet acpi_pm")

    def watch(self) -> ClocksourceWatch:
        return ClocksourceWatch(self.tree.sysfs, KernelLog(self.reader))


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    yield kernel
    os.close(kernel.writer)


def test_changes_between_samples(kernel: Kernel) -> None:
    """All of them, those that were undone too."""
    watch = kernel.watch()
    for to in ("hpet", "acpi_pm", "tsc", "hpet", "tsc"):
        kernel.switch(to)
    assert watch.sample().current == "tsc"
    assert watch.history().changes == {
        ("tsc", "hpet"): 2,
        ("hpet", "acpi_pm"): 1,
        ("acpi_pm", "tsc"): 1,
        ("hpet", "tsc"): 1,
    }
    assert watch.history().watched_by == "kernel_log"
    watch.sample()
    assert sum(watch.history().changes.values()) == 5
    watch.close()


def test_what_the_boot_did_is_no_change(kernel: Kernel) -> None:
    """The log of the time before tells of the TSC, and counts nothing."""
    kernel.log(
        "tsc: Detected 2596.142 MHz processor",
        "clocksource: Switched to clocksource tsc-early",
        "tsc: Refined TSC clocksource calibration: 2595.123 MHz",
        "tsc: Marking TSC unstable due to clocksource watchdog",
    )
    kernel.switch("hpet")
    watch = kernel.watch()
    watch.sample()
    history = watch.history()
    assert history.changes == {}
    assert history.unstable == {"tsc": "clocksource watchdog"}
    assert watch.tsc_hz == 2_595_123_000
    watch.close()


def test_a_change_that_sysfs_shows_first(kernel: Kernel) -> None:
    """It counts once when its message comes later."""
    watch = kernel.watch()
    kernel.tree.clocksource("hpet", "tsc hpet")
    watch.sample()
    kernel.log("clocksource: Switched to clocksource hpet")
    watch.sample()
    assert watch.history().changes == {("tsc", "hpet"): 1}
    watch.close()


def test_the_watchdog_names_no_reason(kernel: Kernel) -> None:
    """A reason that came with another message is kept."""
    watch = kernel.watch()
    watchdog = "clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable"
    kernel.log("tsc: Marking TSC unstable due to clocksource watchdog", watchdog)
    watch.sample()
    assert watch.history().unstable == {"tsc": "clocksource watchdog"}
    watch.close()


def test_without_the_log(tmp_path: Path) -> None:
    """Only what one sample shows and the next does not; it says so."""
    tree = ClockTree(tmp_path)
    watch = ClocksourceWatch(tree.sysfs, NO_LOG)
    tree.clocksource("hpet", "tsc hpet")
    tree.clocksource("tsc", "tsc hpet")
    watch.sample()
    assert watch.history().changes == {}
    tree.clocksource("hpet", "tsc hpet")
    watch.sample()
    watch.sample()
    assert watch.history().changes == {("tsc", "hpet"): 1}
    assert watch.history().watched_by == "sampling"
    assert watch.tsc_hz is None
    watch.close()


def test_a_clocksource_that_is_not_shown(tmp_path: Path) -> None:
    """Unavailable, and no change from nothing to something later."""
    watch = ClocksourceWatch(Sysfs(tmp_path / "sys"), NO_LOG)
    with pytest.raises(Unavailable):
        watch.sample()
    tree = ClockTree(tmp_path)
    assert watch.sample().current == "tsc"
    assert watch.history().changes == {}
    tree.clocksource("hpet", "tsc hpet")
    watch.sample()
    assert watch.history().changes == {("tsc", "hpet"): 1}


def test_this_system() -> None:
    """A real kernel that does not change its clocksource has no change counted."""
    log: KernelLog | Unavailable
    try:
        log = KernelLog.open()
    except Unavailable as err:
        log = err
    watch = ClocksourceWatch(Sysfs(), log)
    assert watch.sample() == Sysfs().clocksources()
    assert watch.history().changes == {}
    watch.close()
