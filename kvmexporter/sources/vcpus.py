# SPDX-License-Identifier: Apache-2.0
"""The records of vCPU threads in BPF, added up by VM.

Reads the maps `vcpus` and `retired`, one batched system call for 64 vCPUs, and what `NearVcpus`
has; some 5 µs a vCPU.

What a VM's ended vCPU threads had counted is kept here, so that a VM's counters never
go down while it lives.
"""

import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kvmexporter.model.counters import CounterLayout, Counters, counter_layout
from kvmexporter.model.vm import VmId
from kvmexporter.sources.bpfmaps import BpfMap
from kvmexporter.sources.lanes import Lanes, Rows
from kvmexporter.sources.nearvcpus import NearVcpus

# What is known of the vCPU, in the order of the C.
_HEAD = ("created_ns", "tgid", "vcpu_id", "isa", "pending_cell")
_FIRST_COUNTERS = "exits"
_WORD = struct.Struct("Q")

# A write whose handler nothing has told for this long was handled by the kernel: its
# userspace exit would have followed within microseconds. Only where guests run in
# KVM's instruction emulator can the next event be that far away. Should it be that exit after
# all, of a thread that had no CPU meanwhile, the next write that the kernel handles was told.
_SETTLED_AFTER_SECONDS = 1.0

# procfs rounds a process's start down to a clock tick, so this cannot be exact; a
# record made before its process is one of an earlier process with the same pid.
_START_TOLERANCE_NS = 10_000_000


@dataclass(frozen=True, slots=True)
class VmCounters:
    """What BPF counted for one VM.

    Attributes:
        isa: whose exit reasons they are (`tables.exit_reasons.Isa`), 0 if none was seen.
        vcpus: vCPU threads seen alive.
        counters: added up over all vCPUs, those that ended included.
        by_vcpu: vcpu_id → its own, those that ended left out; empty unless asked for.
        tids: the threads of the vCPUs seen alive.
    """

    isa: int
    vcpus: int
    counters: Counters
    by_vcpu: Mapping[int, Counters] = field(default_factory=dict)
    tids: tuple[int, ...] = ()


@dataclass(slots=True)
class _Sum:
    lanes: Lanes
    isa: int = 0
    vcpus: int = 0
    by_vcpu: dict[int, Lanes] = field(default_factory=dict)
    tids: list[int] = field(default_factory=list)


class _Record(NamedTuple):
    tid: int
    created_ns: int
    tgid: int
    vcpu_id: int
    isa: int
    pending_cell: int
    data: bytes | memoryview

    @property
    def key(self) -> tuple[int, int]:
        return self.tid, self.created_ns


