# SPDX-License-Identifier: Apache-2.0
"""The host's memory as metrics."""

from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.addressing import VmAddressing
from kvmexporter.collector import Cycle, Sources
from kvmexporter.collectors.memory import MemoryCollector
from kvmexporter.errors import Unavailable
from kvmexporter.model.role import Role
from kvmexporter.sources.qemu import QemuFacts
from kvmexporter.sources.sysfs import Sysfs
from kvmexporter.sources.system import System
from tests.unit.balloons import MIB, balloon
from tests.unit.host import Host

KIB = 1024
QEMU = "/usr/bin/qemu-system-x86_64"
STATUS = """\
RssAnon:\t 101 kB
RssFile:\t 103 kB
RssShmem:\t 107 kB
VmSwap:\t 20480 kB
HugetlbPages:\t 0 kB
"""


def sources(host: Host, tmp_path: Path, is_host: bool = True) -> Sources:
    role = Role(is_host, False, "a test")
    return replace(host.sources(), system=System(role, Sysfs(tmp_path / "sys")))


@pytest.fixture
def full(host: Host, tmp_path: Path) -> Host:
    """A host of 512 MiB with KSM; two VMs of 256 MiB and one that does not tell."""
    (host.tree.root / "meminfo").write_text(
        "MemTotal: 524288 kB\nMemAvailable: 13 kB\nSwapTotal: 0 kB\n"
    )
    host.tree.process(10, [QEMU, "-name", "web", "-m", "256"], 1000)
    host.tree.process(11, [QEMU, "-name", "db", "-m", "256"], 1001)
    host.tree.process(12, ["/opt/vmm"], 1002)
    (host.tree.root / "10/status").write_text(STATUS)
    (host.tree.root / "10/ksm_stat").write_text("ksm_merging_pages 17\n")
    ksm = tmp_path / "sys/kernel/mm/ksm"
    ksm.mkdir(parents=True)
    for name, value in (
        ("run", 1), ("pages_shared", 2), ("pages_sharing", 19), ("pages_unshared", 5),
        ("pages_volatile", 7), ("full_scans", 23), ("general_profit", -640),
    ):  # fmt: skip
        (ksm / name).write_text(f"{value}\n")
    return host


def cycle_with_balloon(host: Host, age: float = 3.0) -> Cycle:
    """The first VM's balloon holds 56 of its 256 MiB."""
    cycle = host.cycle()
    facts = QemuFacts("10.0", (), (), balloon=balloon(200, 200))
    glanced = cycle.time - age
    cycle.addressing = {cycle.vms[0].id: VmAddressing((), (), facts, 1.0, "", glanced)}
    return cycle


def test_everything(full: Host, tmp_path: Path) -> None:
    """VM by VM, and the host's; a process that shows nothing has no series."""
    collector = MemoryCollector(sources(full, tmp_path))
    sample = collector.sample(cycle_with_balloon(full))
    found = {
        (family.metric.name, *one.labels): one.value
        for family in collector.families(sample)
        for one in family.samples
    }
    page = full.tree.procfs.page_size
    assert found == {
        ("kvm_vm_process_memory_bytes", "web", "anonymous"): 101 * KIB,
        ("kvm_vm_process_memory_bytes", "web", "file"): 103 * KIB,
        ("kvm_vm_process_memory_bytes", "web", "shared"): 107 * KIB,
        ("kvm_vm_process_memory_bytes", "web", "swapped"): 20480 * KIB,
        ("kvm_vm_process_memory_bytes", "web", "hugetlb"): 0,
        ("kvm_vm_ksm_merged_bytes", "web"): 17 * page,
        ("kvm_host_memory_bytes",): 512 * MIB,
        ("kvm_host_memory_available_bytes",): 13 * KIB,
        ("kvm_host_memory_promised_bytes",): 512 * MIB,
        ("kvm_host_memory_saved_bytes", "balloon"): 56 * MIB,
        ("kvm_host_memory_saved_bytes", "ksm"): -640,
        ("kvm_host_ksm_running",): 1,
        ("kvm_host_ksm_memory_bytes", "shared"): 2 * page,
        ("kvm_host_ksm_memory_bytes", "sharing"): 19 * page,
        ("kvm_host_ksm_memory_bytes", "unshared"): 5 * page,
        ("kvm_host_ksm_memory_bytes", "volatile"): 7 * page,
        ("kvm_host_ksm_full_scans_total",): 23,
    }
    assert sample.host.unknown == 1


@pytest.mark.parametrize(("age", "held"), [(299.0, 56 * MIB), (301.0, 0)])
def test_a_balloon_of_the_past(full: Host, tmp_path: Path, age: float, held: int) -> None:
    """Counts for as long as it is told."""
    collector = MemoryCollector(sources(full, tmp_path))
    assert collector.sample(cycle_with_balloon(full, age)).host.ballooned == held


def test_findings(full: Host, tmp_path: Path) -> None:
    """Every rule is asked."""
    full.tree.process(13, [QEMU, "-name", "more", "-m", "1"], 1003)
    collector = MemoryCollector(sources(full, tmp_path))
    findings = collector.findings(collector.sample(full.cycle()))
    assert [(one.rule, one.vm) for one in findings] == [
        ("host-memory-overcommitted", ""),
        ("vm-memory-swapped", "web"),
        ("host-ksm-no-profit", ""),
    ]


def test_ksm_that_never_ran(full: Host, tmp_path: Path) -> None:
    """No VM's share of it is told."""
    for name in ("run", "full_scans"):
        (tmp_path / "sys/kernel/mm/ksm" / name).write_text("0\n")
    collector = MemoryCollector(sources(full, tmp_path))
    found = list(collector.families(collector.sample(full.cycle())))
    named = {family.metric.name: len(family.samples) for family in found}
    assert named["kvm_vm_ksm_merged_bytes"] == 0
    assert named["kvm_host_ksm_running"] == 1


def test_no_host(host: Host, tmp_path: Path) -> None:
    """Said with the reason; a host without a VM has its memory all the same."""
    with pytest.raises(Unavailable, match="no KVM host"):
        MemoryCollector(sources(host, tmp_path, is_host=False)).sample(host.cycle())
    sample = MemoryCollector(sources(host, tmp_path)).sample(host.cycle())
    assert (sample.host.promised, sample.vms) == (0, {})
