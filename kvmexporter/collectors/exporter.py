# SPDX-License-Identifier: Apache-2.0
"""The exporter itself: its build, its probes, its maps, its process.

Reads /proc/self and, for each program, its /proc/self/fdinfo entry.
"""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

from kvmexporter import __version__
from kvmexporter.collector import Collector, Cycle
from kvmexporter.errors import Unavailable
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.sources.bpfprobes import BpfProbes, ProgramRuns
from kvmexporter.units import ns_to_seconds

# As enumerated in kvmexporter/bpf/vcpu.bpf.c.
_DROPS = ("vcpu", "retired", "clock")
# Maps that collectors go through.
_COUNTED = ("vcpus", "retired", "vm_clocks", "tsc_offsets")

BUILD = Metric(
    "kvmexporter_build_info",
    Kind.INFO,
    "The version of kvmexporter and of the Python it runs on.",
    ("version", "python"),
)
ATTACHED = Metric(
    "kvmexporter_bpf_attached",
    Kind.GAUGE,
    "Whether the probe of a tracepoint is attached; 0: what it would count is missing.",
    ("tracepoint",),
)
RUNS = Metric(
    "kvmexporter_bpf_program_runs_total",
    Kind.COUNTER,
    "Runs of a probe, while the kernel keeps such statistics (kernel.bpf_stats_enabled).",
    ("tracepoint",),
    "/proc/self/fdinfo",
)
RUN_SECONDS = Metric(
    "kvmexporter_bpf_program_run_seconds_total",
    Kind.COUNTER,
    "Processor time that a probe took, while the kernel keeps such statistics.",
    ("tracepoint",),
    "/proc/self/fdinfo",
)
DROPPED = Metric(
    "kvmexporter_bpf_dropped_events_total",
    Kind.COUNTER,
    "Events not counted because a map was full: vcpu, events of vCPU threads without a "
    "record; retired, records of ended vCPU threads that were lost; clock, what happened to "
    "VMs' clocks.",
    ("map",),
    "BPF map drops",
)
MISSED = Metric(
    "kvmexporter_bpf_missed_events_total",
    Kind.COUNTER,
    "Events not counted because the kernel does not run a probe while another BPF program, or the "
    "reading of a map, is interrupted on that processor. Before Linux 6.7 the kernel counts none "
    "of kvm_exit and kvm_pvclock_update.",
    ("tracepoint",),
    "/proc/self/fdinfo",
)
ENTRIES = Metric(
    "kvmexporter_bpf_map_entries",
    Kind.GAUGE,
    "Entries in use of a BPF map when it was last read: vcpus, records of vCPU threads that found "
    "none of the places that need no hash map; retired, records of vCPU threads that had ended "
    "since it was read before; vm_clocks and tsc_offsets, the clocks of VMs and of their vCPUs; "
    "regions, what VMs' addresses belong to.",
    ("map",),
)
MAX_ENTRIES = Metric(
    "kvmexporter_bpf_map_max_entries",
    Kind.GAUGE,
    "Entries that a BPF map can hold.",
    ("map",),
)
CPU_SECONDS = Metric(
    "process_cpu_seconds_total",
    Kind.COUNTER,
    "Processor time, user and system, that the exporter's server has taken.",
)
RESIDENT = Metric(
    "process_resident_memory_bytes",
    Kind.GAUGE,
    "Memory that the exporter's server occupies.",
)
REFRESH_AGE = Metric(
    "kvmexporter_vm_refresh_age_seconds",
    Kind.GAUGE,
    "Seconds since a VM's VMM last said what devices it has; grows where it does not answer.",
    ("vm",),
)
REFRESH_INTERVAL = Metric(
    "kvmexporter_vm_refresh_interval_seconds",
    Kind.GAUGE,
    "How often each VM's VMM is asked: every minute, and less often where there are so many VMs "
    "that asking would take more than 0.4 % of a processor.",
)
START_TIME = Metric(
    "process_start_time_seconds",
    Kind.GAUGE,
    "When the exporter's server started, in seconds since the epoch.",
)
OPEN_FDS = Metric(
    "process_open_fds",
    Kind.GAUGE,
    "Descriptors that the exporter's server holds.",
)


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """The server's own process: seconds, bytes, seconds since the epoch, a count."""

    cpu_seconds: float
    resident_bytes: int
    start_time: float
    open_fds: int


