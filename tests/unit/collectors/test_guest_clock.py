# SPDX-License-Identifier: Apache-2.0
"""A guest's clocks as metrics."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.collectors.guest_clock import GuestClockCollector
from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import TimexReading
from kvmexporter.model.role import Role, kvm_features
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.system import System
from tests.unit.clock_tree import ClockTree, vmclock_page
from tests.unit.host import Host
from tests.unit.ptp_driver import SECOND, PtpDriver

Series = dict[tuple[str, ...], float]

SYNCHRONIZED = TimexReading(0, 41, 0, 500, 20, 0x2001, 10_000, 37)
UNSYNCHRONIZED = TimexReading(5, 0, 0, 16_000_000, 16_000_000, 0x40, 10_000, 0)
FEATURES = kvm_features(0x01007EFB)


class Guest:
    """A guest on kvm-clock with a TSC-deadline timer, to be changed as a test needs it."""

    def __init__(self, host: Host, root: Path) -> None:
        self.tree = ClockTree(root)
        self.tree.clocksource("kvm-clock", "kvm-clock tsc acpi_pm")
        self.tree.clockevent(0, "lapic-deadline")
        self.tree.clockevent(1, "lapic-deadline")
        self.tree.attribute("devices/system/cpu/online", "0-1")
        (self.tree.proc / "stat").write_text("cpu  1 2 3 4 5 6 7 4243 9 10\n")
        self.ptp = PtpDriver()
        self.timex = SYNCHRONIZED
        self.role = Role(False, True, "CPUID says KVMKVMKVM", FEATURES)
        self._host = host
        self._made: list[GuestClockCollector] = []

    def add_ptp(self) -> None:
        self.tree.ptp("ptp0", "KVM virtual PTP")
        (self.tree.dev / "ptp0").touch()

    def collector(self) -> GuestClockCollector:
        system = System(
            role=self.role,
            sysfs=self.tree.sysfs,
            devices=self.tree.dev,
            adjtimex=lambda: self.timex,
            open_ptp=self.ptp.open,
        )
        sources = replace(self._host.sources(), procfs=Procfs(self.tree.proc), system=system)
        self._made.append(GuestClockCollector(sources))
        return self._made[-1]

    def look(self, collector: GuestClockCollector) -> tuple[dict[str, Series], list[str]]:
        """Metric → labels → value, without the prefix; and the rules of the findings."""
        sample = collector.sample(self._host.cycle())
        result: dict[str, Series] = {}
        for family in collector.families(sample):
            name = family.metric.name.removeprefix("kvm_guest_")
            for one in family.samples:
                assert isinstance(one.value, int | float)
                assert one.labels not in result.get(name, {})
                result.setdefault(name, {})[one.labels] = one.value
        return result, [finding.rule for finding in collector.findings(sample)]

    def close(self) -> None:
        for collector in self._made:
            collector.close()


@pytest.fixture
def guest(host: Host, tmp_path: Path) -> Iterator[Guest]:
    guest = Guest(host, tmp_path)
    yield guest
    guest.close()


def test_everything_that_a_calm_guest_shows(guest: Guest) -> None:
    """One scrape of a guest with ptp_kvm and a VMClock, whole, and no advice."""
    guest.add_ptp()
    guest.ptp.guest_ns += 1_500
    page = vmclock_page(flags=1 << 1 | 1 << 5 | 1 << 6, esterror_ns=4_000, maxerror_ns=90_000)
    (guest.tree.dev / "vmclock0").write_bytes(page)
    result, rules = guest.look(guest.collector())
    assert rules == []
    assert 0 < result.pop("clock_read_seconds")[()] < 1e-4
    assert result == {
        "clocksource_info": {
            ("kvm-clock", "current"): 1,
            ("tsc", "available"): 1,
            ("acpi_pm", "available"): 1,
        },
        "clockevent_info": {("lapic-deadline",): 1},
        "paravirtual_feature": {
            ("kvmclock",): 1,
            ("kvmclock-stable-bit",): 1,
            ("kvm-steal-time",): 1,
            ("kvm-pv-eoi",): 1,
            ("kvm-poll-control",): 1,
        },
        "tsc_feature": {
            ("constant",): 1,
            ("nonstop",): 1,
            ("known_freq",): 0,
            ("reliable",): 0,
            ("adjust",): 0,
            ("deadline_timer",): 1,
            ("invariant",): 1,
        },
        "clock_offset_seconds": {("ptp_kvm",): 1.5e-6},
        "clock_offset_uncertainty_seconds": {("ptp_kvm",): 1e-9},
        "clock_offset_method_info": {("ptp_kvm", "ptp0", "precise"): 1},
        "clock_synchronized": {(): 1},
        "clock_max_error_seconds": {(): 5e-4},
        "clock_steps_total": {(): 0},
        "clock_step_seconds_total": {("forward",): 0, ("backward",): 0},
        "steal_seconds_total": {(): 42.43},
        "cpus": {(): 2},
        "vmclock_info": {("vmclock0", "synchronized", "x86_tsc", "tai"): 1},
        "vmclock_disruptions_total": {("vmclock0",): 0},
        "vmclock_disruption_within_seconds": {("vmclock0",): 86_400},
        "vmclock_estimated_error_seconds": {("vmclock0",): 4e-6},
        "vmclock_max_error_seconds": {("vmclock0",): 9e-5},
    }


def test_no_clock_of_the_hosts(guest: Guest) -> None:
    """No /dev/ptp*, no /dev/vmclock*: a clear state, at once, and everything else."""
    begin = time.monotonic()
    result, rules = guest.look(guest.collector())
    assert time.monotonic() - begin < 0.5
    assert rules == ["guest-without-host-clock"]
    assert not [name for name in result if "offset" in name or "vmclock" in name]
    assert result["clocksource_info"]
    assert result["steal_seconds_total"] == {(): 42.43}


@pytest.mark.parametrize(
    ("ahead_ns", "rules"),
    [
        (0, []),
        (999_999, []),
        (1_000_001, ["guest-clock-offset"]),
        (-61 * SECOND, ["guest-clock-offset"]),
    ],
)
def test_the_offset(guest: Guest, ahead_ns: int, rules: list[str]) -> None:
    """Positive when the guest is ahead, negative when it is behind, after a restore say."""
    guest.add_ptp()
    guest.ptp.guest_ns += ahead_ns
    result, found = guest.look(guest.collector())
    assert result["clock_offset_seconds"] == {("ptp_kvm",): pytest.approx(ahead_ns / 1e9)}
    assert found == rules


def test_drift(guest: Guest) -> None:
    """None at first, then a ratio and never NaN."""
    guest.add_ptp()
    collector = guest.collector()
    assert "clock_drift_ratio" not in guest.look(collector)[0]
    guest.ptp.host_ns += 13 * SECOND
    guest.ptp.guest_ns += 13 * SECOND - 26_000
    assert guest.look(collector)[0]["clock_drift_ratio"] == {("ptp_kvm",): pytest.approx(-2e-6)}


def test_a_bad_guest(guest: Guest) -> None:
    """Each thing that is wrong is told, and once."""
    guest.role = replace(guest.role, features=kvm_features(0))
    guest.tree.clocksource("hpet", "hpet acpi_pm")
    guest.tree.clockevent(0, "hpet")
    guest.tree.clockevent(1, "lapic")
    guest.timex = UNSYNCHRONIZED
    (guest.tree.dev / "vmclock0").write_bytes(vmclock_page(status=4))
    result, rules = guest.look(guest.collector())
    assert rules == [
        "guest-clocksource",
        "guest-kvmclock-hidden",
        "guest-clockevent-not-deadline",
        "guest-clock-unsynchronized",
        "guest-without-host-clock",
        "guest-vmclock-unreliable",
    ]
    assert result["clockevent_info"] == {("hpet",): 1, ("lapic",): 1}
    assert result["vmclock_info"] == {("vmclock0", "unreliable", "x86_tsc", "tai"): 1}
    assert "vmclock_max_error_seconds" not in result


def test_a_nested_host(guest: Guest) -> None:
    """Its one clock is judged once, by the host's rules."""
    guest.role = Role(True, True, "--role both")
    guest.timex = UNSYNCHRONIZED
    result, rules = guest.look(guest.collector())
    assert result["clock_synchronized"] == {(): 0}
    assert rules == ["guest-without-host-clock"]


def test_a_disruption(guest: Guest) -> None:
    """A migration changes the marker: counted since the exporter started."""
    page = guest.tree.dev / "vmclock0"
    page.write_bytes(vmclock_page(marker=7))
    collector = guest.collector()
    assert guest.look(collector)[0]["vmclock_disruptions_total"] == {("vmclock0",): 0}
    page.write_bytes(vmclock_page(marker=8, sequence=4))
    assert guest.look(collector)[0]["vmclock_disruptions_total"] == {("vmclock0",): 1}


def test_not_a_guest(guest: Guest) -> None:
    """Nothing is opened, and the reason is what the role was judged by."""
    guest.add_ptp()
    guest.role = Role(True, False, "no sign of a hypervisor")
    with pytest.raises(Unavailable, match=r"no KVM guest \(no sign of a hypervisor\).*--role"):
        guest.look(guest.collector())
    assert guest.ptp.opened == []


def test_series_of_a_guest_are_few(guest: Guest) -> None:
    """However many CPUs it has."""
    guest.add_ptp()
    for cpu in range(288):
        guest.tree.clockevent(cpu, "lapic-deadline")
    result, _ = guest.look(guest.collector())
    assert sum(map(len, result.values())) < 40
