# SPDX-License-Identifier: Apache-2.0
"""What each VM did between two snapshots, or since counting began, picked from their series.

Every view that shows exits, devices or queues takes them from here, so that none disagrees.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kvmexporter.model.exits import UNANNOUNCED, UNHEARD
from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import Value
from kvmexporter.model.vm import SEEING, UNSEEN, Vm
from kvmexporter.sampler import Snapshot, State
from kvmexporter.views.rates import Series, series, since

Labels = tuple[str, ...]
Counts = Mapping[Labels, float]

EXITS = "kvm_vm_exits_total"
IO_EXITS = "kvm_vm_io_exits_total"
IO_HANDLING = "kvm_vm_io_handling_seconds"
USERSPACE = "kvm_vm_userspace_exits_total"
HANDLING = "kvm_vm_exit_handling_seconds"
KICKS = "kvm_vm_virtqueue_kicks_total"
MSRS = "kvm_vm_msr_accesses_total"
HYPERCALLS = "kvm_vm_hypercalls_total"
VCPU_EXITS = "kvm_vm_vcpu_exits_total"
CPU = "kvm_vm_vcpu_cpu_seconds_total"
RUN_DELAY = "kvm_vm_run_delay_seconds_total"
# The collector of each.
_EXITS_COLLECTOR, _IO_COLLECTOR = "exits", "io"
_EXITS_FAMILIES = (EXITS, USERSPACE, MSRS, HYPERCALLS)
# What the tables of exits, paths, queues and registers show.
SHOWN = (EXITS, IO_EXITS, IO_HANDLING, USERSPACE, HANDLING, KICKS, MSRS, HYPERCALLS, VCPU_EXITS)


@dataclass(frozen=True, slots=True)
class IoPath:
    """The accesses to one device by one path.

    Attributes:
        device: its name.
        driver: the device model's type.
        path: emulated, virtio, vhost, irqchip, passthrough, platform or unknown.
        kernel: accesses that the kernel handled.
        userspace: accesses that the VMM handled.
        handling: time to the next entry; None where nobody measured.
    """

    device: str
    driver: str
    path: str
    kernel: float
    userspace: float
    handling: Histogram | None

    @property
    def total(self) -> float:
        """All accesses."""
        return self.kernel + self.userspace

    @property
    def name(self) -> str:
        """The device, with its driver unless the name says it."""
        if self.driver.lower() in self.device.lower():
            return self.device
        return f"{self.device} ({self.driver})"


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Why exits are not counted here, and accesses; "" where they are.

    Attributes:
        exits: why they are not.
        io: why accesses are not.
        others: why only those exits may be that are seen by their accesses.
    """

    exits: str = ""
    io: str = ""
    others: str = UNANNOUNCED


@dataclass(frozen=True, slots=True)
class Activity:
    """What one VM did.

    Attributes:
        vm: the VM.
        seconds: in what time, None: since counting began.
        moved: all its counters and histograms: (metric, labels after the VM's) → how far.
        exits: (reason, class) → exits.
        io: by device and path, hottest first.
        handling: class → time from exit to the next entry.
        uncounted: what nobody counted, and why.
    """

    vm: Vm
    seconds: float | None
    moved: Mapping[Series, Value]
    exits: Counts
    io: tuple[IoPath, ...]
    handling: Mapping[str, Histogram] = field(default_factory=dict)
    uncounted: Uncounted = field(default_factory=Uncounted)

    def counts(self, metric: str) -> dict[Labels, float]:
        """Label values after the VM's → how often; zeros left out."""
        return {
            labels: value
            for (name, labels), value in self.moved.items()
            if name == metric and isinstance(value, int | float) and value
        }

    def total(self, metric: str) -> float:
        """All series of a metric added up."""
        return sum(self.counts(metric).values())

    def has(self, metric: str) -> bool:
        """Whether the metric has a series of this VM's."""
        return any(name == metric for name, _ in self.moved)

    @property
    def is_exact(self) -> bool:
        """Whether all exits were seen; a KVM without hardware support announces none itself."""
        return self.has(EXITS)

    @property
    def is_least(self) -> bool:
        """Whether there were at least `all_exits`, and who knows how many more."""
        return bool(self.all_exits) and not self.is_exact

    @property
    def all_exits(self) -> float:
        """Exits; where KVM announces none, the least that there were.

        Those are the ones with an access, or those to the VMM if there were more of them: one exit
        can be both. 0 where exits are not counted: accesses do not stand for them then.
        """
        if self.uncounted.exits:
            return 0.0
        if self.is_exact:
            return sum(self.exits.values())
        accesses = self.total(IO_EXITS) + self.total(MSRS) + self.total(HYPERCALLS)
        return max(accesses, self.total(USERSPACE))


