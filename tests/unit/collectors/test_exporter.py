# SPDX-License-Identifier: Apache-2.0
"""The exporter about itself."""

import os
import platform
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter import __version__
from kvmexporter.collector import Cycle
from kvmexporter.collectors.exporter import ExporterCollector
from kvmexporter.collectors.vm_clock import VmClockCollector
from kvmexporter.sources.bpfprobes import ProgramRuns, ProgramState
from tests.unit.clock_records import write_clock, write_offset
from tests.unit.host import Host, without_bpf
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.vcpu_records import MAX_VCPUS, enumerators, record, retired_key


def series(host: Host) -> dict[tuple[str, ...], object]:
    """(metric, labels...) → value."""
    return {
        (family.metric.name, *sample.labels): sample.value
        for family in host.snapshot(ExporterCollector).families
        if family.metric in ExporterCollector.metrics
        for sample in family.samples
    }


def test_build(host: Host) -> None:
    """The version of both."""
    build = ("kvmexporter_build_info", __version__, platform.python_version())
    assert series(host)[build] == 1


def test_process(host: Host) -> None:
    """This process: it has run, occupies memory, began in the past and holds descriptors."""
    seen = series(host)
    cpu, user_and_system = seen["process_cpu_seconds_total",], sum(os.times()[:2])
    assert isinstance(cpu, float)
    assert 0 < cpu <= user_and_system + 0.02
    resident = seen["process_resident_memory_bytes",]
    assert isinstance(resident, int)
    assert 1 << 20 < resident < 1 << 34
    start = seen["process_start_time_seconds",]
    assert isinstance(start, float)
    assert 0 < time.time() - start < 86400
    assert seen["process_open_fds",] == pytest.approx(
        len(list(Path("/proc/self/fd").iterdir())), abs=3
    )


def test_probes(host: Host) -> None:
    """Attached ones are 1, the others 0."""
    host.programs = (
        ProgramState("kvm_exit", True, ""),
        ProgramState("kvm_fast_mmio", False, "no tracepoint"),
    )
    seen = series(host)
    assert seen["kvmexporter_bpf_attached", "kvm_exit"] == 1
    assert seen["kvmexporter_bpf_attached", "kvm_fast_mmio"] == 0


def test_runs_of_probes(host: Host) -> None:
    """Those that the kernel counted; events that it kept from a probe as zero, too."""
    collector = ExporterCollector(host.sources())
    sample = replace(
        collector.sample(host.cycle()),
        runs={
            "kvm_exit": ProgramRuns(7, 401_000_000, 3),
            "kvm_pio": ProgramRuns(0, 0, 0),
            "kvm_msr": ProgramRuns(0, 0, None),
        },
    )
    seen = {
        (family.metric.name.removeprefix("kvmexporter_bpf_"), *one.labels): one.value
        for family in collector.families(sample)
        for one in family.samples
        if one.labels and one.labels[0] in sample.runs
    }
    assert seen == {
        ("program_runs_total", "kvm_exit"): 7,
        ("program_run_seconds_total", "kvm_exit"): 0.401,
        ("missed_events_total", "kvm_exit"): 3,
        ("missed_events_total", "kvm_pio"): 0,
    }


def test_maps(host: Host) -> None:
    """How full they are and what was lost, in the order of the C."""
    host.tree.process(10, ["/usr/bin/qemu-system-x86_64"])
    host.vcpu(1001, 10)
    host.vcpu(1002, 10)
    host.retired.set(retired_key(1003, 10, 20_000_000_000), record(10, 20_000_000_000))
    for number in range(2):
        host.drops.set(number.to_bytes(4, "little"), (7 + number).to_bytes(8, "little"))
    seen = series(host)
    assert seen["kvmexporter_bpf_map_entries", "vcpus"] == 2
    assert seen["kvmexporter_bpf_map_max_entries", "vcpus"] == MAX_VCPUS
    assert seen["kvmexporter_bpf_map_entries", "retired"] == 1
    assert seen["kvmexporter_bpf_map_max_entries", "retired"] == host.retired.layout.max_entries
    assert seen["kvmexporter_bpf_map_entries", "regions"] == 0
    assert not {"vm_clocks", "tsc_offsets"} & {label for _, *labels in seen for label in labels}
    assert seen["kvmexporter_bpf_dropped_events_total", "vcpu"] == 7
    assert seen["kvmexporter_bpf_dropped_events_total", "retired"] == 8
    assert enumerators()["drop"][:2] == ("DROP_VCPU", "DROP_RETIRED")


def test_maps_of_clocks(host: Host) -> None:
    """Where a collector goes through them."""
    host.tree.process(10, ["/usr/bin/qemu-system-x86_64"])
    write_clock(host.clocks, 10)
    for vcpu in range(3):
        write_offset(host.offsets, 10, vcpu, 0)
    sampler = host.sampler(VmClockCollector, ExporterCollector)
    families = {family.metric.name: family for family in sampler.snapshot().families}
    entries = {one.labels[0]: one.value for one in families["kvmexporter_bpf_map_entries"].samples}
    assert (entries["vm_clocks"], entries["tsc_offsets"]) == (1, 3)


def test_without_bpf(tree: ProcfsTree) -> None:
    """Everything else is still there; what BPF would give is absent, not zero."""
    sources = without_bpf(tree)
    collector = ExporterCollector(sources)
    families = collector.families(collector.sample(Cycle(sources)))
    given = {family.metric.name for family in families if family.samples}
    assert {"kvmexporter_build_info", "process_open_fds"} <= given
    assert "kvmexporter_vm_refresh_interval_seconds" in given
    assert not {name for name in given if name.startswith("kvmexporter_bpf_")}
