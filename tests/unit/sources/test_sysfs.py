# SPDX-License-Identifier: Apache-2.0
"""Clocks, timers and parameters in /sys."""

from pathlib import Path

import pytest

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import Clocksources, PtpDevice
from kvmexporter.sources.sysfs import Sysfs
from tests.unit.clock_tree import ClockTree


def test_clocksources(tmp_path: Path) -> None:
    """The one in use and all that could be, in the kernel's order."""
    tree = ClockTree(tmp_path)
    tree.clocksource("hpet", "tsc hpet acpi_pm ")
    assert tree.sysfs.clocksources() == Clocksources("hpet", ("tsc", "hpet", "acpi_pm"))


def test_a_current_clocksource_that_is_not_listed(tmp_path: Path) -> None:
    """The kernel lists none that cannot keep a high-resolution timer, and may run on it."""
    tree = ClockTree(tmp_path)
    tree.clocksource("jiffies", "")
    assert tree.sysfs.clocksources() == Clocksources("jiffies", ("jiffies",))


def test_no_clocksource(tmp_path: Path) -> None:
    """Absent is not broken."""
    with pytest.raises(Unavailable, match="shows no clocksource"):
        Sysfs(tmp_path).clocksources()


def test_clockevents(tmp_path: Path) -> None:
    """By CPU number, the broadcast device and CPUs without a timer left out."""
    tree = ClockTree(tmp_path)
    for cpu in (10, 9, 0):
        tree.clockevent(cpu, "lapic-deadline")
    tree.clockevent(1, "")
    tree.attribute("devices/system/clockevents/broadcast/current_device", "hpet")
    assert list(tree.sysfs.clockevents().items()) == [
        (0, "lapic-deadline"),
        (9, "lapic-deadline"),
        (10, "lapic-deadline"),
    ]


def test_no_clockevents(tmp_path: Path) -> None:
    """Nothing there, nothing told."""
    assert Sysfs(tmp_path).clockevents() == {}


@pytest.mark.parametrize(
    ("online", "cpus"), [("0", 1), ("0-1", 2), ("0-3,5,8-11", 9), ("", None), ("0-x", None)]
)
def test_cpus_online(tmp_path: Path, online: str, cpus: int | None) -> None:
    """Every one of each range; nothing where the kernel says nothing."""
    tree = ClockTree(tmp_path)
    assert tree.sysfs.cpus_online() is None
    tree.attribute("devices/system/cpu/online", online)
    assert tree.sysfs.cpus_online() == cpus


def test_module_parameters(tmp_path: Path) -> None:
    """Numbers as they are, N and Y as 0 and 1; text and what is not there is left out."""
    tree = ClockTree(tmp_path)
    for name, value in {
        "yes": "Y", "no": "N", "plus": "200000", "minus": "-1", "text": "auto", "empty": "",
    }.items():  # fmt: skip
        tree.attribute(f"module/kvm/parameters/{name}", value)
    wanted = ("yes", "no", "plus", "minus", "text", "empty", "missing")
    assert tree.sysfs.module_parameters("kvm", wanted) == {
        "yes": 1,
        "no": 0,
        "plus": 200_000,
        "minus": -1,
    }
    assert tree.sysfs.module_parameters("kvm_intel", wanted) == {}


def test_ptp_devices(tmp_path: Path) -> None:
    """In numerical order."""
    tree = ClockTree(tmp_path)
    tree.ptp("ptp10", "igb-eth3")
    tree.ptp("ptp2", "KVM virtual PTP")
    assert tree.sysfs.ptp_devices() == (
        PtpDevice("ptp2", "KVM virtual PTP"),
        PtpDevice("ptp10", "igb-eth3"),
    )


def test_no_ptp_device(tmp_path: Path) -> None:
    """Clear state."""
    assert Sysfs(tmp_path).ptp_devices() == ()


def test_dmi(tmp_path: Path) -> None:
    """What the firmware says; nothing where there is none."""
    tree = ClockTree(tmp_path)
    tree.attribute("class/dmi/id/sys_vendor", "QEMU")
    assert tree.sysfs.dmi("sys_vendor") == "QEMU"
    assert tree.sysfs.dmi("product_name") == ""


def test_attributes_are_bounded(tmp_path: Path) -> None:
    """No file makes the exporter read more than a page."""
    tree = ClockTree(tmp_path)
    tree.attribute("class/dmi/id/sys_vendor", "x" * 100_000)
    assert len(tree.sysfs.dmi("sys_vendor")) == 4096


def test_this_system() -> None:
    """A real kernel shows a clocksource that is among those available, and a timer."""
    clocksources = Sysfs().clocksources()
    assert clocksources.current in clocksources.available
    assert 0 in Sysfs().clockevents()
