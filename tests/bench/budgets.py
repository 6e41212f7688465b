# SPDX-License-Identifier: Apache-2.0
"""What has been promised, and whether what was measured keeps to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.contenders import EMULATOR, HARDWARE, OURS
from tests.bench.events import EventCost
from tests.bench.losses import Loss
from tests.bench.scrape import Cost
from tests.bench.start import WARM, Start

_MIB = 1 << 20
_FLEET = 500
_NAMED = 4  # what makes up most of something


@dataclass(frozen=True, slots=True)
class Verdict:
    """One budget.

    Attributes:
        what: it is of.
        measured: what was measured.
        most: the most that it may be.
        unit: of both.
        because: what most of it is made of, or its noise, as measured.
    """

    what: str
    measured: float
    most: float
    unit: str
    because: str = ""

    @property
    def kept(self) -> bool:
        """Whether it is within the budget."""
        return self.measured <= self.most


def of_scrapes(costs: Sequence[Cost]) -> list[Verdict]:
    """Budgets of scrapes; those of sizes that were not measured are left out."""
    by_size = {cost.vms: cost for cost in costs if cost.is_default}
    found = []
    if one := by_size.get(_FLEET):
        by_time = {name: seconds for name, (_, seconds) in one.by_collector.items()}
        time, series = _most(by_time, 1e3, "ms"), _most(one.by_metric, 1, "")
        found += [
            Verdict("processor time of a scrape, 500 VMs", one.cpu_seconds, 0.25, "s", time),
            Verdict("memory of the server, 500 VMs", one.resident_bytes / _MIB, 64, "MiB"),
            Verdict("response, gzip-encoded, 500 VMs", one.gzip_bytes / _MIB, 1, "MiB", series),
            Verdict("series of a VM with five devices", one.series_per_vm, 150, "series", series),
        ]
        if one.idle_share is not None:
            share = one.idle_share * 100
            found.append(Verdict("of a core, a scrape every 15 s, 500 VMs", share, 3, "%", time))
        if twice := by_size.get(2 * _FLEET):
            grown = twice.cpu_seconds / one.cpu_seconds
            found.append(Verdict("1,000 VMs against 500, processor time", grown, 2.2, "times"))
            grown = twice.resident_bytes / one.resident_bytes
            found.append(Verdict("1,000 VMs against 500, memory", grown, 2.2, "times"))
    return found


def _most(parts: Mapping[str, float], factor: float, unit: str) -> str:
    """The largest parts of something, in words."""
    largest = sorted(parts.items(), key=lambda part: -part[1])[:_NAMED]
    return ", ".join(f"{name} {value * factor:.0f} {unit}".rstrip() for name, value in largest)


def of_start(starts: Sequence[Start]) -> list[Verdict]:
    """Budgets of the start."""
    warm = next(one for one in starts if one.kind == WARM)
    because = (
        f"loading BPF {warm.loader_seconds:.1f} s; "
        f"the server itself {warm.cpu_seconds:.1f} s of processor time"
    )
    peak = max(one.loader_bytes for one in starts) / _MIB
    left = sum(not one.loader_gone for one in starts)
    return [
        Verdict("exec to first scrape, warm", warm.seconds, 2, "s", because),
        Verdict("peak memory of the loader", peak, 200, "MiB", "clang, LLVM"),
        Verdict("loaders left after the start", float(left), 0, "processes"),
    ]


def of_events(costs: Sequence[EventCost]) -> list[Verdict]:
    """Budgets of the hot path."""
    found = []
    for cost in costs:
        what = f"{cost.event} ({cost.operation})"
        because = f"{cost.ours_ns:.0f} ns against {cost.hash_ns:.0f} ns, ± {cost.noise_ns:.0f} ns"
        against = f"{what}, against a per-CPU hash"
        found.append(Verdict(against, cost.ratio, 0.5, "times", because))
        if cost.event == "kvm_pio":
            found.append(Verdict(f"{what}, net", cost.ours_ns, 60, "ns", because))
    return found


def of_losses(losses: Sequence[Loss]) -> list[Verdict]:
    """The budget of what the guest feels.

    It is of hosts that run guests on the processor. In KVM's instruction emulator each instruction
    is an event that has to be seen, or accesses could not be told from their neighbours exactly:
    what any program there takes is shown with it.
    """
    found = {one.what: one for one in losses if not one.trouble}
    ours, hardware, emulator = (
        found.get(one.name) for one in (OURS, HARDWARE, EMULATOR)
    )  # fmt: skip
    if hardware is None:
        return []
    because = f"± {hardware.noise * 100:.1f} %; an operation takes {1e6 / hardware.rate:.1f} µs"
    if ours and emulator:
        because += (
            f"; on this host, where KVM emulates instructions and kvm_emulate_insn is attached as "
            f"well, {ours.loss * 100:.1f} % ± {ours.noise * 100:.1f}, of which an empty program "
            f"there takes {emulator.loss * 100:.1f} % ± {emulator.noise * 100:.1f}"
        )
    what = "port-I/O rate that the guest loses, on a host with VMX or SVM"
    return [Verdict(what, hardware.loss * 100, 2, "%", because)]
