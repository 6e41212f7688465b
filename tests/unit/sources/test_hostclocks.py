# SPDX-License-Identifier: Apache-2.0
"""The hypervisor's clocks as a guest sees them come and go."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmexporter.sources.hostclocks import HostClocks
from tests.unit.clock_tree import ClockTree, vmclock_page
from tests.unit.ptp_driver import SECOND, PtpDriver


class Guest:
    """A guest with these clocks."""

    def __init__(self, root: Path) -> None:
        self.tree = ClockTree(root)
        self.ptp = PtpDriver()
        self._clocks: list[HostClocks] = []

    def add_ptp(self, device: str, name: str) -> None:
        self.tree.ptp(device, name)
        (self.tree.dev / device).touch()

    def clocks(self) -> HostClocks:
        self._clocks.append(HostClocks(self.tree.sysfs, self.tree.dev, self.ptp.open))
        return self._clocks[-1]

    def close(self) -> None:
        for clocks in self._clocks:
            clocks.close()


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    guest = Guest(tmp_path)
    before = open_descriptors()
    yield guest
    guest.close()
    assert open_descriptors() == before


def test_no_clock(guest: Guest) -> None:
    """A clear state: nothing, and no problem."""
    sample = guest.clocks().sample()
    assert (sample.offsets, sample.drifts, sample.vmclocks, sample.problems) == ({}, {}, {}, ())


def test_hardware_is_left_alone(guest: Guest) -> None:
    """A network card's clock is not the host's; it is not even opened."""
    guest.add_ptp("ptp0", "igb-eth0")
    assert guest.clocks().sample().offsets == {}
    assert guest.ptp.opened == []


def test_an_offset(guest: Guest) -> None:
    """By the clock's and the device's name; positive when the host is ahead."""
    guest.add_ptp("ptp1", "KVM virtual PTP")
    guest.ptp.host_ns += 1234
    offset = guest.clocks().sample().offsets["ptp_kvm", "ptp1"]
    assert (offset.offset_ns, offset.uncertainty_ns) == (1234, 1)


def test_drift(guest: Guest) -> None:
    """None before ten seconds; then how much faster the guest ran."""
    guest.add_ptp("ptp0", "KVM virtual PTP")
    clocks = guest.clocks()
    assert clocks.sample().drifts == {}
    guest.ptp.host_ns += 10 * SECOND
    guest.ptp.guest_ns += 10 * SECOND + 50_000
    drift = clocks.sample().drifts["ptp_kvm"]
    assert (drift.window_ns, drift.ratios) == (10 * SECOND, {"ptp_kvm": 5e-6})


def test_a_clock_that_comes_and_goes(guest: Guest) -> None:
    """Loading ptp_kvm while the exporter runs needs no restart, nor does unloading it."""
    clocks = guest.clocks()
    assert clocks.sample().offsets == {}
    guest.add_ptp("ptp0", "KVM virtual PTP")
    assert list(clocks.sample().offsets) == [("ptp_kvm", "ptp0")]
    (guest.tree.sys / "class/ptp/ptp0/clock_name").unlink()
    assert clocks.sample().offsets == {}
    assert guest.ptp.opened == ["ptp0"]


def test_what_is_open_stays_open(guest: Guest) -> None:
    """The node may become unreadable, as after giving up root: it is opened at the start."""
    guest.add_ptp("ptp0", "KVM virtual PTP")
    clocks = guest.clocks()
    assert guest.ptp.opened == ["ptp0"]
    (guest.tree.dev / "ptp0").unlink()
    assert list(clocks.sample().offsets) == [("ptp_kvm", "ptp0")]


def test_problems(guest: Guest) -> None:
    """A clock that is there and cannot be read is told of, and costs no other clock."""
    guest.tree.ptp("ptp0", "KVM virtual PTP")
    guest.add_ptp("ptp1", "vmclock0")
    (guest.tree.dev / "vmclock0").write_bytes(bytes(64))
    clocks = guest.clocks()
    sample = clocks.sample()
    assert list(sample.offsets) == [("ptp_vmclock0", "ptp1")]
    assert [problem.rpartition("/")[2] for problem in sample.problems] == [
        "ptp0: No such file or directory",
        "vmclock0: 64 bytes are too few for a VMClock page",
    ]
    guest.ptp.refusal = errno.EOPNOTSUPP
    assert "ptp1: the PTP clock does not answer: Operation not supported" in (
        clocks.sample().problems
    )


def test_disruptions(guest: Guest) -> None:
    """Changes of the marker since it was first read, whatever it was then."""
    page = guest.tree.dev / "vmclock0"
    page.write_bytes(vmclock_page(marker=2**63))
    clocks = guest.clocks()
    counts = []
    for marker in (2**63, 2**63 + 1, 2**63 + 1, 5, 5):
        page.write_bytes(vmclock_page(marker=marker))
        counts.append(clocks.sample().disruptions["vmclock0"])
    assert counts == [0, 1, 1, 2, 2]
