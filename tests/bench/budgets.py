# SPDX-License-Identifier: Apache-2.0
"""What has been promised, and whether what was measured keeps to it.

A whole run judges every promise: one that was not measured is as good as broken.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench import growth
from tests.bench.contenders import EMULATOR, HARDWARE, NOTHING, OURS
from tests.bench.events import OPERATIONS, EventCost
from tests.bench.instructions import ExitCost
from tests.bench.losses import Loss
from tests.bench.noise import words
from tests.bench.scrape import GLANCES_A_VISIT, SIZES, Cost
from tests.bench.start import WARM, Start

_MIB = 1 << 20
_FLEET = 500
_NAMED = 4  # what makes up most of something
_NET_EVENT = "kvm_pio"


@dataclass(frozen=True, slots=True)
class Budget:
    """A promise.

    Attributes:
        what: it is of.
        most: the most that it may be; None: none was given, it is shown beside those that were.
        unit: of what is measured.
    """

    what: str
    most: float | None
    unit: str

    def found(self, measured: float | None, because: str = "") -> "Verdict":
        """What was measured, None if it could not be."""
        return Verdict(self, measured, because)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it stands with one budget.

    Attributes:
        budget: which.
        measured: what was measured, None if it was not.
        because: what most of it is made of, its noise, or why it was not measured.
    """

    budget: Budget
    measured: float | None
    because: str = ""

    @property
    def kept(self) -> bool:
        """Whether it is known and within the budget."""
        if self.measured is None:
            return False
        return self.budget.most is None or self.measured <= self.budget.most


AGAINST_HASH = {
    operation: Budget(f"{event} ({operation}), against a per-CPU hash", 0.5, "times")
    for operation, (event, _) in OPERATIONS.items()
}
NET = {
    operation: Budget(f"{event} ({operation}), net", 60, "ns")
    for operation, (event, _) in OPERATIONS.items()
    if event == _NET_EVENT
}
# What fires on no host that has KVM emulate instructions: the lab's host has SVM.
IN_INSTRUCTIONS = {
    (event, operation): Budget(
        f"{event} ({operation}), against a per-CPU hash, in instructions, in the lab", None, "times"
    )
    for event, operation in (
        ("kvm_exit", "pit_write"),
        ("kvm_entry", "pit_write"),
        ("kvm_userspace_exit", "serial_write"),
    )
}
LOSS = Budget(
    "port-I/O rate that the guest loses to the programs that a host with VMX or SVM attaches, "
    "here, where kvm_exit and kvm_entry do not fire",
    2, "%",
)  # fmt: skip
LOSS_TO_ALL = Budget(
    "port-I/O rate that the guest loses to everything attached here, kvm_emulate_insn as well",
    None, "%",
)  # fmt: skip
WHOLE_EXIT = Budget(
    "a whole exit (pit_write) with kvmexporter, against nothing attached, in instructions, in the "
    "lab",
    None, "times",
)  # fmt: skip
CPU = Budget("processor time of a scrape, 500 VMs", 0.25, "s")
MEMORY = Budget("memory of the server, 500 VMs", 64, "MiB")
MAPS = Budget("memory of the BPF maps, the kernel's, 500 VMs", None, "MiB")
RESPONSE = Budget("response, gzip-encoded, 500 VMs", 1, "MiB")
SERIES = Budget("series of a VM with five devices", 150, "series")
SHARE = Budget("of a core, a scrape every 15 s, refreshes included, 500 VMs", 3, "%")
TWICE_CPU = Budget("1,000 VMs against 500, processor time", 2.2, "times")
TWICE_MEMORY = Budget("1,000 VMs against 500, memory", 2.2, "times")
LINE_CPU = Budget("10 to 1,000 VMs against a straight line, processor time", 1.15, "times")
LINE_MEMORY = Budget("10 to 1,000 VMs against a straight line, memory", 1.15, "times")
FIRST_SCRAPE = Budget("exec to first scrape, warm", 2, "s")
LOADER_PEAK = Budget("peak memory of the loader", 200, "MiB")
LOADERS_LEFT = Budget("loaders left after the start", 0, "processes")

PROMISED = (
    *(one for name in OPERATIONS for one in (AGAINST_HASH[name], NET.get(name)) if one),
    *IN_INSTRUCTIONS.values(),
    LOSS, LOSS_TO_ALL, WHOLE_EXIT,
    CPU, MEMORY, MAPS, RESPONSE, SERIES, SHARE, TWICE_CPU, TWICE_MEMORY, LINE_CPU, LINE_MEMORY,
    FIRST_SCRAPE, LOADER_PEAK, LOADERS_LEFT,
)  # fmt: skip
"""What a whole run judges."""


