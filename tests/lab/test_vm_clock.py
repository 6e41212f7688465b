# SPDX-License-Identifier: Apache-2.0
"""VMs' timers and clocks: what the exporter counts is what the kernel's own histograms count."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.bare_metal import booted
from tests.lab.clockwork import agent_offset, current, eventually, rules
from tests.lab.exporter import Exporter
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.shell import GuestError
from tests.lab.timers import check, watch
from tests.lab.witness import EventCount


def test_the_bare_metal_guests_alarms(session_exporter: Exporter) -> None:
    """A prime number of deadlines is exactly that many arms; each that fires has its lateness."""
    with booted("alarms") as guest:
        guest.run(tsc_deadline=1, timer=1)
        never = watch(session_exporter, guest, lambda: guest.run(tsc_deadline=67))
        check(never, "alarms")
        assert never.moved("kvm_vm_tsc_deadline_arms_total", vm="alarms") == 67
        assert never.expired.total() == 0

        fired = watch(session_exporter, guest, lambda: guest.run(timer=(53, 2000)))
        check(fired, "alarms")
        assert fired.moved("kvm_vm_tsc_deadline_arms_total", vm="alarms") == 53
        assert fired.moved("kvm_vm_timer_lateness_seconds_count", vm="alarms") == 53
        assert fired.states.total() >= 53


def _named(host: Host) -> LinuxGuest:
    return host.start(LinuxGuest("clocked", vcpus=2, agent=True))


@pytest.fixture
def clocked(session_exporter: Exporter, module_host: Host) -> LinuxGuest:
    """A guest with two vCPUs and an agent, that started after the exporter had."""
    assert session_exporter.pid
    return module_host.keep(_named)


def test_what_kvm_makes_of_a_new_vms_clock(session_exporter: Exporter, host: Host) -> None:
    """Offset writes, their spread, kvm-clock updates, and a master clock as the host allows."""
    with (
        EventCount("kvm_write_tsc_offset", "common_pid", "vcpu_id", "next_tsc_offset") as offsets,
        EventCount("kvm_pvclock_update", "common_pid") as updates,
        EventCount("kvm_update_master_clock", "common_pid", "use_master_clock") as decisions,
    ):
        guest = host.start(LinuxGuest("fresh", vcpus=2))
        guest.pause()
        scrape = session_exporter.scrape()
        threads = [int(path.name) for path in Path(f"/proc/{guest.pid}/task").iterdir()]
        written = {key: n for key, n in offsets.read().items() if key[0] in threads}
        decided = {key: n for key, n in decisions.read().items() if key[0] in threads}
        updated = updates.total(threads)
    assert {key[1] for key in written} == {0, 1}
    assert scrape.value("kvm_vm_tsc_offset_writes_total", vm="fresh") == sum(written.values())
    assert scrape.value("kvm_vm_pvclock_updates_total", vm="fresh") == updated > 0
    assert decided
    on = {bool(key[1]) for key in decided}
    enabled = scrape.value("kvm_vm_master_clock_enabled", vm="fresh")
    assert bool(enabled) in on
    assert bool(enabled) == (current() == "tsc")
    host_clock = "tsc" if current() == "tsc" else "none"
    assert scrape.value("kvm_vm_master_clock_info", vm="fresh", host_clock=host_clock) == 1
    # QEMU sets all TSCs of a new VM to the same; on a TSC that KVM distrusts it reckons each anew.
    spread = scrape.value("kvm_vm_tsc_offset_spread_seconds", vm="fresh")
    if enabled:
        assert spread == 0
    hertz = scrape.value("kvm_host_tsc_frequency_hertz")
    first, second = ({key[2] for key in written if key[1] == vcpu} for vcpu in (0, 1))
    possible = [abs(one - other) / hertz for one in first for other in second]
    assert any(spread == pytest.approx(seconds, rel=0.02) for seconds in possible)
    assert ("vm-master-clock-off" in rules(scrape, "fresh")) == (not enabled)


def test_a_vm_that_waits_for_its_start(session_exporter: Exporter, host: Host) -> None:
    """KVM tells of none when it makes a VM, and decides when a vCPU runs: until then, nothing."""
    with EventCount("kvm_update_master_clock", "common_pid", "use_master_clock") as decisions:
        guest = host.start(LinuxGuest("unborn", extra=("-S",)), wait=False)
        threads = [int(path.name) for path in Path(f"/proc/{guest.pid}/task").iterdir()]
        told = {key[1] for key in decisions.read() if key[0] in threads}
    assert not any(map(int, told)), "KVM made it with a master clock: there is nothing to see here"
    scrape = eventually(
        session_exporter,
        lambda one: bool(one.samples("kvm_vm_tsc_offset_writes_total", vm="unborn")),
        "the VM's clock",
    )
    assert not scrape.samples("kvm_vm_master_clock_enabled", vm="unborn")
    assert "vm-master-clock-off" not in rules(scrape, "unborn")
    guest.resume()
    scrape = eventually(
        session_exporter,
        lambda one: bool(one.samples("kvm_vm_master_clock_enabled", vm="unborn")),
        "the VM's master clock",
    )
    on_tsc = current() == "tsc"
    if on_tsc:
        scrape = eventually(
            session_exporter,
            lambda one: one.value("kvm_vm_master_clock_enabled", vm="unborn") == 1,
            "its master clock turned on",
        )
    assert ("vm-master-clock-off" in rules(scrape, "unborn")) == (not on_tsc)


@pytest.mark.long
@pytest.mark.on_kernel("6.12")
def test_a_model_without_deadlines(session_exporter: Exporter, host: Host) -> None:
    """Its guest arms its timers by counts, each counted; features and advice are right."""
    guest = host.start(LinuxGuest("plain", cpu="qemu64", vcpus=1))
    scrape = eventually(
        session_exporter,
        lambda one: bool(one.samples("kvm_vm_cpu_feature", vm="plain")),
        "the VM's features",
    )
    features = {
        sample.labels["feature"]: sample.value
        for sample in scrape.samples("kvm_vm_cpu_feature", vm="plain")
    }
    assert features["tsc-deadline"] == features["invtsc"] == 0
    assert features["kvmclock"] == 1
    assert {"vm-tsc-deadline-hidden", "vm-invtsc-hidden"} <= rules(scrape, "plain")
    seen = watch(session_exporter, guest, lambda: guest.run("sleep 1; sleep 0.2; sleep 0.2"))
    check(seen, "plain")
    assert seen.counts > 0
    assert seen.moved("kvm_vm_tsc_deadline_arms_total", vm="plain") == 0


@pytest.mark.long
@pytest.mark.on_kernel("6.12")
def test_the_hosts_own_model(session_exporter: Exporter, clocked: LinuxGuest) -> None:
    """It passes the deadline timer, and Linux uses it; the TSC is not promised to be invariant."""
    scrape = eventually(
        session_exporter,
        lambda one: bool(one.samples("kvm_vm_cpu_feature", vm="clocked")),
        "the VM's features",
    )
    assert scrape.value("kvm_vm_cpu_feature", vm="clocked", feature="tsc-deadline") == 1
    assert scrape.value("kvm_vm_cpu_feature", vm="clocked", feature="kvmclock") == 1
    assert "vm-tsc-deadline-hidden" not in rules(scrape, "clocked")
    hidden = not scrape.value("kvm_vm_cpu_feature", vm="clocked", feature="invtsc")
    assert ("vm-invtsc-hidden" in rules(scrape, "clocked")) == hidden
    assert abs(scrape.value("kvm_vm_rtc_offset_seconds", vm="clocked")) < 2
    seen = watch(session_exporter, clocked, lambda: clocked.run("sleep 1; sleep 0.2"))
    check(seen, "clocked")
    assert seen.moved("kvm_vm_tsc_deadline_arms_total", vm="clocked") > 0
    assert seen.counts == 0


def _note(**numbers: object) -> None:
    """Keep what docs/how-it-works.md quotes."""
    path = Path(os.environ["KVMEXPORTER_LAB_RESULTS"]) / "how-it-works.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | numbers, indent=1))
    print(numbers, flush=True)


# What the clocks of an emulated host and of its guest drift apart between two questions.
DRIFT_SECONDS = 0.05

CLOCK_COUNTERS = (
    "kvm_vm_master_clock_changes_total",
    "kvm_vm_tsc_offset_writes_total",
    "kvm_vm_pvclock_updates_total",
)


@pytest.mark.long
@pytest.mark.on_kernel("6.12")
def test_a_pause_leaves_the_guest_behind(session_exporter: Exporter, clocked: LinuxGuest) -> None:
    """Three seconds of pause are three seconds that the guest's clock lacks, its agent says."""
    before, _ = agent_offset("clocked")
    earlier = session_exporter.scrape()
    begun = time.monotonic()
    clocked.pause()
    stopped = time.monotonic()
    time.sleep(3)
    least = time.monotonic() - stopped
    clocked.resume()
    most = time.monotonic() - begun
    after, uncertainty = agent_offset("clocked")
    later = session_exporter.scrape()
    moved = {
        name: later.total(name, vm="clocked") - earlier.total(name, vm="clocked")
        for name in CLOCK_COUNTERS
    }
    _note(paused={"seconds": (least, most), "before": before, "after": after, **moved})
    error = uncertainty + DRIFT_SECONDS
    assert least - error <= before - after <= most + error
    assert moved["kvm_vm_tsc_offset_writes_total"] == 0


