# SPDX-License-Identifier: Apache-2.0
"""Balloons as metrics."""

from dataclasses import replace

import pytest

from kvmexporter.addressing import Addressing, VmAddressing
from kvmexporter.collector import Cycle
from kvmexporter.collectors.balloon import BalloonCollector, BalloonSample
from kvmexporter.errors import Unavailable
from kvmexporter.model.balloon import Balloon
from kvmexporter.model.libvirt_domain import LibvirtDevice, LibvirtDomain
from kvmexporter.sources.qemu import QemuFacts
from tests.unit.balloons import ALL_OFFERED, MIB, WHOLE, balloon, observed
from tests.unit.host import Host

QEMU = ["/usr/bin/qemu-system-x86_64", "-name", "web", "-qmp", "unix:/run/web.sock,server=on"]
NOW = 1_700_000_100.0


class Made:
    """A collector of a host with one VM, and what is known of that VM."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.collector = BalloonCollector(host.sources(), lambda: NOW)

    def sample(
        self, found: Balloon | None, age: float = 3.0, trouble: str = ""
    ) -> list[BalloonSample]:
        cycle = self.host.cycle()
        facts = QemuFacts("10.0", (), (), balloon=found)
        known = VmAddressing((), (), facts, cycle.time - 50, trouble, cycle.time - age)
        cycle.addressing = {vm.id: known for vm in cycle.vms}
        return self.collector.sample(cycle)

    def series(self, found: Balloon, age: float = 3.0) -> dict[tuple[str, ...], object]:
        """(metric without its prefix, labels but the VM's…) → value."""
        families = self.collector.families(self.sample(found, age))
        result: dict[tuple[str, ...], object] = {}
        for family in families:
            for one in family.samples:
                assert one.labels[0] == "web"
                name = family.metric.name.removeprefix("kvm_vm_balloon_")
                result[name, *one.labels[1:]] = one.value
        return result


@pytest.fixture
def made(host: Host) -> Made:
    host.tree.process(10, QEMU)
    return Made(host)


def test_everything(made: Made) -> None:
    """One series of each, 23 in all: nothing else."""
    stats = {
        "free-memory": 5 * 4096, "available-memory": 7 * 4096, "total-memory": 11 * 4096,
        "disk-caches": 13 * 4096, "swap-in": 17 * 4096, "swap-out": 19 * 4096,
        "major-faults": 23, "minor-faults": 29, "htlb-pgalloc": 0, "htlb-pgfail": 0,
    }  # fmt: skip
    found = observed(
        *((256, 128), (200, 128), (203, 128)),
        stats=stats, stats_at=int(NOW) - 4, polling_seconds=5, offered=ALL_OFFERED,
    )  # fmt: skip
    assert made.series(found) == {
        ("actual_bytes",): 203 * MIB,
        ("target_bytes",): 128 * MIB,
        ("max_bytes",): WHOLE,
        ("age_seconds",): 3.0,
        ("short_seconds",): 20.0,
        ("changes_total", "inflate"): 1,
        ("changes_total", "deflate"): 1,
        ("moved_bytes_total", "inflate"): 56 * MIB,
        ("moved_bytes_total", "deflate"): 3 * MIB,
        ("stat_bytes", "free"): 5 * 4096,
        ("stat_bytes", "available"): 7 * 4096,
        ("stat_bytes", "total"): 11 * 4096,
        ("stat_bytes", "disk_caches"): 13 * 4096,
        ("swap_in_bytes_total",): 17 * 4096,
        ("swap_out_bytes_total",): 19 * 4096,
        ("faults_total", "major"): 23,
        ("faults_total", "minor"): 29,
        ("stats_age_seconds",): 4.0,
        ("stats_interval_seconds",): 5,
        ("feature", "deflate-on-oom"): 1,
        ("feature", "free-page-hint"): 1,
        ("feature", "free-page-reporting"): 1,
    }


def test_what_is_not_known_is_left_out(made: Made) -> None:
    """No target, no statistics, no features."""
    names = {key[0] for key in made.series(balloon(256, None).after(None, 1.0))}
    assert names == {"actual_bytes", "max_bytes", "age_seconds", "changes_total",
                     "moved_bytes_total"}  # fmt: skip


def test_huge_pages_and_kills(made: Made) -> None:
    """Where there have been any, or the guest tells of them."""
    found = balloon(stats={"htlb-pgalloc": 3, "htlb-pgfail": 5, "oom-kill": 0})
    series = made.series(found)
    assert series["hugetlb_allocations_total", "success"] == 3
    assert series["hugetlb_allocations_total", "failure"] == 5
    assert series["oom_kills_total",] == 0


def test_a_guest_that_reboots(made: Made) -> None:
    """Its counters begin anew, what is shown does not."""
    shown = [
        made.series(balloon(stats={"swap-in": value * 4096}))["swap_in_bytes_total",]
        for value in (7, 11, 0, 3)
    ]
    assert shown == [7 * 4096, 11 * 4096, 11 * 4096, 14 * 4096]


def test_a_clock_that_was_set_back(made: Made) -> None:
    """No statistics are from the future."""
    assert made.series(balloon(stats_at=int(NOW) + 60))["stats_age_seconds",] == 0


def test_old_answers(made: Made) -> None:
    """Told with their age for five minutes, then no more."""
    assert made.series(balloon(), age=299.0)["age_seconds",] == 299.0
    assert made.sample(balloon(), age=301.0) == []


@pytest.mark.parametrize(("age", "told"), [(301.0, True), (881.0, True), (883.0, False)])
def test_balloons_that_are_asked_for_seldom(host: Host, age: float, told: bool) -> None:
    """One that is looked at every seven minutes is told until two looks were missed."""
    host.tree.process(10, QEMU)
    sources = host.sources()
    seldom = Addressing(sources.inventory, None, host.tree.root, glance_seconds=441.0)
    cycle = Cycle(replace(sources, addressing=seldom), host.monotonic)
    facts = QemuFacts("10.0", (), (), balloon=balloon())
    known = VmAddressing((), (), facts, cycle.time - age, "", cycle.time - age)
    cycle.addressing = {vm.id: known for vm in cycle.vms}
    found = [cycle.balloon(vm) for vm in cycle.vms]
    assert found == ([(facts.balloon, age)] if told else [None])


def by_libvirt(host: Host, actual: int, age: float | None = 3.0) -> Cycle:
    """A cycle in which libvirt alone tells of the VM's balloon, sizes in MiB."""
    device = LibvirtDevice(
        "memballoon", "balloon0", "virtio", options={"autodeflate": "on"}, stats_period=7
    )
    domain = LibvirtDomain(
        "web", "", 10, memory_max_bytes=WHOLE, current_memory_bytes=actual * MIB, devices=(device,)
    )
    cycle = host.cycle()
    cycle.addressing = {}
    at = None if age is None else cycle.time - age
    cycle.vms = tuple(replace(vm, libvirt=domain, libvirt_at=at) for vm in cycle.vms)
    return cycle


def test_what_libvirt_keeps(host: Host) -> None:
    """What the guest has, not what it should have, nor what it says; moves are counted."""
    host.tree.process(10, QEMU)
    collector = BalloonCollector(host.sources(), lambda: NOW)
    for actual in (256, 200, 128, 131):
        sample = collector.sample(by_libvirt(host, actual))
    found = {
        (family.metric.name.removeprefix("kvm_vm_balloon_"), *one.labels[1:]): one.value
        for family in collector.families(sample)
        for one in family.samples
    }
    assert found == {
        ("actual_bytes",): 131 * MIB,
        ("max_bytes",): WHOLE,
        ("age_seconds",): 3.0,
        ("changes_total", "inflate"): 2,
        ("changes_total", "deflate"): 1,
        ("moved_bytes_total", "inflate"): 128 * MIB,
        ("moved_bytes_total", "deflate"): 3 * MIB,
        ("stats_interval_seconds",): 7,
        ("feature", "deflate-on-oom"): 1,
        ("feature", "free-page-hint"): 0,
        ("feature", "free-page-reporting"): 0,
    }
    rules = [one.rule for one in collector.findings(sample)]
    assert rules == ["balloon-no-free-page-reporting"]


@pytest.mark.parametrize(("age", "told"), [(299.0, True), (301.0, False), (None, False)])
def test_a_libvirt_that_is_gone(host: Host, age: float | None, told: bool) -> None:
    """What it kept is told with its age for five minutes; not at all if it was never there."""
    host.tree.process(10, QEMU)
    cycle = by_libvirt(host, 200, age)
    sources = host.sources()
    found = cycle.balloon(cycle.vms[0])
    assert (found is not None) == told
    if found:
        assert [one.age_seconds for one in BalloonCollector(sources).sample(cycle)] == [age]
    else:
        with pytest.raises(Unavailable, match="no VM here has a balloon"):
            BalloonCollector(sources).sample(seen(cycle))


def test_the_monitor_before_libvirt(made: Made, host: Host) -> None:
    """Who has been asked himself is believed; no count goes down from one to the other."""
    cycle = by_libvirt(host, 200)
    facts = QemuFacts("10.0", (), (), balloon=observed((256, 256), (128, 128)))
    known = VmAddressing((), (), facts, cycle.time - 50, "", cycle.time - 1)
    cycle.addressing = {vm.id: known for vm in cycle.vms}
    for one, actual, moved in ((cycle, 128, 128), (by_libvirt(host, 200), 200, 128)):
        (sample,) = made.collector.sample(one)
        assert sample.balloon.actual_bytes == actual * MIB
        assert sample.counters["inflated"] == moved * MIB


def seen(cycle: Cycle) -> Cycle:
    """The same after visits to all VMs that had no question for them."""
    known = VmAddressing((), (), None, None, "no answer", None)
    cycle.addressing = {vm.id: known for vm in cycle.vms}
    return cycle


def test_nobody_has_one(made: Made, host: Host) -> None:
    """Said with the reason; but not while somebody has yet to be asked."""
    with pytest.raises(Unavailable, match="no VM here has a balloon"):
        made.sample(None)
    assert made.collector.sample(host.cycle()) == []


def test_no_vm(host: Host) -> None:
    """No VM, no series, and nothing is missing."""
    assert BalloonCollector(host.sources()).sample(host.cycle()) == []


def test_findings(made: Made) -> None:
    """Every rule is asked."""
    found = observed(
        *((200, 128), (200, 128)),
        stats={"total-memory": 100 * MIB, "available-memory": MIB, "swap-in": 0, "swap-out": 0},
        stats_at=int(NOW),
        polling_seconds=5,
        offered={"deflate-on-oom": False, "free-page-reporting": False},
    )
    found = replace(found, history=replace(found.history, swapped_at=1010.0, swapped_bytes=8 * MIB))
    rules = [one.rule for one in made.collector.findings(made.sample(found))]
    assert rules == [
        "balloon-stuck", "balloon-oom-risk", "balloon-guest-swapping", "balloon-no-deflate-on-oom",
        "balloon-no-free-page-reporting",
    ]  # fmt: skip
    off = balloon(polling_seconds=0)
    assert [one.rule for one in made.collector.findings(made.sample(off))] == [
        "balloon-statistics-off"
    ]
