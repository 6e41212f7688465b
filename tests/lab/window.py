# SPDX-License-Identifier: Apache-2.0
"""One window, seen by the exporter and by the kernel's own counts.

The guest is paused at both ends (QMP `stop`), so that both see the very same events.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from kvmexporter.tables.exit_reasons import Isa, exit_reason
from tests.lab.exporter import Exporter, Scrape
from tests.lab.witness import EventCount, kvm_statistics

# KVM's debugfs counters of a VM, and what they count of exits.
STATISTICS = ("exits", "io_exits", "mmio_exits", "halt_exits")

# Whose codes the host's kvm_exit carries, and what of one is the reason: on VMX the rest are flags.
_ISAS = {"amd": (Isa.SVM, 0xFFFFFFFF), "intel": (Isa.VMX, 0xFFFF)}


class Pausable(Protocol):
    """A guest of any kind."""

    name: str

    @property
    def pid(self) -> int: ...

    @property
    def vcpu_tids(self) -> Sequence[int]: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Window:
    """What moved between the two pauses.

    Attributes:
        before: the scrape at its start.
        after: the scrape at its end.
        exits: thread → reason → the kernel's count of kvm_exit.
        entries: the kernel's count of kvm_entry.
        statistics: name → how far KVM's own counters moved.
    """

    before: Scrape
    after: Scrape
    exits: dict[int, Counter[str]]
    entries: int
    statistics: dict[str, int]

    def by_reason(self) -> Counter[str]:
        """The kernel's count of exits, over all vCPUs."""
        return sum(self.exits.values(), Counter())

    def moved(self, name: str, *by: str, **labels: str) -> Counter[tuple[str, ...]]:
        """How far series moved, by the values of these labels; zeros left out."""
        result: Counter[tuple[str, ...]] = Counter()
        for sign, scrape in ((1, self.after), (-1, self.before)):
            for sample in scrape.samples(name, **labels):
                result[tuple(sample.labels[label] for label in by)] += sign * int(sample.value)
        return Counter({key: value for key, value in result.items() if value})


def observe(
    exporter: Exporter, guest: Pausable, work: Callable[[], object], *also: EventCount
) -> Window:
    """Run `work` while both count; pauses the guest before and after, and leaves it running.

    `also` are counted in the very same window, and read by whoever made them.
    """
    guest.pause()
    tids = guest.vcpu_tids
    exits = EventCount("kvm_exit", "common_pid", "exit_reason")
    entries = EventCount("kvm_entry", "common_pid")
    with ExitStack() as counted:
        for witness in (exits, entries, *also):
            counted.enter_context(witness)
        before = exporter.scrape()
        statistics = kvm_statistics(guest.pid)
        guest.resume()
        work()
        guest.pause()
        after = exporter.scrape()
        moved = kvm_statistics(guest.pid)
    guest.resume()
    isa, mask = _ISAS[os.environ.get("KVMEXPORTER_LAB_CPU", "amd")]
    by_thread: dict[int, Counter[str]] = {tid: Counter() for tid in tids}
    for (tid, code), count in exits.read().items():
        if tid in by_thread:
            by_thread[tid][exit_reason(isa, code & mask)] += count
    return Window(
        before,
        after,
        by_thread,
        entries.total(list(tids)),
        {name: moved[name] - statistics[name] for name in STATISTICS},
    )