class VcpuReader:
    """Reads the maps; not safe to use from several threads.

    Args:
        vcpus: the map of records, by thread.
        retired: the map of records of ended threads.
        monotonic: the clock, in seconds.
        near: records that are in neither; None if there are none.
    """

    def __init__(
        self,
        vcpus: BpfMap,
        retired: BpfMap,
        monotonic: Callable[[], float] = time.monotonic,
        near: NearVcpus | None = None,
    ) -> None:
        self._vcpus = vcpus
        self._retired = retired
        self._near = near
        self._monotonic = monotonic
        layout = vcpus.layout
        self.layout: CounterLayout = counter_layout(
            layout.value_size, layout.fields, _FIRST_COUNTERS
        )
        self._head = layout.struct_of(_HEAD)
        self._ended: dict[VmId, _Sum] = {}
        self._first_io = self.layout.arrays["io"][0]
        self._pending: dict[tuple[int, int], tuple[bytes, float]] = {}
        # Record → counter → what was told of it with a write that has settled.
        self._told: dict[tuple[int, int], dict[int, int]] = {}

    def read(
        self, identify: Callable[[int], VmId | None], by_vcpu: bool = False
    ) -> dict[VmId, VmCounters]:
        """Add up every record by VM.

        Args:
            identify: process → its VM, None if it is gone.
            by_vcpu: whether to give the counters of each vCPU, too.
        """
        identities: dict[int, VmId | None] = {}

        def vm_of(record: _Record) -> VmId | None:
            if record.tgid not in identities:
                identities[record.tgid] = identify(record.tgid)
            identity = identities[record.tgid]
            if identity and record.created_ns + _START_TOLERANCE_NS < identity.start_ns:
                return None
            return identity

        # Live ones first: a thread that ends in between is met twice, and counts as
        # alive this time; the other way round it would be missed.
        live: set[tuple[int, int]] = set()
        pending: set[tuple[int, int]] = set()
        sums: dict[VmId, _Sum] = {}
        rows = Rows(self.layout.count)
        for record in self._parse(self._live_items(), _live_tid):
            live.add(record.key)
            if identity := vm_of(record):
                one = sums.get(identity) or sums.setdefault(identity, _Sum(rows.make()))
                totals = [one.lanes]
                if by_vcpu:
                    totals.append(
                        one.by_vcpu.get(record.vcpu_id)
                        or one.by_vcpu.setdefault(record.vcpu_id, rows.make())
                    )
                settled = False
                if record.pending_cell:
                    pending.add(record.key)
                    settled = self._has_settled(record)
                writes: Mapping[int, int] = {}
                if settled or self._told:
                    writes = self._writes_told(record, settled=settled)
                for total in totals:
                    self._add(record, total, writes)
                one.isa = one.isa or record.isa
                one.vcpus += 1
                one.tids.append(record.tid)
        just_ended = []
        for record in self._parse(self._ended_items(), _retired_tid):
            if identity := vm_of(record):
                if record.key in live:
                    just_ended.append((identity, record))
                else:
                    self._end(identity, record)
        self._pending = {key: value for key, value in self._pending.items() if key in pending}
        self._add_ended(sums, rows, identify)
        for identity, record in just_ended:
            self._end(identity, record)
        self._told = {key: told for key, told in self._told.items() if key in live}
        # One after the other taken out: both at once would be megabytes.
        return {identity: self._counters(sums.pop(identity)) for identity in list(sums)}

    def _counters(self, one: _Sum) -> VmCounters:
        return VmCounters(
            one.isa,
            one.vcpus,
            Counters(*one.lanes.active(), self.layout),
            {vcpu: Counters(*lanes.active(), self.layout) for vcpu, lanes in one.by_vcpu.items()},
            tuple(sorted(one.tids)),
        )

    def _end(self, identity: VmId, record: _Record) -> None:
        """Keep what a thread had counted; of a write it did not live to see handled, too."""
        one = self._ended.get(identity)
        if one is None:
            one = self._ended[identity] = _Sum(Lanes(self.layout.count))
        one.isa = one.isa or record.isa
        writes = self._writes_told(record, settled=bool(record.pending_cell))
        self._add(record, one.lanes, writes)
        self._told.pop(record.key, None)

    def _add_ended(
        self, sums: dict[VmId, _Sum], rows: Rows, identify: Callable[[int], VmId | None]
    ) -> None:
        for identity, ended in list(self._ended.items()):
            if identity not in sums and identify(identity.pid) != identity:
                del self._ended[identity]
                continue
            one = sums.get(identity) or sums.setdefault(identity, _Sum(rows.make()))
            one.isa = one.isa or ended.isa
            one.lanes.add(ended.lanes.words.tobytes())

    def _has_settled(self, record: _Record) -> bool:
        """Whether a write waited too long to be anything but the kernel's."""
        now = self._monotonic()
        counted = bytes(record.data[self.layout.offset :])
        state, since = self._pending.setdefault(record.key, (counted, now))
        if state != counted:
            self._pending[record.key] = counted, now
            return False
        return now - since >= _SETTLED_AFTER_SECONDS

    def _writes_told(self, record: _Record, *, settled: bool) -> Mapping[int, int]:
        """Counter → writes that have settled and that BPF has not counted in it: never fewer.

        Args:
            record: of a thread.
            settled: whether the write that is pending has.
        """
        told = self._told.pop(record.key, {})
        if settled:
            place = self._first_io + record.pending_cell - 1
            told[place] = max(told.get(place, 0), self._counted(record, place) + 1)
        more = {place: count - self._counted(record, place) for place, count in told.items()}
        if owed := {place: count for place, count in more.items() if count > 0}:
            self._told[record.key] = {place: told[place] for place in owed}
        return owed

    def _counted(self, record: _Record, place: int) -> int:
        (count,) = _WORD.unpack_from(record.data, self.layout.offset + _WORD.size * place)
        return int(count)

    def _add(self, record: _Record, total: Lanes, writes: Mapping[int, int]) -> None:
        """Add a record's counters, and the writes that have settled besides."""
        total.add(record.data, self.layout.offset)
        for place, more in writes.items():
            total.words[place] += more

    def _live_items(self) -> Iterator[tuple[bytes, bytes | memoryview]]:
        if self._near:
            yield from self._near.items()
        yield from self._vcpus.views()

    def _ended_items(self) -> Iterator[tuple[bytes, bytes]]:
        if self._near:
            yield from self._near.drain()
        yield from self._retired.drain()

    def _parse(
        self, items: Iterator[tuple[bytes, bytes | memoryview]], tid_of: Callable[[bytes], int]
    ) -> Iterator[_Record]:
        head = self._head.unpack_from
        for key, value in items:
            created_ns, tgid, vcpu_id, isa, pending_cell = head(value)
            if created_ns:  # else being made at this moment
                yield _Record(tid_of(key), created_ns, tgid, vcpu_id, isa, pending_cell, value)


def _live_tid(key: bytes) -> int:
    return int(struct.unpack("I", key)[0])


def _retired_tid(key: bytes) -> int:
    # struct retired_key: created_ns, pid_tgid; the thread is the low half of the latter.
    return int(struct.unpack("QII", key)[1])
