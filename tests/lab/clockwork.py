# SPDX-License-Identifier: Apache-2.0
"""What tests of clocks share: the host's clocksource, a guest's time as its agent tells it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.exporter import Exporter, Scrape, run_command

CLOCKSOURCE = Path("/sys/devices/system/clocksource/clocksource0")


def current() -> str:
    """The host's clocksource."""
    return (CLOCKSOURCE / "current_clocksource").read_text().strip()


def available() -> list[str]:
    """Those that it could have."""
    return (CLOCKSOURCE / "available_clocksource").read_text().split()


def switch(name: str) -> None:
    """Change it, and wait until the kernel has."""
    (CLOCKSOURCE / "current_clocksource").write_text(name)
    deadline = time.monotonic() + 10
    while current() != name:
        assert time.monotonic() < deadline, f"{current()} instead of {name}"
        time.sleep(0.05)


@contextmanager
def kept() -> Iterator[str]:
    """Give the clocksource back as it was; yields its name."""
    before = current()
    try:
        yield before
    finally:
        switch(before)


@contextmanager
def host_clock_stepped(seconds: int) -> Iterator[None]:
    """Set the host's clock by exactly so much, and back at the end."""

    def step(by: int) -> None:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + by * 1_000_000_000)

    step(seconds)
    try:
        yield
    finally:
        step(-seconds)


def agent_scrape() -> Scrape:
    """One diagnosis that asks the guests' agents, each of them now."""
    done = run_command(
        *("dump", "--no-bpf", "--guest-agent", "--duration", "0", "--format", "openmetrics"),
    )
    assert done.returncode == 0, done.stderr
    return Scrape(done.stdout)


def agent_offset(vm: str) -> tuple[float, float]:
    """How far a guest's clock is ahead of the host's, and how wrong that can be; seconds."""
    scrape = agent_scrape()
    return (
        scrape.value("kvm_vm_clock_offset_seconds", vm=vm, source="guest-agent"),
        scrape.value("kvm_vm_clock_offset_uncertainty_seconds", vm=vm, source="guest-agent"),
    )


def rules(scrape: Scrape, vm: str = "") -> set[str]:
    """The rules that have findings on a VM, or on the host."""
    return {
        sample.labels["rule"] for sample in scrape.samples("kvm_findings", vm=vm) if sample.value
    }


def eventually(exporter: Exporter, condition: Callable[[Scrape], bool], what: str) -> Scrape:
    """Scrape until it is so."""
    deadline = time.monotonic() + 30
    while not condition(scrape := exporter.scrape()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.3)
    return scrape
