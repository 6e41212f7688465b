# SPDX-License-Identifier: Apache-2.0
"""VMClock devices."""

import mmap
import os
import threading
import time
from pathlib import Path

import pytest

from kvmexporter.errors import KvmExporterError, Unavailable
from kvmexporter.sources.vmclock import VmClockDevice, find
from tests.unit.clock_tree import vmclock_page

UPDATES = 61


def test_find(tmp_path: Path) -> None:
    """Every device, by name."""
    for name in ("vmclock1", "vmclock0", "vmci", "ptp0"):
        (tmp_path / name).touch()
    assert [path.name for path in find(tmp_path)] == ["vmclock0", "vmclock1"]
    assert find(tmp_path / "missing") == []


def test_read(tmp_path: Path) -> None:
    """As often as it is asked, always from the beginning."""
    path = tmp_path / "vmclock0"
    path.write_bytes(vmclock_page(marker=7))
    device = VmClockDevice.open(path)
    assert [device.read().disruption_marker for _ in range(3)] == [7, 7, 7]
    path.write_bytes(vmclock_page(sequence=4, marker=11))
    assert device.read().disruption_marker == 11
    device.close()
    device.close()


def test_an_update_that_never_ends(tmp_path: Path) -> None:
    """It gives up, and does not stall."""
    path = tmp_path / "vmclock0"
    path.write_bytes(vmclock_page(sequence=3))
    device = VmClockDevice.open(path)
    with pytest.raises(KvmExporterError, match="vmclock0: the hypervisor never ends"):
        device.read()
    device.close()


def test_no_page_is_read_in_halves(tmp_path: Path) -> None:
    """Against a hypervisor that updates all the time, marker and sequence always fit."""
    path = tmp_path / "vmclock0"
    path.write_bytes(vmclock_page(sequence=0, marker=0))
    device = VmClockDevice.open(path)
    done = threading.Event()

    def update() -> None:
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 4096) as page:
            number = 0
            while not done.is_set():
                number += 1
                page[12:16] = (number * 2 - 1 & 0xFFFFFFFF).to_bytes(4, "little")
                page[16:24] = (number * 3).to_bytes(8, "little")
                page[12:16] = (number * 2 & 0xFFFFFFFF).to_bytes(4, "little")
                os.sched_yield()

    thread = threading.Thread(target=update)
    thread.start()
    seen: set[int] = set()
    try:
        deadline = time.monotonic() + 30
        while len(seen) < UPDATES and time.monotonic() < deadline:
            try:
                clock = device.read()
            except KvmExporterError:
                continue  # met an update each time: told, never half of it
            assert clock.disruption_marker * 2 == clock.sequence * 3
            seen.add(clock.sequence)
    finally:
        done.set()
        thread.join()
        device.close()
    assert len(seen) == UPDATES


@pytest.mark.parametrize(
    ("page", "message"),
    [(b"", "0 bytes are too few"), (bytes(4096), "magic number"), (b"\xff" * 64, "64 bytes")],
)
def test_no_such_page(tmp_path: Path, page: bytes, message: str) -> None:
    """Told with the device's name."""
    path = tmp_path / "vmclock3"
    path.write_bytes(page)
    device = VmClockDevice.open(path)
    with pytest.raises(KvmExporterError, match=f"vmclock3: .*{message}"):
        device.read()
    device.close()


def test_no_device(tmp_path: Path) -> None:
    """Told with its remedy."""
    with pytest.raises(Unavailable, match="vmclock0: No such file"):
        VmClockDevice.open(tmp_path / "vmclock0")
