# SPDX-License-Identifier: Apache-2.0
"""The one list of collectors: flags, documents and self-checks are made from it."""

from typing import Any

from kvmexporter.collector import Collector
from kvmexporter.collectors.balloon import BalloonCollector
from kvmexporter.collectors.devices import DevicesCollector
from kvmexporter.collectors.exits import ExitsCollector
from kvmexporter.collectors.exporter import ExporterCollector
from kvmexporter.collectors.guest_clock import GuestClockCollector
from kvmexporter.collectors.guest_devices import GuestDevicesCollector
from kvmexporter.collectors.guest_memory import GuestMemoryCollector
from kvmexporter.collectors.host_network import HostNetworkCollector
from kvmexporter.collectors.host_support import HostSupportCollector
from kvmexporter.collectors.io import IoCollector
from kvmexporter.collectors.kvm_stats import KvmStatsCollector
from kvmexporter.collectors.memory import MemoryCollector
from kvmexporter.collectors.posture import PostureCollector
from kvmexporter.collectors.scheduling import SchedulingCollector
from kvmexporter.collectors.timekeeping import TimekeepingCollector
from kvmexporter.collectors.vm_clock import VmClockCollector
from kvmexporter.collectors.vm_time import VmTimeCollector
from kvmexporter.collectors.vms import VmsCollector

COLLECTORS: tuple[type[Collector[Any]], ...] = (
    VmsCollector,
    ExitsCollector,
    IoCollector,
    DevicesCollector,
    PostureCollector,
    BalloonCollector,
    MemoryCollector,
    KvmStatsCollector,
    SchedulingCollector,
    HostSupportCollector,
    HostNetworkCollector,
    TimekeepingCollector,
    VmClockCollector,
    VmTimeCollector,
    GuestClockCollector,
    GuestDevicesCollector,
    GuestMemoryCollector,
    ExporterCollector,
)
