# SPDX-License-Identifier: Apache-2.0
"""How long a VM's vCPUs ran and waited for a CPU, and the CPU time of its vhost workers.

Reads /proc/PID/task/TID/schedstat: 8 µs a vCPU thread. Which threads those are BPF
knows; without it, and until it has met one, they are told by the names that VMMs give them
(QEMU only with `-name debug-threads=on`). For vhost workers, and those names, a scrape lists
each VM's threads and, once, the kernel's: one directory a VM (7 µs), one file of all kernel
threads, and the names of those that are new (7 µs each, read twice). Where there are more than
2,000 such threads, VMs take turns: their times are then some scrapes old.
"""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import KvmExporterError, Unavailable
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.turns import Turns
from kvmexporter.model.vm import VmId
from kvmexporter.needs import PID_NAMESPACE, SCHEDSTAT
from kvmexporter.sources.schedstat import NamedThreads, Schedstat, ThreadTimes
from kvmexporter.units import ns_to_seconds

RUN_DELAY = Metric(
    "kvm_vm_run_delay_seconds_total",
    Kind.COUNTER,
    "Time that the VM's vCPUs were ready to run and waited for a CPU of the host, vCPUs added "
    "up: what the guest sees as stolen.",
    ("vm",),
    "/proc/PID/task/TID/schedstat",
)
VCPU_CPU = Metric(
    "kvm_vm_vcpu_cpu_seconds_total",
    Kind.COUNTER,
    "CPU time that the VM's vCPU threads used, in the guest and in handling its exits, vCPUs "
    "added up.",
    ("vm",),
    "/proc/PID/task/TID/schedstat",
)
VHOST_CPU = Metric(
    "kvm_vm_vhost_cpu_seconds_total",
    Kind.COUNTER,
    "CPU time that the kernel's vhost workers used for the VM's devices; no vCPU's time.",
    ("vm",),
    "/proc/PID/task/TID/schedstat",
)
VHOST_WORKERS = Metric(
    "kvm_vm_vhost_workers",
    Kind.GAUGE,
    "The kernel's vhost workers for the VM's devices, each a thread that can use one CPU: one for "
    "each queue pair of a NIC, none for devices on vhost-user. Absent if there is none.",
    ("vm",),
    "/proc/PID/task/TID/comm",
)

# QEMU, Firecracker, cloud-hypervisor, crosvm, kvmtool.
_VCPU_NAME = r"CPU \d+/KVM|fc_vcpu \d+|vcpu\d+|crosvm_vcpu\d+|kvm-vcpu-\d+"
# drivers/vhost/vhost.c: the thread that asked for it. A kernel thread of its own before Linux
# 6.4 and wherever a VMM asks for that, a thread of the VMM since.
_VHOST_NAME = r"vhost-(?P<owner>\d+)"
_KERNEL_THREAD = re.compile(_VHOST_NAME)
_VMM_THREAD = re.compile(f"{_VCPU_NAME}|{_VHOST_NAME}")

MOST_THREADS = 2000
"""Threads that are read in a scrape; of more, those that were read longest ago."""

_Thread = tuple[int, int]
"""Process, thread."""


@dataclass(frozen=True, slots=True)
class SchedulingSample:
    """One VM's threads.

    Attributes:
        vm: its name.
        vcpus: the times of its vCPUs, None where none was seen.
        vhost: the times of its vhost workers, None where none was seen.
        vhost_workers: how many of those there are now.
    """

    vm: str
    vcpus: ThreadTimes | None
    vhost: ThreadTimes | None
    vhost_workers: int


