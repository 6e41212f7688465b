# SPDX-License-Identifier: Apache-2.0
"""Each VM's balloon: what its guest has, should have and could have, and how it fares with that.

Reads nothing itself: what the VMM said last, in the background; a balloon at rest is asked for
every 15 seconds, one that is on its way every five (`addressing.py`). Of a VM that libvirt alone
may ask it is what libvirt keeps (`model/libvirt_balloon.py`). A scrape costs nothing.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from kvmexporter.addressing import VmAddressing
from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model import balloon_findings
from kvmexporter.model.balloon import MEMORY_STATS, Balloon, BalloonHistory
from kvmexporter.model.findings import Finding
from kvmexporter.model.growing import Growing
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.vm import VmId
from kvmexporter.needs import LIBVIRT, PID_NAMESPACE, QMP

_DETAILS = "balloon.details"

ACTUAL = Metric(
    "kvm_vm_balloon_actual_bytes",
    Kind.GAUGE,
    "Memory that the guest has: all of the VM's less what is in the balloon.",
    ("vm",),
    "QMP query-balloon, else libvirt's currentMemory",
)
TARGET = Metric(
    "kvm_vm_balloon_target_bytes",
    Kind.GAUGE,
    "Memory that the guest should have; while actual is more, the guest has not given what was "
    "asked of it. Absent while the guest has not mapped the device, and where libvirt alone tells "
    "of the balloon: it does not keep what it asked for.",
    ("vm",),
    "the balloon device's configuration, QMP xp",
)
MAX = Metric(
    "kvm_vm_balloon_max_bytes",
    Kind.GAUGE,
    "Memory that the guest has when its balloon is empty.",
    ("vm",),
    "QMP query-memory-size-summary, else libvirt's memory",
)
AGE = Metric(
    "kvm_vm_balloon_age_seconds",
    Kind.GAUGE,
    "How long ago the VMM was asked for its balloon, or libvirt's daemon seen to hold the VM's "
    "monitor: the age of the VM's other balloon metrics. They are left out once that is five "
    "minutes, and twice as long as VMMs are left alone where there are so many.",
    ("vm",),
)
SHORT = Metric(
    "kvm_vm_balloon_short_seconds",
    Kind.GAUGE,
    "For how long the guest has been seen to have more memory than it should, by a mebibyte or "
    "more; 0 if it has not.",
    ("vm",),
    "QMP query-balloon and xp",
)
CHANGES = Metric(
    "kvm_vm_balloon_changes_total",
    Kind.COUNTER,
    "Times that the balloon was found larger (inflate) or smaller (deflate) than when the VMM "
    "was asked before; what happens in between counts once.",
    ("vm", "direction"),
    "QMP query-balloon",
    extra=_DETAILS,
)
MOVED = Metric(
    "kvm_vm_balloon_moved_bytes_total",
    Kind.COUNTER,
    "Memory that went into the balloon (inflate) and out of it (deflate), as far as it showed "
    "from one asking to the next.",
    ("vm", "direction"),
    "QMP query-balloon",
)
STAT = Metric(
    "kvm_vm_balloon_stat_bytes",
    Kind.GAUGE,
    "What the guest itself says of its memory; available: what can be had without swapping. As "
    "old as kvm_vm_balloon_stats_age_seconds says.",
    ("vm", "stat"),
    "QMP qom-get guest-stats",
)
SWAP_IN = Metric(
    "kvm_vm_balloon_swap_in_bytes_total",
    Kind.COUNTER,
    "What the guest says that it read back from its swap.",
    ("vm",),
    "QMP qom-get guest-stats",
)
SWAP_OUT = Metric(
    "kvm_vm_balloon_swap_out_bytes_total",
    Kind.COUNTER,
    "What the guest says that it wrote to its swap.",
    ("vm",),
    "QMP qom-get guest-stats",
)
FAULTS = Metric(
    "kvm_vm_balloon_faults_total",
    Kind.COUNTER,
    "Page faults that the guest says it had; major: those that had to wait for a disk.",
    ("vm", "severity"),
    "QMP qom-get guest-stats",
)
HUGE = Metric(
    "kvm_vm_balloon_hugetlb_allocations_total",
    Kind.COUNTER,
    "Huge pages that the guest says it allocated from its pool, and failed to; absent in guests "
    "that never did.",
    ("vm", "outcome"),
    "QMP qom-get guest-stats",
)
OOM_KILLS = Metric(
    "kvm_vm_balloon_oom_kills_total",
    Kind.COUNTER,
    "Processes that the guest says it killed for want of memory; newer QEMUs and guests only.",
    ("vm",),
    "QMP qom-get guest-stats",
)
STATS_AGE = Metric(
    "kvm_vm_balloon_stats_age_seconds",
    Kind.GAUGE,
    "How old the guest's own numbers are, by the host's clock and to the second; absent if it "
    "never gave any.",
    ("vm",),
    "QMP qom-get guest-stats, last-update",
)
POLLING = Metric(
    "kvm_vm_balloon_stats_interval_seconds",
    Kind.GAUGE,
    "How often the VMM asks the guest for its numbers; 0: never, and they stay as they are.",
    ("vm",),
    "QMP qom-get guest-stats-polling-interval, else libvirt's stats period",
    extra=_DETAILS,
)
FEATURE = Metric(
    "kvm_vm_balloon_feature",
    Kind.GAUGE,
    "Whether the balloon device offers the guest a feature; kvm_vm_virtio_feature tells which of "
    "them its driver has accepted.",
    ("vm", "feature"),
    "QMP qom-get, else libvirt's autodeflate and freePageReporting",
    extra=_DETAILS,
)

_COUNTERS: Mapping[str, tuple[Metric, tuple[str, ...]]] = {
    "inflations": (CHANGES, ("inflate",)),
    "deflations": (CHANGES, ("deflate",)),
    "inflated": (MOVED, ("inflate",)),
    "deflated": (MOVED, ("deflate",)),
    "swap-in": (SWAP_IN, ()),
    "swap-out": (SWAP_OUT, ()),
    "major-faults": (FAULTS, ("major",)),
    "minor-faults": (FAULTS, ("minor",)),
    "htlb-pgalloc": (HUGE, ("success",)),
    "htlb-pgfail": (HUGE, ("failure",)),
    "oom-kill": (OOM_KILLS, ()),
}


@dataclass(frozen=True, slots=True)
class BalloonSample:
    """One VM's balloon.

    Attributes:
        vm: its name.
        balloon: as it was found last.
        age_seconds: how long ago that was.
        counters: what the guest counts, and the balloon's moves; made to grow only.
        stats_age_seconds: of the guest's numbers, None if it never gave any.
    """

    vm: str
    balloon: Balloon
    age_seconds: float
    counters: Mapping[str, int]
    stats_age_seconds: float | None


class BalloonCollector(Collector[list[BalloonSample]]):
    """Balloons, as the host sees them."""

    name = "balloon"
    summary = "VMs' balloons: size, target, what guests say of their memory"
    metrics = (
        ACTUAL, TARGET, MAX, AGE, SHORT, CHANGES, MOVED, STAT, SWAP_IN, SWAP_OUT, FAULTS, HUGE,
        OOM_KILLS, STATS_AGE, POLLING, FEATURE,
    )  # fmt: skip
    extras: ClassVar[Mapping[str, str]] = {
        "details": "Also serve what the balloon device offers, how often its guest is asked for "
        "statistics, and how often the balloon was found changed.",
    }
    needs = (PID_NAMESPACE,)
    wants = (QMP, LIBVIRT)

    def __init__(self, sources: Sources, clock: Callable[[], float] = time.time) -> None:
        super().__init__(sources)
        self._clock = clock
        self._growing: dict[VmId, Growing] = {}
        self._kept: dict[VmId, Balloon] = {}  # as the sampling before found them

    def sample(self, cycle: Cycle) -> list[BalloonSample]:
        """Take what is known of each VM's balloon.

        Raises:
            Unavailable: every VM has been asked, or cannot be, and none has a balloon.
        """
        self._growing = {vm.id: self._growing.get(vm.id) or Growing() for vm in cycle.vms}
        now = self._clock()
        samples = []
        unasked = 0
        kept: dict[VmId, Balloon] = {}
        for vm in cycle.vms:
            known = cycle.addressing.get(vm.id)
            found = cycle.balloon(vm)
            if found is None:
                unasked += _may_have_one(known)
                continue
            balloon, age = found
            before, growing = self._kept.get(vm.id), self._growing[vm.id]
            if not balloon.asked:
                balloon = balloon.after(before, cycle.time)
            kept[vm.id] = balloon
            if balloon is not before:
                growing.follow(
                    {name: balloon.stats[name] for name in _COUNTERS if name in balloon.stats}
                    | _moves(balloon.history)
                )
            stats_age = max(now - balloon.stats_at, 0.0) if balloon.stats_at else None
            samples.append(BalloonSample(vm.name, balloon, age, growing.shown, stats_age))
        self._kept = kept
        if cycle.vms and not samples and not unasked:
            raise Unavailable(
                "no VM here has a balloon that its VMM tells of",
                "give VMs <memballoon model='virtio'/> or -device virtio-balloon-pci, and QEMU "
                "a QMP socket for the exporter",
            )
        return samples

    def families(self, sample: list[BalloonSample]) -> Iterable[Family]:
        """One series of each; what is not known is left out."""
        result = {metric: Family(metric) for metric in self.metrics}
        for one in sample:
            vm, balloon, history = one.vm, one.balloon, one.balloon.history
            result[ACTUAL].add(balloon.actual_bytes, vm)
            if balloon.target_bytes is not None:
                result[TARGET].add(balloon.target_bytes, vm)
                since = history.seen if history.short_since is None else history.short_since
                result[SHORT].add(history.seen - since, vm)
            result[MAX].add(balloon.max_bytes, vm)
            result[AGE].add(one.age_seconds, vm)
            stats = balloon.stats
            result[STAT].group(
                (vm,),
                {(MEMORY_STATS[name],): stats[name] for name in MEMORY_STATS if name in stats},
            )
            for name, value in one.counters.items():
                metric, labels = _COUNTERS[name]
                if value or metric is not HUGE:
                    result[metric].add(value, vm, *labels)
            if one.stats_age_seconds is not None:
                result[STATS_AGE].add(one.stats_age_seconds, vm)
            if balloon.polling_seconds is not None:
                result[POLLING].add(balloon.polling_seconds, vm)
            for feature, offered in balloon.offered.items():
                result[FEATURE].add(int(offered), vm, feature)
        return result.values()

    def findings(self, sample: list[BalloonSample]) -> Iterable[Finding]:
        """What is wrong with balloons."""
        for one in sample:
            yield from balloon_findings.stuck(one.vm, one.balloon)
            yield from balloon_findings.oom_risk(one.vm, one.balloon, one.stats_age_seconds)
            yield from balloon_findings.swapping(one.vm, one.balloon)
            yield from balloon_findings.without_deflate_on_oom(one.vm, one.balloon)
            yield from balloon_findings.statistics(one.vm, one.balloon, one.stats_age_seconds)
            yield from balloon_findings.without_reporting(one.vm, one.balloon)


def _moves(history: BalloonHistory) -> dict[str, int]:
    return {
        "inflations": history.inflations,
        "deflations": history.deflations,
        "inflated": history.inflated_bytes,
        "deflated": history.deflated_bytes,
    }


def _may_have_one(known: VmAddressing | None) -> bool:
    """Whether a VM may yet turn out to have a balloon: it has not been asked, or not lately."""
    if known is None or known.facts is None:
        return known is None or not known.trouble
    return known.facts.balloon is not None
