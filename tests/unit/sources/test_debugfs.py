# SPDX-License-Identifier: Apache-2.0
"""KVM's counters in a debugfs tree."""

import os
from pathlib import Path

import pytest

from kvmexporter.sources.debugfs import Debugfs


def vm(root: Path, name: str, **stats: object) -> Path:
    """The directory of a VM; stats: what its files hold."""
    place = root / "kvm" / name
    place.mkdir(parents=True)
    for stat, value in stats.items():
        (place / stat).write_text(f"{value}\n")
    return place


def test_no_debugfs(tmp_path: Path) -> None:
    """Not mounted, not loaded or not allowed: nothing."""
    assert Debugfs(tmp_path / "none").vms() == {}
    assert Debugfs(tmp_path).vms() == {}


def test_vms(tmp_path: Path) -> None:
    """By the thread that created them; what KVM keeps for all VMs is none."""
    for name in ("10-14", "11-5", "11-6"):
        vm(tmp_path, name)
    vm(tmp_path, "vcpu0")
    vm(tmp_path, "12-")
    (tmp_path / "kvm" / "exits").write_text("17\n")
    with Debugfs(tmp_path) as debugfs:
        found = {thread: sorted(names) for thread, names in debugfs.vms().items()}
    assert found == {10: ["10-14"], 11: ["11-5", "11-6"]}


def test_stats(tmp_path: Path) -> None:
    """Those asked for and there; of several VMs in one process, their sum."""
    vm(tmp_path, "10-14", exits=101, tlb_flush=3, halt_exits="", pf_fast="nan")
    vm(tmp_path, "10-15", exits=2)
    names = {"exits", "tlb_flush", "halt_exits", "pf_fast", "nested_run"}
    with Debugfs(tmp_path) as debugfs:
        assert debugfs.stats(["10-14"], names) == {}  # it is not open yet
        assert debugfs.open()
        assert debugfs.stats(["10-14", "10-15"], names) == {"exits": 103, "tlb_flush": 3}
        assert debugfs.stats([], names) == {}
        assert debugfs.stats(["99-1"], names) == {}


def test_nothing_else_is_opened(tmp_path: Path) -> None:
    """A file that nobody asked for is not touched: a pipe would block its reader for ever."""
    place = vm(tmp_path, "10-14", exits=101)
    os.mkfifo(place / "mmu_rmaps_stat")
    os.mkfifo(place / "tlb_flush")
    with Debugfs(tmp_path) as debugfs:
        debugfs.open()
        assert debugfs.stats([place.name], {"exits"}) == {"exits": 101}


def test_what_takes_the_mmu_lock_is_refused(tmp_path: Path) -> None:
    """Whoever asks for it."""
    with pytest.raises(ValueError, match="MMU lock"):
        Debugfs(tmp_path).stats([], {"exits", "mmu_rmaps_stat"})


def test_it_stays_open(tmp_path: Path) -> None:
    """For who may not come through the root of debugfs any more."""
    place = vm(tmp_path, "10-14", exits=101)
    with Debugfs(tmp_path) as debugfs:
        assert debugfs.open()
        (tmp_path / "kvm").rename(tmp_path / "elsewhere")
        assert debugfs.vms() == {10: ["10-14"]}
        assert debugfs.stats(["10-14"], {"exits"}) == {"exits": 101}
        vm(tmp_path, "10-15", exits=103)  # kvm was loaded anew
        assert debugfs.vms() == {10: ["10-15"]}
        assert debugfs.stats(["10-15"], {"exits"}) == {"exits": 103}
    assert debugfs.stats([place.name], {"exits"}) == {}


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    """However often it is opened."""
    vm(tmp_path, "10-14")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Debugfs(tmp_path) as debugfs:
        for _ in range(3):
            assert debugfs.vms() == {10: ["10-14"]}
    assert len(list(Path("/proc/self/fd").iterdir())) == before
