# SPDX-License-Identifier: Apache-2.0
"""The host's clocksource: its state, its changes, and what follows for a VM's master clock."""

import pytest

from tests.lab.clockwork import available, current, eventually, kept, rules, switch
from tests.lab.exporter import Exporter, Scrape
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host

CHANGES = "kvm_host_clocksource_changes_total"


def changed(before: Scrape, after: Scrape, origin: str, to: str) -> float:
    labels = {"from": origin, "to": to}
    return after.total(CHANGES, **labels) - before.total(CHANGES, **labels)


def seven_switches(exporter: Exporter, first: str, other: str) -> None:
    """Back and forth, seven times, without a scrape in between: each is counted."""
    assert current() == first
    before = exporter.scrape()
    assert before.samples("kvm_host_clocksource_watch_info", method="kernel_log")
    for number in range(7):
        switch(first if number % 2 else other)
    after = exporter.scrape()
    assert changed(before, after, first, other) == 4
    assert changed(before, after, other, first) == 3
    assert after.total(CHANGES) - before.total(CHANGES) == 7
    assert after.value("kvm_host_clocksource_info", clocksource=other, state="current") == 1
    assert "host-clocksource-changed" in rules(after)


@pytest.mark.on_kernel("6.12")
def test_a_host_whose_tsc_is_not_trusted(session_exporter: Exporter) -> None:
    """The state, seven changes counted, and the finding."""
    with kept():
        if current() != "hpet":  # the kernel judges an emulated TSC now so, now so
            switch("hpet")
        scrape = session_exporter.scrape()
        assert scrape.value("kvm_host_clocksource_info", clocksource="hpet", state="current") == 1
        assert "host-clocksource-not-tsc" in rules(scrape)
        seven_switches(session_exporter, "hpet", "acpi_pm")


@pytest.mark.on_tsc("reliable")
def test_a_host_on_its_tsc(session_exporter: Exporter, host: Host) -> None:
    """The state and the finding follow each switch, and so does a running VM's master clock."""
    assert {"tsc", "hpet"} <= set(available())
    scrape = session_exporter.scrape()
    assert scrape.value("kvm_host_clocksource_info", clocksource="tsc", state="current") == 1
    assert "host-clocksource-not-tsc" not in rules(scrape)
    guest = host.start(LinuxGuest("follower", vcpus=2))
    enabled = "kvm_vm_master_clock_enabled"
    scrape = session_exporter.scrape()
    assert scrape.value(enabled, vm="follower") == 1
    assert scrape.value("kvm_vm_master_clock_info", vm="follower", host_clock="tsc") == 1
    assert "vm-master-clock-off" not in rules(scrape, "follower")
    changes = scrape.total("kvm_vm_master_clock_changes_total", vm="follower")
    with kept():
        seven_switches(session_exporter, "tsc", "hpet")
        off = eventually(
            session_exporter,
            lambda one: one.value(enabled, vm="follower") == 0,
            "the master clock goes off",
        )
        assert {"host-clocksource-not-tsc"} <= rules(off)
        assert "vm-master-clock-off" in rules(off, "follower")
        assert off.value("kvm_vm_master_clock_info", vm="follower", host_clock="none") == 1
    # KVM decides anew when the VM's clock is set next, which QEMU does after a pause.
    guest.pause()
    guest.resume()
    on = eventually(
        session_exporter,
        lambda one: one.value(enabled, vm="follower") == 1,
        "the master clock comes back",
    )
    assert "vm-master-clock-off" not in rules(on, "follower")
    moved = on.total("kvm_vm_master_clock_changes_total", vm="follower") - changes
    assert moved >= 2
    assert moved % 2 == 0