def activities(snapshot: Snapshot, earlier: Snapshot | None = None) -> list[Activity]:
    """What every VM did, in the snapshot's order."""
    seconds = snapshot.monotonic - earlier.monotonic if earlier else None
    moved = since(earlier, snapshot) if earlier else series(snapshot)
    return split(snapshot.vms, moved, seconds, uncounted(snapshot))


def uncounted(snapshot: Snapshot) -> Uncounted:
    """What nobody counted for a snapshot, and why."""
    return Uncounted(
        _why_not(snapshot, _EXITS_COLLECTOR, _EXITS_FAMILIES),
        _why_not(snapshot, _IO_COLLECTOR, (IO_EXITS,)),
        UNANNOUNCED if snapshot.hears_exits else UNHEARD,
    )


def _why_not(snapshot: Snapshot, collector: str, metrics: Collection[str]) -> str:
    if any(family.metric.name in metrics for family in snapshot.families):
        return ""
    status = next((one for one in snapshot.statuses if one.name == collector), None)
    if status is None:
        return f"the collector {collector} is off"
    return "" if status.state is State.OK else status.detail


def without_vms(snapshot: Snapshot) -> str:
    """A sentence in the place of VMs, where there are none."""
    words = "no VM runs on this host" if snapshot.sees_all_vms else f"{UNSEEN}: {SEEING}"
    return f"{words[0].upper()}{words[1:]}."


def notes(done: Sequence[Activity]) -> tuple[str, ...]:
    """What to know of the numbers of some VMs: a sentence each."""
    missing = done[0].uncounted if done else Uncounted()
    found = []
    if missing.exits:
        found.append(f"exits are not counted: {missing.exits}")
    elif missing.io:
        found.append(f"I/O is not counted: {missing.io}")
    if any(one.is_least for one in done):
        found.append(f"≥: {missing.others}")
    return tuple(found)


def split(
    vms: Iterable[Vm],
    moved: Mapping[Series, Value],
    seconds: float | None,
    missing: Uncounted,
) -> list[Activity]:
    """Each VM's own series, sorted."""
    own: defaultdict[str, dict[Series, Value]] = defaultdict(dict)
    for (metric, labels), value in moved.items():
        if metric.startswith("kvm_vm_"):
            own[labels[0]][metric, labels[1:]] = value
    return [_activity(vm, own[vm.name], seconds, missing) for vm in vms]


def _activity(
    vm: Vm, moved: Mapping[Series, Value], seconds: float | None, missing: Uncounted
) -> Activity:
    exits: dict[Labels, float] = {}
    handling: dict[str, Histogram] = {}
    for (metric, labels), value in moved.items():
        if isinstance(value, Histogram):
            if metric == HANDLING:
                handling[labels[0]] = value
        elif metric == EXITS and value:
            exits[labels] = value
    return Activity(vm, seconds, moved, exits, _io_paths(moved), handling, missing)


def _io_paths(moved: Mapping[Series, Value]) -> tuple[IoPath, ...]:
    handled: defaultdict[Labels, dict[str, float]] = defaultdict(dict)
    times: dict[Labels, Histogram] = {}
    for (metric, labels), value in moved.items():
        if isinstance(value, Histogram):
            if metric == IO_HANDLING:
                times[labels] = value
        elif metric == IO_EXITS and value:
            *device, _, _, handler = labels
            by_handler = handled[tuple(device)]
            by_handler[handler] = by_handler.get(handler, 0) + value
    paths = [
        IoPath(
            device, driver, path,
            by_handler.get("kernel", 0), by_handler.get("userspace", 0),
            times.get((device, path)),
        )
        for (device, driver, path), by_handler in handled.items()
    ]  # fmt: skip
    return tuple(sorted(paths, key=lambda one: (-one.total, one.device, one.path)))


def hottest(counts: Counts) -> list[tuple[Labels, float]]:
    """Most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