class SchedulingCollector(Collector[list[SchedulingSample]]):
    """CPU time and waiting time of vCPUs and vhost workers."""

    name = "scheduling"
    summary = "the CPU time of vCPUs and vhost workers, and how long vCPUs waited for a CPU"
    metrics = (RUN_DELAY, VCPU_CPU, VHOST_CPU, VHOST_WORKERS)
    needs = (PID_NAMESPACE, SCHEDSTAT)

    def __init__(self, sources: Sources, most_threads: int = MOST_THREADS) -> None:
        super().__init__(sources)
        self._schedstat = Schedstat(sources.procfs.root)
        self._vms: dict[VmId, _VmThreads] = {}
        self._turns: Turns[VmId] = Turns(most_threads)
        self._kernel_threads = NamedThreads(
            lambda tid: self._schedstat.name(tid, tid), _KERNEL_THREAD
        )

    def sample(self, cycle: Cycle) -> list[SchedulingSample]:
        """Read the times of every VM's threads.

        Raises:
            Unavailable: the kernel keeps no such account.
        """
        if not cycle.vms:
            self._vms = {}
            return []
        self._vms = {
            vm.id: self._vms.get(vm.id) or _VmThreads(vm.id.pid, self._schedstat)
            for vm in cycle.vms
        }
        owners: dict[int, _VmThreads] = {}
        in_bpf = _tids_in_bpf(cycle)
        due = self._turns.take(
            {
                identity: threads.reads(len(in_bpf.get(identity, ())))
                for identity, threads in self._vms.items()
            }
        )
        for identity, threads in self._vms.items():
            if identity in due:
                threads.vcpus.add((identity.pid, tid) for tid in in_bpf.get(identity, ()))
                threads.look()
            owners |= dict.fromkeys(threads.tids, threads)
        asked = any(threads.vcpus.alive for threads in self._vms.values())
        kernel_threads = self._schedstat.kernel_threads()
        for tid, matched in self._kernel_threads.among(kernel_threads).items():
            if owner := owners.get(int(matched["owner"])):
                owner.vhost.add([(tid, tid)])
        for identity in due:
            self._vms[identity].read()
        samples = [
            SchedulingSample(
                vm.name, threads.vcpus.total, threads.vhost.total, len(threads.vhost.alive)
            )
            for vm in cycle.vms
            for threads in (self._vms[vm.id],)
        ]
        if asked and not any(one.vcpus for one in samples) and not self._is_account_kept():
            raise Unavailable(
                "the kernel keeps no account of how threads are scheduled",
                "run one built with CONFIG_SCHEDSTATS, or boot it with delayacct",
            )
        return samples

    def _is_account_kept(self) -> bool:
        """Whether this process, which has run, has a time: a VM that is paused may have none."""
        return self._schedstat.times(os.getpid(), os.getpid()) is not None

    def families(self, sample: list[SchedulingSample]) -> Iterable[Family]:
        """One series of each for a VM whose threads are known."""
        run_delay, vcpu_cpu, vhost_cpu, workers = (Family(metric) for metric in self.metrics)
        for one in sample:
            if one.vcpus:
                run_delay.add(ns_to_seconds(one.vcpus.run_delay_ns), one.vm)
                vcpu_cpu.add(ns_to_seconds(one.vcpus.cpu_ns), one.vm)
            if one.vhost:
                vhost_cpu.add(ns_to_seconds(one.vhost.cpu_ns), one.vm)
            if one.vhost_workers:
                workers.add(one.vhost_workers, one.vm)
        return run_delay, vcpu_cpu, vhost_cpu, workers


def _tids_in_bpf(cycle: Cycle) -> dict[VmId, tuple[int, ...]]:
    """VM → its vCPU threads that BPF has met."""
    try:
        return {vm.id: counted.tids for vm, counted in cycle.counters()}
    except KvmExporterError:  # the collectors that live by it say so
        return {}


class _VmThreads:
    """The threads of one VM that count."""

    def __init__(self, pid: int, schedstat: Schedstat) -> None:
        self._pid = pid
        self._schedstat = schedstat
        self._named = NamedThreads(lambda tid: schedstat.name(pid, tid), _VMM_THREAD)
        self.tids: list[int] = []
        self.vcpus = _Times(schedstat.times)
        self.vhost = _Times(schedstat.times)

    def reads(self, vcpus: int) -> int:
        """How many threads it takes to read, if BPF knows of so many vCPUs."""
        return max(len(self.vcpus.alive), vcpus) + len(self.vhost.alive)

    def read(self) -> None:
        """Read the times of its threads."""
        self.vcpus.read()
        self.vhost.read()

    def look(self) -> None:
        """Find its threads."""
        self.tids = self._schedstat.tids(self._pid)
        # A kernel thread's number may be another's by now. Not being listed says nothing: that
        # list leaves out some while others end.
        self.vhost.alive = {
            thread
            for thread in self.vhost.alive
            if _KERNEL_THREAD.fullmatch(self._schedstat.name(*thread))
        }
        others = [tid for tid in self.tids if (self._pid, tid) not in self.vcpus.alive]
        for tid, matched in self._named.among(others).items():
            (self.vhost if matched["owner"] else self.vcpus).add([(self._pid, tid)])


class _Times:
    """The times of threads, those that have ended included: never less than before.

    Args:
        read: process, thread → its times.

    Attributes:
        alive: the threads.
        total: their times when they were read last; None if none has ever been seen to run.
    """

    def __init__(self, read: Callable[[int, int], ThreadTimes | None]) -> None:
        self._read = read
        self._last: dict[_Thread, ThreadTimes] = {}
        self._ended = ThreadTimes(0, 0)
        self.alive: set[_Thread] = set()
        self.total: ThreadTimes | None = None

    def add(self, threads: Iterable[_Thread]) -> None:
        """Count these, too, as long as they are there."""
        self.alive.update(threads)

    def read(self) -> None:
        """Add all of them up as they are now."""
        last, self._last = self._last, {}
        for thread in list(self.alive):
            now = self._read(*thread)
            if now is None:
                self.alive.discard(thread)
                continue
            self._last[thread] = now
            if thread in last and last[thread].cpu_ns <= now.cpu_ns:
                del last[thread]
        # What is left has ended, even if another has its number now.
        self._ended = _sum((self._ended, *last.values()))
        total = _sum((self._ended, *self._last.values()))
        self.total = total if total.cpu_ns else None


def _sum(times: Iterable[ThreadTimes]) -> ThreadTimes:
    cpu_ns = run_delay_ns = 0
    for one in times:
        cpu_ns += one.cpu_ns
        run_delay_ns += one.run_delay_ns
    return ThreadTimes(cpu_ns, run_delay_ns)
