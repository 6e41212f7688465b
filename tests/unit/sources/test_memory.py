# SPDX-License-Identifier: Apache-2.0
"""Memory as procfs and sysfs show it: of this process, of one made of files, of none."""

import os
from pathlib import Path

import pytest

from kvmexporter.sources.memory import Memory
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.sysfs import Sysfs
from tests.unit.procfs_tree import ProcfsTree


def test_this_process_and_host() -> None:
    """The kernel's own files, against what they say elsewhere."""
    procfs = Procfs()
    memory = Memory(procfs, Sysfs())
    process = memory.process(os.getpid())
    assert process
    resident = sum(process.kinds[kind] for kind in ("anonymous", "file", "shared"))
    elsewhere = procfs.running(os.getpid())
    assert elsewhere
    assert resident == pytest.approx(elsewhere.resident_bytes, rel=0.1)
    host = memory.host()
    assert host.total == pytest.approx(os.sysconf("SC_PHYS_PAGES") * procfs.page_size, rel=0.01)
    assert 0 < host.available < host.total


def test_files(tree: ProcfsTree, tmp_path: Path) -> None:
    """What stands there."""
    tree.process(10)
    (tree.root / "10/status").write_text("RssAnon:\t 5 kB\nVmSwap:\t 7 kB\n")
    (tree.root / "10/ksm_stat").write_text("ksm_merging_pages 11\n")
    directory = tmp_path / "sys/kernel/mm/ksm"
    directory.mkdir(parents=True)
    for name, value in (("run", 1), ("pages_sharing", 13), ("full_scans", 17)):
        (directory / name).write_text(f"{value}\n")
    memory = Memory(tree.procfs, Sysfs(tmp_path / "sys"))
    process = memory.process(10)
    assert process
    assert process.kinds == {"anonymous": 5 * 1024, "swapped": 7 * 1024}
    assert process.merged == 11 * tree.procfs.page_size
    ksm = memory.ksm()
    assert ksm
    assert (ksm.run, ksm.sharing, ksm.full_scans) == (1, 13 * tree.procfs.page_size, 17)
    assert (ksm.profit, ksm.saved) == (None, ksm.sharing)


def test_nothing_there(tree: ProcfsTree, tmp_path: Path) -> None:
    """A process that is gone, a kernel without KSM."""
    memory = Memory(tree.procfs, Sysfs(tmp_path / "sys"))
    assert memory.process(10) is None
    assert memory.ksm() is None
    assert memory.host().total == 0