def judged(found: Iterable[Verdict]) -> list[Verdict]:
    """A verdict on every promise; on those without one, that it was not measured."""
    known = {one.budget: one for one in found}
    return [known.get(budget) or budget.found(None) for budget in PROMISED]


def exit_code(verdicts: Iterable[Verdict], *, whole: bool) -> int:
    """1 if a budget is exceeded or, in a whole run, was not measured."""
    return int(any(not one.kept and (whole or one.measured is not None) for one in verdicts))


def of_scrapes(costs: Sequence[Cost]) -> list[Verdict]:
    """Budgets of scrapes; those of sizes that were not measured are left out."""
    by_size = {cost.vms: cost for cost in costs if cost.is_default}
    found = _of_growth(by_size)
    if one := by_size.get(_FLEET):
        by_time = {name: seconds for name, (_, seconds) in one.by_collector.items()}
        time = _most({**by_time, "no collector": one.rest_seconds}, 1e3, "ms")
        series = _most(one.by_metric, 1, "")
        peak = f"{one.peak_bytes / _MIB:.0f} MiB while it was scraped"
        share = None if one.share is None else one.share * 100
        found += [
            CPU.found(one.cpu_seconds, f"{time}; {_disturbance(one)}"),
            MEMORY.found(one.resident_bytes / _MIB, peak),
            MAPS.found(one.map_bytes / _MIB),
            RESPONSE.found(one.gzip_bytes / _MIB, series),
            SERIES.found(one.series_per_vm, series),
            SHARE.found(share, _visits(one)),
        ]
    return found


def _most(parts: Mapping[str, float], factor: float, unit: str) -> str:
    """The largest parts of something, in words."""
    largest = sorted(parts.items(), key=lambda part: -part[1])[:_NAMED]
    return ", ".join(f"{name} {value * factor:.0f} {unit}".rstrip() for name, value in largest)


def _disturbance(cost: Cost) -> str:
    """Which scrapes count."""
    if cost.is_undisturbed:
        return f"{cost.undisturbed} of {cost.scrapes} scrapes were left alone by neighbours"
    return (
        f"of {cost.scrapes} scrapes neighbours left {cost.undisturbed} alone: too few, the median "
        "is of all"
    )


def _visits(cost: Cost) -> str:
    """What is in the share of a core, and what was added to it."""
    if cost.window is None:
        return "no window was measured"
    if cost.missing_visits_share is None:
        return "no visit was measured"
    visit_ms = (cost.visit_seconds or 0) * 1e3
    first_ms = (cost.first_visit_seconds or 0) * 1e3
    return (
        f"{cost.window.share * 100:.2f} % in {cost.window.seconds:.0f} s with "
        f"{cost.window.visits} visits to VMs and {cost.window.glances} looks at balloons alone; "
        f"each VM is visited every {cost.refresh_seconds:.0f} s, its balloon looked at "
        f"{GLANCES_A_VISIT:.0f} times as often, such a visit takes {visit_ms:.1f} ms, the first "
        f"{first_ms:.1f}: "
        f"{cost.missing_visits_share * 100:.2f} % added for those that this time did not have"
    )


def _of_growth(by_size: Mapping[int, Cost]) -> list[Verdict]:
    """Whether costs grow with VMs, and no quicker."""

    def cpu(cost: Cost) -> float:
        return cost.cpu_seconds

    def memory(cost: Cost) -> float:
        return cost.resident_bytes / _MIB

    found = []
    for cost_of, twice in ((cpu, TWICE_CPU), (memory, TWICE_MEMORY)):
        if {_FLEET, 2 * _FLEET} <= by_size.keys():
            found.append(twice.found(cost_of(by_size[2 * _FLEET]) / cost_of(by_size[_FLEET])))
    for cost_of, budget, factor, unit in (
        (cpu, LINE_CPU, 1e3, "ms"),
        (memory, LINE_MEMORY, 1, "MiB"),
    ):
        if set(SIZES) <= by_size.keys():
            found.append(_along_line(by_size, cost_of, budget, factor, unit))
    return found