@dataclass(frozen=True, slots=True)
class ExporterSample:
    """The exporter at one moment; everything of BPF is empty without it.

    Attributes:
        process: the server.
        attached: tracepoint → whether its probe is.
        runs: tracepoint → how often its probe ran, and did not.
        drops: map → events lost.
        maps: map → (entries, most entries).
        refresh_ages: VM → seconds since its VMM was heard.
        refresh_interval_seconds: from one visit of a VM to the next.
    """

    process: ProcessSample
    attached: Mapping[str, bool]
    runs: Mapping[str, ProgramRuns]
    drops: Mapping[str, int]
    maps: Mapping[str, tuple[int, int]]
    refresh_ages: Mapping[str, float]
    refresh_interval_seconds: float


class ExporterCollector(Collector[ExporterSample]):
    """Itself."""

    name = "exporter"
    summary = "the exporter's own build, probes, maps and process"
    metrics = (
        BUILD,
        ATTACHED,
        RUNS,
        RUN_SECONDS,
        DROPPED,
        MISSED,
        ENTRIES,
        MAX_ENTRIES,
        REFRESH_AGE,
        REFRESH_INTERVAL,
        CPU_SECONDS,
        RESIDENT,
        START_TIME,
        OPEN_FDS,
    )
    needs = ()

    def sample(self, cycle: Cycle) -> ExporterSample:
        """Read the process and the programs' statistics."""
        ages = {
            vm.name: cycle.time - known.visited
            for vm in cycle.vms
            if (known := cycle.addressing.get(vm.id)) and known.visited is not None
        }
        probes, interval = self.sources.probes, self.sources.addressing.interval_seconds
        if isinstance(probes, Unavailable):
            return ExporterSample(_process(), {}, {}, {}, {}, ages, interval)
        counted = {name: probes.maps[name].entries for name in _COUNTED}
        counted["regions"] = self.sources.addressing.region_entries()
        return ExporterSample(
            process=_process(),
            attached={state.event: state.attached for state in probes.programs},
            runs=probes.runs(),
            drops=_drops(probes),
            maps={
                name: (entries, probes.maps[name].layout.max_entries)
                for name, entries in counted.items()
                if entries is not None
            },
            refresh_ages=ages,
            refresh_interval_seconds=interval,
        )

    def families(self, sample: ExporterSample) -> Iterable[Family]:
        """One series per program and map."""
        result = {metric: Family(metric) for metric in self.metrics}
        result[BUILD].add(1, __version__, platform.python_version())
        for event, attached in sample.attached.items():
            result[ATTACHED].add(int(attached), event)
        for event, one in sample.runs.items():
            if one.runs:
                result[RUNS].add(one.runs, event)
                result[RUN_SECONDS].add(ns_to_seconds(one.ns), event)
            if one.missed is not None:
                result[MISSED].add(one.missed, event)
        for name, dropped in sample.drops.items():
            result[DROPPED].add(dropped, name)
        for name, (entries, most) in sample.maps.items():
            result[ENTRIES].add(entries, name)
            result[MAX_ENTRIES].add(most, name)
        for vm, age in sample.refresh_ages.items():
            result[REFRESH_AGE].add(age, vm)
        result[REFRESH_INTERVAL].add(sample.refresh_interval_seconds)
        result[CPU_SECONDS].add(sample.process.cpu_seconds)
        result[RESIDENT].add(sample.process.resident_bytes)
        result[START_TIME].add(sample.process.start_time)
        result[OPEN_FDS].add(sample.process.open_fds)
        return result.values()


def _process() -> ProcessSample:
    process = psutil.Process()
    with process.oneshot():
        cpu = process.cpu_times()
        return ProcessSample(
            cpu_seconds=cpu.user + cpu.system,
            resident_bytes=process.memory_info().rss,
            start_time=process.create_time(),
            open_fds=process.num_fds(),
        )


def _drops(probes: BpfProbes) -> dict[str, int]:
    result = {}
    for index, name in enumerate(_DROPS):
        value = probes.maps["drops"].get(index.to_bytes(4, "little"))
        result[name] = int.from_bytes(value or b"", "little")
    return result
