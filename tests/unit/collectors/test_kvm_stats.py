# SPDX-License-Identifier: Apache-2.0
"""KVM's own counters as metrics."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.addressing import VmAddressing
from kvmexporter.collectors.kvm_stats import FAILED_POLLS, STATS, KvmStatsCollector
from kvmexporter.errors import Unavailable
from kvmexporter.sources.debugfs import Debugfs
from kvmexporter.sources.qemu import QemuFacts
from tests.unit.host import Host

QEMU = "/usr/bin/qemu-system-x86_64"
WITH_QMP = [QEMU, "-name", "web", "-qmp", "unix:/run/web.sock,server=on,wait=off"]

Stats = Mapping[str, int]


class Made:
    """A collector of a host with one VM, and what is known of that VM."""

    def __init__(self, host: Host, debugfs: Path) -> None:
        self.host = host
        self.debugfs = debugfs
        sources = replace(host.sources(), debugfs=Debugfs(debugfs))
        self.collector = KvmStatsCollector(sources)

    def show(self, stats: Stats, creator: int = 10) -> None:
        """Let debugfs show them."""
        place = self.debugfs / f"kvm/{creator}-14"
        place.mkdir(parents=True, exist_ok=True)
        for name, value in stats.items():
            (place / name).write_text(f"{value}\n")

    def series(
        self, vm: Stats | None = None, vcpu: Stats | None = None, trouble: str = ""
    ) -> dict[tuple[str, ...], object]:
        """Labels → value of each counter, after the VMM has said this, if anything."""
        return self.families(vm, vcpu, trouble)[STATS.name]

    def families(
        self, vm: Stats | None = None, vcpu: Stats | None = None, trouble: str = ""
    ) -> dict[str, dict[tuple[str, ...], object]]:
        """Metric → labels → value, after the VMM has said this, if anything."""
        cycle = self.host.cycle()
        told = (
            None if vm is None and vcpu is None else QemuFacts("10.0", (), (), vm or {}, vcpu or {})
        )
        if told or trouble:
            known = VmAddressing((), (), told, 1.0 if told else None, trouble)
            cycle.addressing = {one.id: known for one in cycle.vms}
        return {
            family.metric.name: {sample.labels: sample.value for sample in family.samples}
            for family in self.collector.families(self.collector.sample(cycle))
        }


@pytest.fixture
def made(host: Host, tmp_path: Path) -> Made:
    host.tree.process(10, WITH_QMP)
    return Made(host, tmp_path / "debug")


def test_no_vm(host: Host, tmp_path: Path) -> None:
    """No VM, no series, and nothing is missing."""
    assert Made(host, tmp_path).series() == {}


def test_what_the_vmm_tells(made: Made) -> None:
    """The VM's and its vCPUs' in one; zeros and what nobody can make use of are left out."""
    result = made.series(
        {"remote_tlb_flush": 3, "pages_4k": 7, "max_mmu_rmap_size": 11, "pf_taken": 0},
        {"exits": 101, "halt_exits": 13, "guest_mode": 1, "nested_run": 0, "halt_wait_ns": 17},
    )
    assert result == {
        ("web", "remote_tlb_flush"): 3,
        ("web", "exits"): 101,
        ("web", "halt_exits"): 13,
    }


def test_what_debugfs_shows(made: Made) -> None:
    """Where the VMM does not tell: it is too old, or cannot be asked."""
    made.show({"exits": 103, "tlb_flush": 5, "pages_4k": 7, "io_exits": 0})
    expected = {("web", "exits"): 103, ("web", "tlb_flush"): 5}
    assert made.series() == expected
    assert made.series({}, {}) == expected
    assert made.series(trouble="no answer") == expected


def test_the_vmm_comes_first(made: Made) -> None:
    """What it told is taken whole, and nothing added."""
    made.show({"exits": 103, "tlb_flush": 5})
    assert made.series({}, {"exits": 107}) == {("web", "exits"): 107}


def test_the_time_of_polls(made: Made) -> None:
    """In seconds, and as zero, too, where it is told; an older kernel's VM has none."""
    told = made.families({}, {"exits": 101})
    assert told == {STATS.name: {("web", "exits"): 101}, FAILED_POLLS.name: {}}
    for ns, seconds in ((0, 0), (2_500_000_000, 2.5)):
        told = made.families({}, {"exits": 101, "halt_poll_fail_ns": ns})
        assert told == {
            STATS.name: {("web", "exits"): 101},
            FAILED_POLLS.name: {("web",): seconds},
        }


def test_the_time_of_polls_in_debugfs(made: Made) -> None:
    """Where the VMM does not tell."""
    made.show({"halt_poll_fail_ns": 7_000_000})
    assert made.families()[FAILED_POLLS.name] == {("web",): 0.007}


def test_a_vm_that_another_thread_of_its_process_created(made: Made) -> None:
    """Its directory has that thread's number."""
    (made.host.tree.root / "10/task/12").mkdir(parents=True)
    made.show({"exits": 109}, creator=12)
    made.show({"exits": 7}, creator=13)
    assert made.series() == {("web", "exits"): 109}


def test_counters_never_go_down(made: Made) -> None:
    """Neither when a vCPU is unplugged nor with another source that is behind."""
    shown = [made.series({}, {"exits": value}) for value in (100, 150, 90, 97)]
    made.show({"exits": 95})
    shown += [made.series({}, {}), made.series({}, {"exits": 98})]
    assert [one["web", "exits"] for one in shown] == [100, 150, 150, 157, 157, 160]


def test_what_is_not_told_any_more_stays(made: Made) -> None:
    """A VMM that has stopped to answer is no reason to begin anew."""
    assert made.series({"tlb_flush": 3}, {"exits": 101}) == made.series(trouble="no answer")
    assert made.series({}, {"exits": 103}) == {("web", "tlb_flush"): 3, ("web", "exits"): 103}


def test_another_vm_with_that_pid_begins_anew(made: Made) -> None:
    """It inherits nothing."""
    made.series({}, {"exits": 101})
    made.host.tree.process(10, WITH_QMP, start_ticks=5003)
    assert made.series({}, {"exits": 2}) == {("web", "exits"): 2}


def test_nobody_has_them(made: Made) -> None:
    """Said with the reason; but not while nobody has been asked yet."""
    assert made.series() == {}
    with pytest.raises(Unavailable, match=r"no VMM tells .*/debug/kvm shows none.*QEMU 7\.1"):
        made.series(trouble="no answer")
    with pytest.raises(Unavailable):
        made.series({}, {})


def test_a_vm_that_cannot_be_asked(host: Host, tmp_path: Path) -> None:
    """Nobody waits for an answer of one without a socket."""
    host.tree.process(10, [QEMU, "-name", "web"])
    with pytest.raises(Unavailable):
        Made(host, tmp_path).series()