def _along_line(
    by_size: Mapping[int, Cost],
    cost_of: Callable[[Cost], float],
    budget: Budget,
    factor: float,
    unit: str,
) -> Verdict:
    costs = {vms: cost_of(by_size[vms]) for vms in SIZES}
    line, times = growth.line_through(costs), growth.against_line(costs)
    steps = ", ".join(f"{vms:,} VMs {each:.2f}" for vms, each in times.items())
    because = (
        f"{steps}; the line: {line.fixed * factor:.1f} {unit} and "
        f"{line.each * factor:.3f} {unit} a VM"
    )
    return budget.found(max(times.values()), because)


def of_start(starts: Sequence[Start]) -> list[Verdict]:
    """Budgets of the start."""
    found = []
    if warm := next((one for one in starts if one.kind == WARM), None):
        because = (
            f"loading BPF {warm.loader_seconds:.1f} s; "
            f"the server itself {warm.cpu_seconds:.1f} s of processor time"
        )
        found.append(FIRST_SCRAPE.found(warm.seconds, because))
    if starts:
        unseen = [one.kind for one in starts if one.loader_bytes is None]
        peak = max(one.loader_bytes or 0 for one in starts) / _MIB
        left = float(sum(not one.loader_gone for one in starts))
        found += [
            LOADER_PEAK.found(None, f"the loader was not seen: {', '.join(unseen)}")
            if unseen
            else LOADER_PEAK.found(peak, "clang, LLVM"),
            LOADERS_LEFT.found(left),
        ]
    return found


def of_events(costs: Sequence[EventCost]) -> list[Verdict]:
    """Budgets of the hot path."""
    found = []
    for cost in costs:
        because = (
            f"{cost.ours_ns:.0f} ns{words(cost.interval_ns)} against {cost.hash_ns:.0f} ns"
        )  # fmt: skip
        # No program is quicker than an empty one: such a difference is noise alone.
        told = cost.ours_ns > 0 and cost.hash_ns > 0
        found.append(AGAINST_HASH[cost.operation].found(cost.ratio if told else None, because))
        if net := NET.get(cost.operation):
            found.append(net.found(cost.ours_ns if cost.ours_ns > 0 else None, because))
    return found


def of_exits(costs: Sequence[ExitCost]) -> list[Verdict]:
    """What is known in instructions alone."""
    by_operation = {cost.operation: cost for cost in costs}
    found = []
    for (event, operation), budget in IN_INSTRUCTIONS.items():
        cost = by_operation.get(operation)
        if cost and event in cost.events:
            empty, ours, hashed = cost.events[event]
            because = f"{ours - empty:.0f} instructions against {hashed - empty:.0f}"
            found.append(budget.found((ours - empty) / (hashed - empty), because))
    if whole := by_operation.get("pit_write"):
        because = (
            f"{whole.alone:,.0f} instructions, with kvmexporter {whole.with_ours:,.0f}, with a "
            f"per-CPU hash {whole.with_hash:,.0f}; what entering and leaving guest mode takes a "
            "processor is in none of them"
        )
        found.append(WHOLE_EXIT.found(whole.with_ours / whole.alone, because))
    return found


def of_losses(losses: Sequence[Loss]) -> list[Verdict]:
    """What the guest feels, on a host that has KVM emulate instructions.

    There each instruction is an event that has to be seen, or accesses could not be told from their
    neighbours exactly: what any program there takes is shown with it. The promise is of hosts
    that run guests on the processor, which attach nothing to it.
    """
    by_name = {one.what: one for one in losses}
    ours, hardware = by_name.get(OURS.name), by_name.get(HARDWARE.name)
    found = []
    if hardware:
        an_operation = f"an operation takes {1e6 / hardware.rate:.1f} µs" if hardware.rate else ""
        because = (
            f"{_percent(hardware)}",
            an_operation,
            _said(by_name.get(NOTHING.name), "nothing"),
        )
        found.append(_felt(LOSS, hardware, because))
    if ours:
        empty = _said(by_name.get(EMULATOR.name), "an empty program on kvm_emulate_insn")
        found.append(_felt(LOSS_TO_ALL, ours, (_percent(ours), empty)))
    return found


def _felt(budget: Budget, loss: Loss, because: Iterable[str]) -> Verdict:
    if loss.trouble:
        return budget.found(None, loss.trouble)
    return budget.found(loss.loss * 100, "; ".join(one for one in because if one))


def _percent(loss: Loss) -> str:
    return f"{loss.loss * 100:.1f} %{words(loss.interval, 100, 1)}"


def _said(loss: Loss | None, name: str) -> str:
    return f"{name} takes {_percent(loss)}" if loss and not loss.trouble else ""