@pytest.mark.long
@pytest.mark.on_kernel("6.12")
def test_a_restore_leaves_the_guest_behind(
    session_exporter: Exporter, clocked: LinuxGuest, host: Host
) -> None:
    """A VM restored from a file lacks the time that it lay there; its clock is a new one's."""
    before, _ = agent_offset("clocked")
    image = host.directory / "state"
    begun = time.monotonic()
    clocked.pause()
    stopped = time.monotonic()
    clocked.qmp("migrate", uri=f"exec:cat >{image}")
    _until(lambda: clocked.qmp("query-migrate").get("status") == "completed")
    twin = clocked.twin("restored")
    clocked.kill()
    host.start(twin, incoming=True)
    twin.qmp("migrate-incoming", uri=f"exec:cat {image}")
    _until(lambda: twin.qmp("query-status")["status"] == "paused")
    least = time.monotonic() - stopped
    twin.resume()
    most = time.monotonic() - begun
    assert twin.run("echo here") == "here\n"
    after, uncertainty = agent_offset("restored")
    scrape = eventually(
        session_exporter,
        lambda one: bool(one.samples("kvm_vm_tsc_offset_writes_total", vm="restored")),
        "the restored VM",
    )
    moved = {name: scrape.total(name, vm="restored") for name in CLOCK_COUNTERS}
    spread = scrape.value("kvm_vm_tsc_offset_spread_seconds", vm="restored")
    _note(
        restored={
            "seconds": (least, most), "before": before, "after": after, "spread": spread, **moved,
        }
    )  # fmt: skip
    error = uncertainty + DRIFT_SECONDS
    assert least - error <= before - after <= most + error
    assert moved["kvm_vm_tsc_offset_writes_total"] >= 2


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise GuestError("the machine's state did not come or go")
        time.sleep(0.1)
