# SPDX-License-Identifier: Apache-2.0
"""The host of the golden files: three VMs, every kind of event, prime counts."""

import re
from dataclasses import replace

from kvmexporter.bpf.request import HISTOGRAM_BUCKETS, PROGRAMS
from kvmexporter.model.metrics import Family
from kvmexporter.sampler import Snapshot
from kvmexporter.sources.bpfprobes import ProgramState
from kvmexporter.tables.exit_reasons import EXIT_CLASSES, UNKNOWN_EXIT_SLOT, Isa, exit_slot
from kvmexporter.tables.msrs import OTHER_MSR_SLOT, msr_slot
from tests.unit.host import EVERYTHING, Host
from tests.unit.procfs_tree import NO_REAL_PID
from tests.unit.vcpu_records import record, retired_key

WEB, DB, MICRO = NO_REAL_PID + 1000, NO_REAL_PID + 2000, NO_REAL_PID + 3000
CREATED_NS = 60_000_000_000
_WORDS = HISTOGRAM_BUCKETS + 1
_NOT_ATTACHED = "kvm_fast_mmio"


def golden_host(host: Host) -> None:
    """Make it so."""
    host.monotonic.step = 1 / 1024
    host.extras = EVERYTHING
    host.programs = tuple(
        ProgramState(program.event, program.event != _NOT_ATTACHED, "") for program in PROGRAMS
    )
    host.drops.set((1).to_bytes(4, "little"), (3).to_bytes(8, "little"))
    _processes(host)
    _web(host)
    _db(host)
    host.vcpu(MICRO + 100, MICRO, CREATED_NS, isa=0)


def _processes(host: Host) -> None:
    host.tree.process(
        WEB,
        [
            *("/usr/bin/qemu-system-x86_64", "-name", "guest=web,debug-threads=on"),
            *("-machine", "pc-q35-7.2,accel=kvm", "-cpu", "host,migratable=off"),
            *("-m", "size=2G,maxmem=4G", "-uuid", "2e3a6a4e-7d3c-4c59-a0b5-9d1c8f6f0a11"),
        ],
        start_ticks=1009,
        vcpus=2,
    )
    host.tree.process(
        DB,
        ["/usr/bin/qemu-system-x86_64", "-name", 'd"b\\<b>', "-m", "1024k", "-M", "microvm"],
        start_ticks=2003,
        vcpus=1,
    )
    host.tree.process(MICRO, ["/opt/firecracker", "--id", "x"], start_ticks=3001, vcpus=1)


def _web(host: Host) -> None:
    """An Intel guest with two vCPUs, and one that has ended."""
    io_class, hlt = EXIT_CLASSES.index("io") * _WORDS, EXIT_CLASSES.index("hlt") * _WORDS
    host.vcpu(
        WEB + 100,
        WEB,
        CREATED_NS,
        vcpu_id=0,
        isa=Isa.VMX,
        exits={exit_slot(Isa.VMX, 30): 101, exit_slot(Isa.VMX, 12): 11, UNKNOWN_EXIT_SLOT: 2},
        handling={io_class + 2: 97, io_class + 5: 4, io_class + _WORDS - 1: 400_009},
        userspace_exits={2: 89, 6: 5, 60: 3},
        userspace_restarts={0: 7},
        userspace_errors={0: 1},
        io={0: 2, 1: 3, 2: 5, 3: 7, 4: 11, 5: 13, 6: 17, 7: 19, 8: 23},
        io_handling={2: 83, _WORDS - 1: 299_993},
        msrs={msr_slot(0x6E0) * 2 + 1: 503, OTHER_MSR_SLOT * 2: 29},
        hypercalls={9: 31, 15: 37},
        interrupts={0: 41, 1: 43, 2: 47, 3: 53},
    )
    host.vcpu(
        WEB + 101,
        WEB,
        CREATED_NS,
        vcpu_id=1,
        isa=Isa.VMX,
        exits={exit_slot(Isa.VMX, 12): 59},
        handling={hlt + 12: 57, hlt + 23: 2, hlt + _WORDS - 1: 9_000_000_011},
        halts={0: 61, 1: 67, 2: 71},
        halt_time={0: 73, 9: 79, _WORDS - 1: 50_000_017},
    )
    ended = record(WEB, CREATED_NS - 1, 2, Isa.VMX, exits={exit_slot(Isa.VMX, 30): 6})
    host.retired.set(retired_key(WEB + 102, WEB, CREATED_NS - 1), ended)


def _db(host: Host) -> None:
    """An AMD guest with one vCPU."""
    host.vcpu(
        DB + 100,
        DB,
        CREATED_NS,
        vcpu_id=0,
        isa=Isa.SVM,
        exits={exit_slot(Isa.SVM, 0x400): 1009, exit_slot(Isa.SVM, 0x7C): 13},
        userspace_exits={6: 997},
        io={7: 991},
        msrs={msr_slot(0x10) * 2: 13},
    )


def frozen(snapshot: Snapshot) -> Snapshot:
    """The snapshot with what depends on this process and this release made the same always."""
    families = []
    for family in snapshot.families:
        name = family.metric.name
        replaced = Family(family.metric)
        for sample in family.samples:
            value = 0 if name.startswith("process_") else sample.value
            labels = sample.labels
            if name == "kvmexporter_build_info":
                labels = tuple(re.sub(r"\d+", "N", label) for label in labels)
            replaced.add(value, *labels)
        families.append(replaced)
    return replace(snapshot, families=tuple(families))
