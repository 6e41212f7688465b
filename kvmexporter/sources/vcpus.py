# SPDX-License-Identifier: Apache-2.0
"""The records of vCPU threads in BPF, added up by VM.

Reads the maps `vcpus` and `retired`, one batched system call for 64 vCPUs, and what `NearVcpus`
has; about 15 µs of Python a vCPU.

What a VM's ended vCPU threads had counted is kept here, so that a VM's counters never
go down while it lives.
"""

import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kvmexporter.model.counters import BYTES_PER_COUNTER, CounterLayout, Counters, counter_layout
from kvmexporter.model.vm import VmId
from kvmexporter.sources.bpfmaps import BpfMap
from kvmexporter.sources.nearvcpus import NearVcpus

_HEAD = ("created_ns", "tgid", "vcpu_id", "isa", "pending_cell")
_FIRST_COUNTERS = "exits"

# A write whose handler nothing has told for this long was handled by the kernel: its
# userspace exit would have followed within microseconds. Only where guests run in
# KVM's instruction emulator can the next event be that far away.
_SETTLED_AFTER_SECONDS = 1.0

# A record ends in what I/O slots have that few VMs use. Telling that they are zero is quick, and
# making a number of them is most of what reading costs.
_UNUSED = tuple(bytes(size) for size in (4096, 2048, 1024, 512))

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
    isa: int = 0
    vcpus: int = 0
    total: int = 0
    by_vcpu: dict[int, int] = field(default_factory=dict)
    tids: list[int] = field(default_factory=list)

    def add(self, isa: int, total: int) -> None:
        self.isa = self.isa or isa
        self.total += total


class _Record(NamedTuple):
    tid: int
    created_ns: int
    tgid: int
    vcpu_id: int
    isa: int
    pending_cell: int
    total: int

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
        fields = vcpus.layout.fields
        self.layout: CounterLayout = counter_layout(
            vcpus.layout.value_size, fields, _FIRST_COUNTERS
        )
        self._head = _head(fields)
        self._ended: dict[VmId, _Sum] = {}
        self._pending: dict[tuple[int, int], tuple[int, float]] = {}
        self._entries = 0

    def entries(self) -> int:
        """Live records at the last read."""
        return self._entries

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
        for record in self._parse(self._live_items(), _live_tid):
            live.add(record.key)
            if identity := vm_of(record):
                one = sums.get(identity) or sums.setdefault(identity, _Sum())
                total = record.total
                if record.pending_cell:
                    pending.add(record.key)
                    total += self._settled(record)
                one.add(record.isa, total)
                one.vcpus += 1
                one.tids.append(record.tid)
                if by_vcpu:
                    one.by_vcpu[record.vcpu_id] = one.by_vcpu.get(record.vcpu_id, 0) + total
        just_ended = []
        for record in self._parse(self._ended_items(), _retired_tid):
            if identity := vm_of(record):
                # A write that its thread did not live to see handled otherwise.
                record = record._replace(total=record.total + self._lane(record))
                if record.key in live:
                    just_ended.append((identity, record))
                else:
                    self._ended.setdefault(identity, _Sum()).add(record.isa, record.total)
        self._entries = len(live)
        self._pending = {key: value for key, value in self._pending.items() if key in pending}
        self._add_ended(sums, identify)
        for identity, record in just_ended:
            self._ended.setdefault(identity, _Sum()).add(record.isa, record.total)
        # One after the other taken out: both at once would be megabytes.
        return {identity: self._counters(sums.pop(identity)) for identity in list(sums)}

    def _counters(self, one: _Sum) -> VmCounters:
        return VmCounters(
            one.isa,
            one.vcpus,
            Counters(one.total, self.layout),
            {vcpu: Counters(total, self.layout) for vcpu, total in one.by_vcpu.items()},
            tuple(sorted(one.tids)),
        )

    def _add_ended(self, sums: dict[VmId, _Sum], identify: Callable[[int], VmId | None]) -> None:
        for identity, ended in list(self._ended.items()):
            if identity not in sums and identify(identity.pid) != identity:
                del self._ended[identity]
                continue
            sums.setdefault(identity, _Sum()).add(ended.isa, ended.total)

    def _settled(self, record: _Record) -> int:
        """1 in the lane of a write that waited too long to be anything but the kernel's."""
        now = self._monotonic()
        state, since = self._pending.setdefault(record.key, (record.total, now))
        if state != record.total:
            self._pending[record.key] = record.total, now
            return 0
        if now - since < _SETTLED_AFTER_SECONDS:
            return 0
        return self._lane(record)

    def _lane(self, record: _Record) -> int:
        """1 in the lane of a write that is still pending, 0 if there is none."""
        if not record.pending_cell:
            return 0
        lane = self.layout.arrays["io"][0] + record.pending_cell - 1
        return 1 << (lane * BYTES_PER_COUNTER * 8)

    def _live_items(self) -> Iterator[tuple[bytes, bytes]]:
        if self._near:
            yield from self._near.items()
        yield from self._vcpus.items()

    def _ended_items(self) -> Iterator[tuple[bytes, bytes]]:
        if self._near:
            yield from self._near.drain()
        yield from self._retired.drain()

    def _parse(
        self, items: Iterator[tuple[bytes, bytes]], tid_of: Callable[[bytes], int]
    ) -> Iterator[_Record]:
        head, offset = self._head.unpack_from, self.layout.offset
        for key, value in items:
            created_ns, tgid, vcpu_id, isa, pending_cell = head(value)
            if not created_ns:  # being made at this moment
                continue
            total = int.from_bytes(value[offset : _end_of_use(value)], "little")
            yield _Record(tid_of(key), created_ns, tgid, vcpu_id, isa, pending_cell, total)


def _head(fields: Mapping[str, tuple[int, int, int]]) -> struct.Struct:
    """What is known of the vCPU, in the order of the C: `_HEAD`, and nothing between."""
    text, end = "=", 0
    for name in _HEAD:
        place, size, _ = fields[name]
        text += f"{place - end}x{'Q' if size == BYTES_PER_COUNTER else 'I'}"
        end = place + size
    return struct.Struct(text)


def _end_of_use(record: bytes) -> int:
    """Where nothing but zeros follow, about."""
    end = len(record)
    for zeros in _UNUSED:
        if record.endswith(zeros, 0, end):
            end -= len(zeros)
    return end


def _live_tid(key: bytes) -> int:
    return int(struct.unpack("I", key)[0])


def _retired_tid(key: bytes) -> int:
    # struct retired_key: created_ns, pid_tgid; the thread is the low half of the latter.
    return int(struct.unpack("QII", key)[1])
