# SPDX-License-Identifier: Apache-2.0
"""From the flags to a sampler: what every command that samples has open meanwhile."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kvmexporter import logs
from kvmexporter.addressing import Addressing
from kvmexporter.agents import GuestAgents
from kvmexporter.bpf.request import PROGRAMS
from kvmexporter.cli.options import option_name
from kvmexporter.collector import PER_VCPU, Collector, Sources
from kvmexporter.errors import KvmExporterError, Unavailable
from kvmexporter.inventory import Inventory
from kvmexporter.model.role import detect
from kvmexporter.registry import COLLECTORS
from kvmexporter.sampler import Sampler
from kvmexporter.sources import bpfprobes, cpuid, hypervisor, tsc
from kvmexporter.sources.debugfs import Debugfs
from kvmexporter.sources.libvirt import Libvirt
from kvmexporter.sources.nearvcpus import NearVcpus
from kvmexporter.sources.opener import Opener
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.qemu import Visitor
from kvmexporter.sources.regions import RegionTables
from kvmexporter.sources.sysfs import Sysfs
from kvmexporter.sources.system import System
from kvmexporter.sources.vcpus import VcpuReader

_log = logging.getLogger(__name__)


@contextmanager
def session(
    shared: Mapping[str, Any],
    opener: Opener | None = None,
    loaded: Callable[[], None] = lambda: None,
    *,
    everything: bool = True,
) -> Iterator[tuple[Sources, Sampler]]:
    """Everything between the flags and the views, closed at the end.

    Args:
        shared: the flags that every command has.
        opener: reaches what this process itself may not, or soon will not.
        loaded: called when BPF is loaded, all is open, and no thread has been started yet.
        everything: whether what takes a flag is told without it, vCPUs one by one excepted.
    """
    logs.configure(shared["log_level"], shared["log_format"])
    asked_for = {kind.name for kind in COLLECTORS if shared[f"collector_{kind.name}"]}
    enabled = [
        kind
        for kind in COLLECTORS
        if kind.name in asked_for or (kind.default and shared[f"collector_{kind.name}"] is None)
    ]
    procfs = Procfs()
    inventory = Inventory(procfs, opener, Libvirt())
    inventory.refresh()
    tsc_hz = tsc.measure_hz(tsc.counter())
    needed = any(kind.needs_bpf for kind in enabled)
    probes = _load_probes(procfs, shared, tsc_hz) if needed else _OFF
    addressing = None
    debugfs = Debugfs()
    debugfs.open()
    agents = None
    if shared["guest_agent"]:
        agents = GuestAgents(inventory, connect=opener.connect_agent if opener else None)
    collectors: list[Collector[Any]] = []
    try:
        vcpus = tables = None
        if not isinstance(probes, Unavailable):
            tables = RegionTables(probes.maps)
            near = NearVcpus(probes.maps["near_vcpus"], probes.maps["near_owners"])
            vcpus = VcpuReader(probes.maps["vcpus"], probes.maps["retired"], near=near)
        visitor = Visitor(shared["balloon_set_polling"] or 0)
        addressing = Addressing(
            inventory,
            tables,
            visit=visitor.visit,
            glance=visitor.glance,
            glance_seconds=shared["balloon_interval"],
            connect=opener.connect if opener else None,
            through_libvirt=shared["libvirt_monitor"],
        )
        sources = Sources(
            procfs,
            inventory,
            probes,
            vcpus,
            addressing,
            extras=_extras(shared, everything=everything or shared["metrics_all"]),
            system=_system(procfs, inventory, shared["role"], tsc_hz),
            agents=agents,
            debugfs=debugfs,
        )
        # One by one: those that were made are closed even if the next cannot be.
        collectors.extend(kind(sources) for kind in enabled)
        loaded()
        addressing.start()
        if agents:
            agents.start()
        yield sources, Sampler(sources, collectors, asked_for, ignored=tuple(shared["ignore"]))
    finally:
        for collector in collectors:
            collector.close()
        if addressing:
            addressing.close()
        if agents:
            agents.close()
        debugfs.close()
        if not isinstance(probes, Unavailable):
            probes.close()


def _extras(shared: Mapping[str, Any], *, everything: bool) -> frozenset[str]:
    """What is to be told beyond the usual."""
    names = [f"{kind.name}.{extra}" for kind in COLLECTORS for extra in kind.extras]
    return frozenset(
        name
        for name in names
        if shared[option_name(f"collector.{name}")] or (everything and name != PER_VCPU)
    )


def _system(procfs: Procfs, inventory: Inventory, role: str, tsc_hz: int | None) -> System:
    sysfs, instruction = Sysfs(), cpuid.instruction()
    evidence = hypervisor.look(procfs, sysfs, instruction, len(inventory.vms()))
    return System(detect(evidence, role), sysfs, cpuid=instruction, tsc_hz=tsc_hz)


# Of root alone: a server that has given its privileges up must not write what the next one loads.
COMPILED = Path("/var/cache/kvmexporter")
_OFF = Unavailable("BPF is turned off", "leave out --no-bpf")


def _load_probes(
    procfs: Procfs, shared: Mapping[str, Any], tsc_hz: int | None
) -> bpfprobes.BpfProbes | Unavailable:
    if not shared["bpf"]:
        return _OFF
    hardware = procfs.cpu_flags() & {"vmx", "svm"}
    wanted = tuple(program for program in PROGRAMS if not (program.emulator_only and hardware))
    try:
        return bpfprobes.load(
            wanted,
            shared["bpf_max_vcpus"],
            shared["bpf_kernel_headers"],
            shared["bpf_python"],
            tsc_hz,
            COMPILED if os.geteuid() == 0 else None,
        )
    except Unavailable as err:
        _log.warning("no BPF", extra={"reason": err.reason, "remedy": err.remedy})
        return err
    except KvmExporterError as err:
        _log.error("no BPF", extra={"error": str(err)})
        return Unavailable(str(err), "see what the loader says with --log.level debug")
