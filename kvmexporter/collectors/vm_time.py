# SPDX-License-Identifier: Apache-2.0
"""What each VM can tell the time with, and what time it has.

Reads what its VMM said last (QMP `query-cpus-fast`, `qom-get`: at no cost to a scrape) and, where
the user wants it, what its guest's agent said (`guest-get-time`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.model import vm_clock_findings
from kvmexporter.model.findings import Finding
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.vm import VmId
from kvmexporter.model.vm_clocks import AgentTime, Rtc
from kvmexporter.needs import GUEST_AGENT, LIBVIRT, PID_NAMESPACE, QMP
from kvmexporter.units import ns_to_seconds

_AGENT = "guest-agent"

CPU_FEATURE = Metric(
    "kvm_vm_cpu_feature",
    Kind.GAUGE,
    "Whether the VM's processor model gives the guest a feature that its clocks depend on, by "
    "QEMU's name for it; Hyper-V's only where it does.",
    ("vm", "feature"),
    "QMP qom-get",
)
OFFSET = Metric(
    "kvm_vm_clock_offset_seconds",
    Kind.GAUGE,
    "How far the guest's clock is ahead of the host's, as the guest says; absent when it has not "
    "said so for two minutes.",
    ("vm", "source"),
    "guest agent, guest-get-time",
)
UNCERTAINTY = Metric(
    "kvm_vm_clock_offset_uncertainty_seconds",
    Kind.GAUGE,
    "How wrong that offset can be: half of the time that asking took.",
    ("vm", "source"),
    "guest agent, guest-get-time",
)
AGENT_ANSWERS = Metric(
    "kvm_vm_guest_agent_answers",
    Kind.GAUGE,
    "Whether the guest's agent answered when it was last asked for the time.",
    ("vm",),
    "guest agent",
)
RTC_OFFSET = Metric(
    "kvm_vm_rtc_offset_seconds",
    Kind.GAUGE,
    "How far the VM's battery-backed clock is ahead of the host's clock, to half a second; whole "
    "hours are a time zone.",
    ("vm",),
    "QMP qom-get /machine rtc-time",
)
RTC_CHANGES = Metric(
    "kvm_vm_rtc_changes_total",
    Kind.COUNTER,
    "Times that the VM's battery-backed clock moved against the host's by more than a second: the "
    "guest set it, or it stood still. Seen from one visit to the VMM to the next, a minute apart.",
    ("vm",),
    "QMP qom-get /machine rtc-time",
)


@dataclass(frozen=True, slots=True)
class VmTimeSample:
    """One VM.

    Attributes:
        vm: its name.
        features: QEMU's name of a feature → whether.
        rtc: its battery-backed clock, None if it has none or nobody said.
        rtc_changes: how often that moved.
        agent: what the guest's agent said, None if nothing of late.
        agent_answers: whether it answered last; None if nobody asks it.
    """

    vm: str
    features: Mapping[str, bool]
    rtc: Rtc | None
    rtc_changes: int
    agent: AgentTime | None
    agent_answers: bool | None


@dataclass(slots=True)
class _RtcWatch:
    last: Rtc | None = None
    changes: int = 0

    def see(self, now: Rtc | None) -> None:
        if now and self.last and now.moved(self.last):
            self.changes += 1
        self.last = now or self.last


class VmTimeCollector(Collector[list[VmTimeSample]]):
    """The time of VMs, as their VMM and their guests tell."""

    name = "vm_time"
    summary = "what each VM can tell the time with, and how far its clock is from the host's"
    metrics = (CPU_FEATURE, OFFSET, UNCERTAINTY, AGENT_ANSWERS, RTC_OFFSET, RTC_CHANGES)
    needs = (PID_NAMESPACE,)
    wants = (QMP, LIBVIRT, GUEST_AGENT)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._rtcs: dict[VmId, _RtcWatch] = {}

    def sample(self, cycle: Cycle) -> list[VmTimeSample]:
        """Take what is known of each VM."""
        agents = self.sources.agents
        times = agents.times() if agents else {}
        troubles = agents.troubles() if agents else {}
        self._rtcs = {vm.id: self._rtcs.get(vm.id) or _RtcWatch() for vm in cycle.vms}
        samples = []
        for vm in cycle.vms:
            known = cycle.addressing.get(vm.id)
            facts = known.facts if known else None
            watch = self._rtcs[vm.id]
            watch.see(facts.rtc if facts else None)
            asked = vm.id in times or vm.id in troubles
            samples.append(
                VmTimeSample(
                    vm.name,
                    facts.cpu_features if facts else {},
                    facts.rtc if facts else None,
                    watch.changes,
                    times.get(vm.id),
                    vm.id not in troubles if asked else None,
                )
            )
        return samples

    def families(self, sample: list[VmTimeSample]) -> Iterable[Family]:
        """What is known, and the rest left out."""
        result = {metric: Family(metric) for metric in self.metrics}
        for one in sample:
            for feature, has in one.features.items():
                result[CPU_FEATURE].add(int(has), one.vm, feature)
            if one.rtc:
                result[RTC_OFFSET].add(ns_to_seconds(one.rtc.offset_ns), one.vm)
                result[RTC_CHANGES].add(one.rtc_changes, one.vm)
            if one.agent:
                result[OFFSET].add(ns_to_seconds(one.agent.offset_ns), one.vm, _AGENT)
                result[UNCERTAINTY].add(ns_to_seconds(one.agent.uncertainty_ns), one.vm, _AGENT)
            if one.agent_answers is not None:
                result[AGENT_ANSWERS].add(int(one.agent_answers), one.vm)
        return result.values()

    def findings(self, sample: list[VmTimeSample]) -> Iterable[Finding]:
        """What the processor model hides, and clocks that are off."""
        for one in sample:
            yield from vm_clock_findings.cpu_features(one.vm, one.features)
            if one.agent:
                yield from vm_clock_findings.agent_offset(one.vm, one.agent)
