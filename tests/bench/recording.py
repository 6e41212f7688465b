# SPDX-License-Identifier: Apache-2.0
"""The recording of `record.py`: one real guest, to be multiplied.

Its series are those of the exporter that watched it; its vCPUs' counters are laid out for the
I/O slots that the guest's devices have here.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmexporter.bpf.request import HISTOGRAM_BUCKETS, IO_SLOTS, KICK_SLOTS
from kvmexporter.model.io import CELLS, IoAccess, IoTarget
from kvmexporter.model.regiontable import Slots, entries
from kvmexporter.sources.qemu import QemuFacts

_PATH = Path(__file__).parent / "recordings" / "linux-guest.json"
_HISTOGRAM_WORDS = HISTOGRAM_BUCKETS + 1

Record = Mapping[str, Mapping[int, int]]
"""Array → index → count; `isa` → {0: isa}."""


@dataclass(frozen=True, slots=True)
class Guest:
    """What was recorded.

    Attributes:
        command_line: of its QEMU.
        replies: `command_key` → QEMU's answer.
        vcpus: the counters of each of its vCPUs.
        clock: what was known of its clock, by the fields of BPF's record.
        tsc_offsets: the same of each vCPU's TSC.
        series: (name, labels, value) of what was served of it.
    """

    command_line: tuple[str, ...]
    replies: Mapping[str, Mapping[str, Any]]
    vcpus: tuple[Record, ...]
    clock: Mapping[str, int]
    tsc_offsets: tuple[Mapping[str, int], ...]
    series: tuple[tuple[str, Mapping[str, str], float], ...]

    def record(self, vcpu: int, facts: QemuFacts) -> Record:
        """The counters of a vCPU, its I/O in the slots that these facts lead to."""
        one = dict(self.vcpus[vcpu % len(self.vcpus)])
        slots = Slots(IO_SLOTS, KICK_SLOTS)
        entries(facts.windows, slots)
        io: dict[int, int] = {}
        times: dict[int, int] = {}
        for labels, value in self._values("kvm_vm_io_exits_total"):
            target = IoTarget(labels["device"], labels["driver"], labels["path"])
            cell = CELLS.index(IoAccess(labels["access"], labels["direction"], labels["handler"]))
            slot = _slot(slots, target)
            io[slot * len(CELLS) + cell] = int(value) // len(self.vcpus) + 1
            # Each access was handled in some time, and how many there were decides what is served.
            count = io[slot * len(CELLS) + cell]
            first = slot * _HISTOGRAM_WORDS
            for bucket, share in enumerate(_spread(count), 3):
                times[first + bucket] = times.get(first + bucket, 0) + share
            end = first + HISTOGRAM_BUCKETS
            times[end] = times.get(end, 0) + count * 100_000
        kicks = {
            slots.kick_labels().index((labels["device"], labels["queue"])): int(value)
            for labels, value in self._values("kvm_vm_virtqueue_kicks_total")
        }
        return {**one, "io": io, "io_handling": times, "kicks": kicks}

    def _values(self, name: str) -> Sequence[tuple[Mapping[str, str], float]]:
        return [(labels, value) for series, labels, value in self.series if series == name]


_BUCKETS_IN_USE = 7


def _spread(count: int) -> list[int]:
    """Observations in neighbouring buckets: where exactly times lie costs nothing."""
    each, rest = divmod(count, _BUCKETS_IN_USE)
    return [each + (place < rest) for place in range(_BUCKETS_IN_USE)]


def _slot(slots: Slots, target: IoTarget) -> int:
    known = slots.targets().index(target) if target in slots.targets() else None
    if known is None:
        raise LookupError(f"the recording has no window of {target}: record it anew")
    return known


@functools.cache
def linux_guest() -> Guest:
    """The recording."""
    content = json.loads(_PATH.read_text())
    vcpus = tuple(
        {
            name: {int(index): count for index, count in counts.items()}
            for name, counts in vcpu.items()
        }
        for vcpu in content["vcpus"]
    )
    series = tuple((name, labels, value) for name, labels, value in content["series"])
    return Guest(
        tuple(content["command_line"]), content["replies"], vcpus, content["clock"],
        tuple(content["tsc_offsets"]), series,
    )  # fmt: skip
