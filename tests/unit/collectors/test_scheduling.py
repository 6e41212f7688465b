# SPDX-License-Identifier: Apache-2.0
"""The times of vCPU threads and vhost workers as metrics."""

from typing import Any

import pytest

from kvmexporter.collector import Cycle
from kvmexporter.collectors.scheduling import SchedulingCollector
from kvmexporter.errors import Unavailable
from kvmexporter.units import NS_PER_SECOND
from tests.unit.host import Host, without_bpf
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.thread_tree import ThreadTree

QEMU = "/usr/bin/qemu-system-x86_64"
S = NS_PER_SECOND


class Made:
    """A host with the VM `web` (10), its threads, and a collector."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.threads = ThreadTree(host.tree.root)
        host.tree.process(10, [QEMU, "-name", "web"])
        self.collector = SchedulingCollector(host.sources())

    def series(self, cycle: Cycle | None = None) -> dict[tuple[str, ...], Any]:
        """(metric, VM) → value."""
        given = self.collector.families(self.collector.sample(cycle or self.host.cycle()))
        return {
            (_short(family.metric.name), *one.labels): one.value
            for family in given
            for one in family.samples
        }


def _short(metric: str) -> str:
    return metric.removeprefix("kvm_vm_").removesuffix("_seconds_total")


@pytest.fixture
def made(host: Host) -> Made:
    return Made(host)


def test_no_vm(host: Host) -> None:
    """No VM, no series."""
    collector = SchedulingCollector(host.sources())
    assert collector.sample(host.cycle()) == []


def test_the_threads_that_bpf_has_met(made: Made) -> None:
    """Added up by VM; others of the process, and threads of none, do not count."""
    made.host.tree.process(20, [QEMU, "-name", "db"])
    for tid, cpu, delay in ((11, 2, 3), (12, 5, 7)):
        made.threads.thread(10, tid, "qemu-system-x86", cpu * S, delay * S)
        made.host.vcpu(tid, 10)
    made.threads.thread(10, 13, "IO iothread0", 1009 * S, 1009 * S)
    made.threads.thread(20, 21, "qemu-system-x86", 11 * S, 13 * S)
    made.host.vcpu(21, 20)
    assert made.series() == {
        ("run_delay", "web"): 10,
        ("run_delay", "db"): 13,
        ("vcpu_cpu", "web"): 7,
        ("vcpu_cpu", "db"): 11,
    }


def test_many_vms_take_turns(made: Made) -> None:
    """A scrape reads so many threads; who was not read shows what was read of it last."""
    made.host.tree.process(20, [QEMU, "-name", "db"])
    for tid, tgid in ((11, 10), (12, 10), (21, 20), (22, 20)):
        made.threads.thread(tgid, tid, "qemu-system-x86", 2 * S, 3 * S)
        made.host.vcpu(tid, tgid)
    made.collector = SchedulingCollector(made.host.sources(), most_threads=2)
    first, second = ("vcpu_cpu", "web"), ("vcpu_cpu", "db")
    assert {key: value for key, value in made.series().items() if key in (first, second)} == {
        first: 4
    }
    for tid, tgid in ((11, 10), (21, 20)):
        made.threads.thread(tgid, tid, "qemu-system-x86", 5 * S, 7 * S)
    seen = made.series()
    assert (seen[first], seen[second]) == (4, 7)
    seen = made.series()
    assert (seen[first], seen[second]) == (7, 7)


@pytest.mark.parametrize("name", ["CPU 10/KVM", "fc_vcpu 0", "vcpu3", "crosvm_vcpu0", "kvm-vcpu-1"])
def test_without_bpf(tree: ProcfsTree, name: str) -> None:
    """The threads that their VMM has named."""
    threads = ThreadTree(tree.root)
    tree.process(10, [QEMU, "-name", "web"])
    threads.thread(10, 10, "qemu-system-x86", 17 * S)
    threads.thread(10, 11, name, 2 * S, 3 * S)
    threads.thread(10, 12, f"{name}x", 19 * S)
    sources = without_bpf(tree)
    collector = SchedulingCollector(sources)
    (sample,) = collector.sample(Cycle(sources))
    assert sample.vcpus
    assert (sample.vcpus.cpu_ns, sample.vcpus.run_delay_ns) == (2 * S, 3 * S)


def test_a_vm_without_known_threads(made: Made) -> None:
    """Unnamed and not met: unknown, which is not zero."""
    made.threads.thread(10, 10, "qemu-system-x86", 17 * S)
    assert made.series() == {}


def test_they_never_go_down(made: Made) -> None:
    """Threads that end, and others that get their numbers, take nothing away."""
    seen = []

    def look() -> None:
        result = made.series()
        seen.append((result["vcpu_cpu", "web"], result["run_delay", "web"]))

    made.threads.thread(10, 11, "CPU 0/KVM", 100 * S, 10 * S)
    made.threads.thread(10, 12, "CPU 1/KVM", 50 * S, 5 * S)
    look()
    made.threads.end(10, 12)
    look()
    made.threads.thread(10, 12, "CPU 1/KVM", 2 * S, 1 * S)
    look()
    made.threads.thread(10, 11, "CPU 0/KVM", 3 * S, 1 * S)
    look()
    made.threads.end(10, 11)
    made.threads.end(10, 12)
    look()
    look()
    assert seen == [(150, 15), (150, 15), (152, 16), (155, 17), (155, 17), (155, 17)]


def test_a_thread_that_bpf_forgets_is_not_counted_twice(made: Made) -> None:
    """It lives on, whatever is known of it."""
    made.threads.thread(10, 11, "qemu-system-x86", 100 * S, 10 * S)
    made.host.vcpu(11, 10)
    made.series()
    cycle = made.host.cycle()
    without = Cycle(without_bpf(made.host.tree))
    made.threads.thread(10, 11, "qemu-system-x86", 103 * S, 11 * S)
    assert made.series(without)["vcpu_cpu", "web"] == 103
    assert made.series(cycle)["vcpu_cpu", "web"] == 103


def test_another_vm_with_that_pid_begins_anew(made: Made) -> None:
    """It inherits nothing."""
    made.threads.thread(10, 11, "CPU 0/KVM", 100 * S, 10 * S)
    made.series()
    made.host.tree.process(10, [QEMU, "-name", "web"], start_ticks=5003)
    made.threads.thread(10, 11, "CPU 0/KVM", 2 * S, 1 * S)
    assert made.series() == {("run_delay", "web"): 1, ("vcpu_cpu", "web"): 2}


def test_vhost_workers(made: Made) -> None:
    """Kernel threads and the VMM's own; those of other processes are not the VM's."""
    for tid in (10, 14):
        made.threads.thread(10, tid, "qemu-system-x86")
    made.threads.thread(10, 15, "vhost-10", 2 * S)
    made.threads.kernel_threads(301, 302, 303, 304, 305)
    made.threads.thread(301, 301, "vhost-10", 3 * S)
    made.threads.thread(302, 302, "vhost-14", 5 * S)
    made.threads.thread(303, 303, "vhost-77", 7 * S)
    made.threads.thread(304, 304, "vhost-100", 11 * S)
    made.threads.thread(305, 305, "kworker/0:1", 13 * S)
    assert made.series() == {("vhost_cpu", "web"): 10, ("vhost_workers", "web"): 3}


def test_vhost_workers_that_end(made: Made) -> None:
    """What they used stays, and the number's next owner adds nothing; they are none any more."""
    made.threads.kernel_threads(301, 302)
    made.threads.thread(10, 10, "qemu-system-x86")
    made.threads.thread(301, 301, "vhost-10", 3 * S)
    made.threads.thread(302, 302, "vhost-10", 5 * S)
    seen = []

    def look() -> None:
        result = made.series()
        seen.append((result["vhost_cpu", "web"], result.get(("vhost_workers", "web"))))

    look()
    made.threads.thread(301, 301, "kworker/1:2", 1009 * S)
    look()
    made.threads.kernel_threads(301)  # the kernel's list may leave out one that is there
    look()
    made.threads.thread(302, 302, "vhost-10", 7 * S)
    look()
    made.threads.end(302, 302)
    look()
    assert seen == [(8, 2), (8, 1), (8, 1), (10, 1), (10, None)]


def test_a_kernel_that_keeps_no_account(made: Made) -> None:
    """Said once, with what would change it."""
    made.threads.thread(10, 11, "CPU 0/KVM")
    with pytest.raises(Unavailable, match=r"keeps no account.*delayacct"):
        made.series()
