# SPDX-License-Identifier: Apache-2.0
"""VMs are told apart, come and go, and never inherit from one another."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guest import BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import Exporter

_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


@pytest.fixture(autouse=True)
def _kvm() -> None:
    require_kvm()


def io_exits(exporter: Exporter, vm: str) -> int:
    return int(exporter.scrape().sum("kvm_vm_io_exits_total", vm=vm, direction="read"))


def test_two_guests_are_told_apart() -> None:
    """What one guest does moves its own counters alone."""
    with Exporter() as exporter, BareMetalGuest("one") as one, BareMetalGuest("two") as two:
        one.wait_ready()
        two.wait_ready()
        before = {vm: io_exits(exporter, vm) for vm in ("one", "two")}
        one.run(serial_read=101)
        two.run(serial_read=103)
        assert io_exits(exporter, "one") - before["one"] == 101
        assert io_exits(exporter, "two") - before["two"] == 103


def test_a_killed_guest_is_gone_from_the_next_scrape() -> None:
    """A VM that died is in no series any more."""
    with Exporter() as exporter, BareMetalGuest("mortal") as guest:
        guest.wait_ready()
        guest.run(serial_read=7)
        assert io_exits(exporter, "mortal") > 7
        guest.kill()
        assert 'vm="mortal"' not in exporter.scrape().text


def test_nothing_leaks_into_a_reused_pid() -> None:
    """A VM whose process and threads have a dead VM's numbers starts from nothing."""
    with Exporter() as exporter:
        with BareMetalGuest("first") as first:
            first.wait_ready()
            first.run(serial_read=10007)
            pid, tids = first.pid, first.vcpu_tids
            first.kill()
        # No scrape in between: the records of the first are still where it left them.
        with _guest_of_pid("second", pid) as second:
            second.wait_ready()
            assert second.pid == pid
            before = io_exits(exporter, "second")
            assert before < 10007, "the firmware alone makes fewer reads than the first guest did"
            second.run(serial_read=11)
            assert io_exits(exporter, "second") - before == 11
            assert 'vm="first"' not in exporter.scrape().text
            print(f"threads of the first: {tids}, of the second: {second.vcpu_tids}")


@contextmanager
def _guest_of_pid(name: str, pid: int) -> Iterator[BareMetalGuest]:
    """A started guest whose process has that number; others may take it first, so tries again."""
    for _ in range(20):
        guest = BareMetalGuest(name)
        _LAST_PID.write_text(str(pid - 1))
        try:
            guest.start()
            if guest.pid == pid:
                yield guest
                return
        finally:
            guest.stop()
    raise AssertionError(f"process number {pid} could not be had again")
