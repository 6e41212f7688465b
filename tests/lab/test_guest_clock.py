# SPDX-License-Identifier: Apache-2.0
"""The exporter inside a guest, and what its host sees of the same clock meanwhile."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.lab.clockwork import agent_offset, agent_scrape, host_clock_stepped, rules
from tests.lab.exporter import Exporter, Scrape
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.inside import INSIDE, MEMORY_MIB, python_disk, scraped, serve

# ptp_kvm wants a host that runs on its TSC.
pytestmark = pytest.mark.on_tsc("reliable")

STEP = INSIDE + " -c 'import time; t = time; t.clock_settime_ns(0, t.time_ns() + {} * 10**9)'"
CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0"
BUSY = "timeout 3 sh -c 'while :; do :; done'; true"


def _inside(host: Host) -> LinuxGuest:
    guest = LinuxGuest("inside", memory_mib=MEMORY_MIB, agent=True, extra=python_disk())
    host.start(guest)
    guest.run("modprobe ptp_kvm")
    serve(guest, "--role", "guest")
    return guest


@pytest.fixture
def inside(session_exporter: Exporter, module_host: Host) -> LinuxGuest:
    """A guest that runs the exporter itself, with the host's clock to compare with."""
    assert session_exporter.pid
    return module_host.keep(_inside)


def ptp_offset(scrape: Scrape) -> tuple[float, float]:
    """How far the guest says it is ahead of its host, and how wrong that can be."""
    return (
        scrape.value("kvm_guest_clock_offset_seconds", source="ptp_kvm"),
        scrape.value("kvm_guest_clock_offset_uncertainty_seconds", source="ptp_kvm"),
    )


def test_what_the_guest_runs_on(inside: LinuxGuest) -> None:
    """kvm-clock at first, the TSC after a switch, which is counted; its timer; its host's clock."""
    scrape = scraped(inside)
    info = "kvm_guest_clocksource_info"
    assert scrape.value(info, clocksource="kvm-clock", state="current") == 1
    assert scrape.value("kvm_guest_clockevent_info", clockevent="lapic-deadline") == 1
    assert scrape.value("kvm_guest_paravirtual_feature", feature="kvmclock") == 1
    inside.run(f"echo tsc >{CLOCKSOURCE}/current_clocksource")
    try:
        switched = scraped(inside)
        assert switched.value(info, clocksource="tsc", state="current") == 1
        labels = {"from": "kvm-clock", "to": "tsc"}
        assert switched.value("kvm_guest_clocksource_changes_total", **labels) == 1
    finally:
        inside.run(f"echo kvm-clock >{CLOCKSOURCE}/current_clocksource")


def test_inside_and_outside_agree(inside: LinuxGuest) -> None:
    """The offset by ptp_kvm lies within its bound of what the guest's agent says."""
    offset, bound = ptp_offset(scraped(inside))
    told, uncertainty = agent_offset("inside")
    assert 0 < bound < 0.1
    assert abs(offset - told) <= bound + uncertainty
    print(f"ptp_kvm {offset:.6f} ± {bound:.6f}, agent {told:.6f} ± {uncertainty:.6f}", flush=True)


def test_the_hosts_clock_is_set(session_exporter: Exporter, inside: LinuxGuest) -> None:
    """By 5 s and back: one step each, seen from inside and from the host as 5 s, and gone after."""
    steps, by = "kvm_host_clock_steps_total", "kvm_host_clock_step_seconds_total"
    before = session_exporter.scrape()
    was, _ = ptp_offset(inner := scraped(inside))
    with host_clock_stepped(5):
        after = session_exporter.scrape()
        assert after.total(steps) - before.total(steps) == 1
        moved = after.total(by, direction="forward") - before.total(by, direction="forward")
        assert moved == pytest.approx(5, abs=0.05)
        offset, bound = ptp_offset(there := scraped(inside))
        assert offset - was == pytest.approx(-5, abs=bound + 0.05)
        assert "guest-clock-offset" in rules(there)
        told, uncertainty = agent_offset("inside")
        assert told - was == pytest.approx(-5, abs=uncertainty + 0.05)
        print(f"host +5 s: ptp_kvm {offset:.6f}, agent {told:.6f} ± {uncertainty:.6f}", flush=True)
    again = session_exporter.scrape()
    assert again.total(steps) - before.total(steps) == 2
    offset, bound = ptp_offset(there := scraped(inside))
    assert offset == pytest.approx(was, abs=bound + 0.05)
    assert there.total("kvm_guest_clock_steps_total") == inner.total("kvm_guest_clock_steps_total")


def test_the_guests_clock_is_set(session_exporter: Exporter, inside: LinuxGuest) -> None:
    """The same from the other side: the guest counts the steps, the host none."""
    steps, by = "kvm_guest_clock_steps_total", "kvm_guest_clock_step_seconds_total"
    host_before = session_exporter.scrape().total("kvm_host_clock_steps_total")
    before = scraped(inside)
    was, _ = ptp_offset(before)
    inside.run(STEP.format(5))
    after = scraped(inside)
    assert after.total(steps) - before.total(steps) == 1
    moved = after.total(by, direction="forward") - before.total(by, direction="forward")
    assert moved == pytest.approx(5, abs=0.05)
    offset, bound = ptp_offset(after)
    assert offset - was == pytest.approx(5, abs=bound + 0.05)
    seen = agent_scrape()
    told = seen.value("kvm_vm_clock_offset_seconds", vm="inside")
    uncertainty = seen.value("kvm_vm_clock_offset_uncertainty_seconds", vm="inside")
    assert told - was == pytest.approx(5, abs=uncertainty + 0.05)
    assert "vm-clock-offset" in rules(seen, "inside")
    inside.run(STEP.format(-5))
    again = scraped(inside)
    assert again.total(steps) - before.total(steps) == 2
    offset, bound = ptp_offset(again)
    assert offset == pytest.approx(was, abs=bound + 0.05)
    host_after = session_exporter.scrape().total("kvm_host_clock_steps_total")
    assert host_after == host_before


@contextmanager
def _busy_host() -> Iterator[None]:
    """More to do than the host has processors."""
    command = ["sh", "-c", "while :; do :; done"]
    loops = [subprocess.Popen(command) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def test_stolen_time(inside: LinuxGuest) -> None:
    """What the guest's processor lacks while its host is busy grows, and much more than before."""

    def stolen(work: Callable[[], object]) -> float:
        before = scraped(inside).total("kvm_guest_steal_seconds_total")
        work()
        return scraped(inside).total("kvm_guest_steal_seconds_total") - before

    alone = stolen(lambda: inside.run(BUSY))
    with _busy_host():
        crowded = stolen(lambda: inside.run(BUSY, timeout=90))
    print(f"stolen: {alone:.2f} s alone, {crowded:.2f} s on a busy host", flush=True)
    assert crowded > 0.3
    assert crowded > alone


@pytest.mark.parametrize("signal", ["STOP", "KILL"])
def test_an_agent_that_falls_silent(inside: LinuxGuest, signal: str) -> None:
    """It hangs, or is gone: nothing stalls, no offset is made up, and the state is clear."""
    inside.run(f"kill -{signal} $(cat /run/qemu-ga.pid)")
    begun = time.monotonic()
    scrape = agent_scrape()
    assert time.monotonic() - begun < 60
    assert scrape.value("kvm_vm_guest_agent_answers", vm="inside") == 0
    assert scrape.samples("kvm_vm_clock_offset_seconds", vm="inside") == []
    assert scrape.samples("kvm_vm_vcpus", vm="inside")
