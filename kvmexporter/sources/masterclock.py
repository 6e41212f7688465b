# SPDX-License-Identifier: Apache-2.0
"""What BPF keeps of each VM's clock: the maps `vm_clocks` and `tsc_offsets`, two batched reads."""

import struct
import time
from collections.abc import Callable, Iterable

from kvmexporter.model.vm import VmId
from kvmexporter.model.vm_clocks import MasterClock, clock_mode_name, offset_spread
from kvmexporter.sources.bpfmaps import BpfMap
from kvmexporter.units import NS_PER_SECOND

# procfs rounds a process's start down to a clock tick.
_START_TOLERANCE_NS = 10_000_000

# A VM is known within a round of housekeeping; what is nobody's for this long never will be.
_NOBODYS_AFTER_NS = 120 * NS_PER_SECOND


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class MasterClockReader:
    """Reads the maps, and takes out what belongs to processes that are gone.

    Args:
        clocks: by process.
        offsets: by process and vCPU.
        boottime_ns: CLOCK_BOOTTIME.
    """

    def __init__(
        self, clocks: BpfMap, offsets: BpfMap, boottime_ns: Callable[[], int] = _boottime_ns
    ) -> None:
        self._clocks = clocks
        self._offsets = offsets
        self._boottime_ns = boottime_ns

    def read(self, vms: Iterable[VmId]) -> dict[VmId, MasterClock]:
        """What is known of each of these VMs; one of which nothing is known is left out."""
        by_pid = {vm.pid: vm for vm in vms}
        states: dict[VmId, dict[str, int]] = {}
        for _, vm, value in self._entries(self._clocks, by_pid):
            states[vm] = self._fields(self._clocks, value)
        writes: dict[VmId, int] = {}
        values: dict[VmId, list[int]] = {}
        for _, vm, value in self._entries(self._offsets, by_pid):
            fields = self._fields(self._offsets, value)
            writes[vm] = writes.get(vm, 0) + fields["writes"]
            values.setdefault(vm, []).append(fields["offset"])
        result = {}
        for vm in states.keys() | writes.keys():
            state = states.get(vm, {})
            known, host_clock = state.get("master_clock", 0), state.get("host_clock", 0)
            result[vm] = MasterClock(
                enabled=bool(known - 1) if known else None,
                host_clock=clock_mode_name(host_clock - 1) if host_clock else "",
                changes=state.get("master_clock_changes", 0),
                pvclock_updates=state.get("pvclock_updates", 0),
                offset_writes=writes.get(vm, 0),
                offset_spread=offset_spread(values.get(vm, ())),
            )
        return result

    def _entries(self, one: BpfMap, by_pid: dict[int, VmId]) -> Iterable[tuple[bytes, VmId, bytes]]:
        now = self._boottime_ns()
        for key, value in one.items():
            (pid,) = struct.unpack_from("I", key)  # first in both keys
            created_ns = self._fields(one, value)["created_ns"]
            vm = by_pid.get(pid)
            if vm and created_ns + _START_TOLERANCE_NS >= vm.start_ns:
                yield key, vm, value
            elif vm or now - created_ns > _NOBODYS_AFTER_NS:
                one.delete(key)

    @staticmethod
    def _fields(one: BpfMap, value: bytes) -> dict[str, int]:
        return {
            name: int.from_bytes(value[offset : offset + size], "little")
            for name, (offset, size, _) in one.layout.fields.items()
        }
