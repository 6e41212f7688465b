# SPDX-License-Identifier: Apache-2.0
"""The shipped unit's sandbox on a host with hardware virtualisation: everything works in it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.devices import Disk
from tests.lab.exporter import Exporter
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.window import observe
from tests.lab.witness import kvm_statistics
from tests.waiting import eventually

pytestmark = [pytest.mark.on_kernel("6.12"), pytest.mark.long]

PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
CLOCKSOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
READS = 1009
MUTE = "mute"


@pytest.fixture
def boxed() -> Iterator[Exporter]:
    before = PARANOID.read_text()
    PARANOID.write_text("2")  # as docs/install.md tells for Debian
    exporter = Exporter(port=19186)
    exporter.command = [sys.executable, "-m", "tests.sandbox", *exporter.command]
    try:
        yield exporter.start()
    finally:
        exporter.close()
        PARANOID.write_text(before)


@pytest.fixture
def mute() -> Iterator[subprocess.Popen[bytes]]:
    """A VM that cannot be asked: its counters are in debugfs alone, which is root's."""
    with subprocess.Popen(
        ["qemu-system-x86_64", "-name", f"guest={MUTE}", "-nodefaults", "-display", "none",
         "-machine", "pc,accel=kvm", "-m", "32M"],
    ) as machine:  # fmt: skip
        yield machine
        machine.kill()


def test_everything_works(boxed: Exporter, host: Host, mute: subprocess.Popen[bytes]) -> None:
    """Exits to the event, devices, balloon, clocks, and KVM's counters in debugfs."""
    nic = host.tap("net0")
    guest = host.start(LinuxGuest("boxed", disks=(Disk("disk0"),), nics=(nic,), balloon=True))
    boxed.wait_for("kvm_vm_balloon_actual_bytes", vm="boxed")
    boxed.wait_for("kvm_vm_device_info", vm="boxed", device="net0")
    window = observe(
        boxed, guest, lambda: guest.run(f"dd if=/dev/vda of=/dev/null bs=4096 count={READS}")
    )
    ours = window.moved("kvm_vm_exits_total", "reason", vm="boxed")
    assert {key[0]: n for key, n in ours.items()} == dict(window.by_reason())
    mute.send_signal(19)  # SIGSTOP: it makes no exit any more
    eventually(
        lambda: (
            boxed.scrape().value("kvm_vm_kvm_stat_total", vm=MUTE, stat="exits")
            == kvm_statistics(mute.pid)["exits"]
        ),
        "KVM's own count of exits",
        seconds=30,
        every=0.5,
    )
    scrape = boxed.scrape()
    success = scrape.by("collector", "kvmexporter_collector_success")
    assert success == dict.fromkeys(success, 1.0)
    assert {"exits", "io", "devices", "balloon", "kvm_stats", "timekeeping", "vm_clock"} <= set(
        success
    )
    attached = scrape.by("tracepoint", "kvmexporter_bpf_attached")
    assert attached == dict.fromkeys(attached, 1.0)
    current = CLOCKSOURCE.read_text().strip()
    assert scrape.value("kvm_host_clocksource_info", clocksource=current, state="current") == 1
    assert " level=error " not in boxed.log()
    assert boxed.stop() == 0
