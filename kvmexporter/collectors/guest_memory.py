# SPDX-License-Identifier: Apache-2.0
"""The memory of a guest, from inside: what its balloon took, how hard memory is to get.

Reads /proc/vmstat, /proc/pressure/memory and /proc/buddyinfo: three small files.
"""

from collections.abc import Iterable

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model import guest_findings
from kvmexporter.model.findings import Finding
from kvmexporter.model.guest_memory import GuestMemory
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.needs import GUEST_ROLE
from kvmexporter.sources.memory import Memory
from kvmexporter.units import ns_to_seconds

BALLOON = Metric(
    "kvm_guest_balloon_pages_total",
    Kind.COUNTER,
    "Pages that this guest's balloon driver gave to the host (inflate), took back (deflate), and "
    "moved within the guest (migrate); inflate less deflate is what the balloon holds.",
    ("operation",),
    "/proc/vmstat",
)
SWAP_IN = Metric(
    "kvm_guest_swap_in_bytes_total",
    Kind.COUNTER,
    "What this guest read back from its swap.",
    (),
    "/proc/vmstat",
)
SWAP_OUT = Metric(
    "kvm_guest_swap_out_bytes_total",
    Kind.COUNTER,
    "What this guest wrote to its swap.",
    (),
    "/proc/vmstat",
)
OOM_KILLS = Metric(
    "kvm_guest_oom_kills_total",
    Kind.COUNTER,
    "Processes that this guest's kernel killed for want of memory.",
    (),
    "/proc/vmstat",
)
PRESSURE = Metric(
    "kvm_guest_memory_pressure_seconds_total",
    Kind.COUNTER,
    "Time that tasks of this guest waited for memory; some: at least one, full: all of them.",
    ("severity",),
    "/proc/pressure/memory",
)
FRAGMENTATION = Metric(
    "kvm_guest_memory_fragmentation_ratio",
    Kind.GAUGE,
    "Share of this guest's free memory that is in pieces smaller than a huge page of 512 pages.",
    (),
    "/proc/buddyinfo",
)


class GuestMemoryCollector(Collector[GuestMemory]):
    """The memory of this system as a guest."""

    name = "guest_memory"
    summary = "inside a guest: what its balloon took, memory pressure, fragmentation"
    needs = (GUEST_ROLE,)
    metrics = (BALLOON, SWAP_IN, SWAP_OUT, OOM_KILLS, PRESSURE, FRAGMENTATION)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._memory = Memory(sources.procfs, sources.system.sysfs)

    def sample(self, cycle: Cycle) -> GuestMemory:  # noqa: ARG002 - nothing is shared
        """Read the three files.

        Raises:
            Unavailable: this is not a guest.
        """
        if not self.sources.system.role.guest:
            raise Unavailable(
                f"this is no KVM guest ({self.sources.system.role.because})",
                "say --role guest or --role both if it is",
            )
        return self._memory.guest()

    def families(self, sample: GuestMemory) -> Iterable[Family]:
        """One series of each; what the kernel does not tell is left out."""
        result = {metric: Family(metric) for metric in self.metrics}
        for name, value in sample.counters.items():
            if name.startswith("balloon_"):
                result[BALLOON].add(value, name.removeprefix("balloon_"))
        for name, metric in (("pswpin", SWAP_IN), ("pswpout", SWAP_OUT)):
            if name in sample.counters:
                result[metric].add(sample.counters[name] * sample.page_size)
        if "oom_kill" in sample.counters:
            result[OOM_KILLS].add(sample.counters["oom_kill"])
        if sample.pressure:
            for severity, stalled_ns in sample.pressure.stalled_ns.items():
                result[PRESSURE].add(ns_to_seconds(stalled_ns), severity)
        if sample.unusable is not None:
            result[FRAGMENTATION].add(sample.unusable)
        return result.values()

    def findings(self, sample: GuestMemory) -> Iterable[Finding]:
        """What should not be so."""
        return guest_findings.memory(sample)
