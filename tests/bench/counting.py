# SPDX-License-Identifier: Apache-2.0
"""The BPF maps of a running exporter, borrowed: what it counts is read and written.

The descriptors are those that the loader handed to the server; pidfd_getfd(2) lends them.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from tests.unit.vcpu_records import struct_layout

_PIDFD_GETFD = 438  # of every architecture
_HASH, _ARRAY, _LRU_HASH = 1, 2, 9

# Name → kind of map, bytes of a key, the structure that it holds, "" for one number of eight
# bytes. No other map is alike.
_MAPS = {
    "vcpus": (_HASH, 4, "vcpu"),
    "near_vcpus": (_ARRAY, 4, "vcpu"),
    "vm_clocks": (_HASH, 4, "vm_clock"),
    "tsc_offsets": (_HASH, 8, "tsc_offset"),
    "unknown_addresses": (_LRU_HASH, 16, ""),
}

# What a record's head has besides counters.
_HEAD = "exits"


def borrow(pid: int, name: str) -> BpfMap:
    """A map of an exporter's server.

    Args:
        pid: the server's process.
        name: one of `vcpus`, `near_vcpus`, `vm_clocks`, `tsc_offsets`, `unknown_addresses`.

    Raises:
        LookupError: the process holds no such map.
    """
    kind, key_size, structure = _MAPS[name]
    size, fields = struct_layout(structure) if structure else (8, {})
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = entry.read_text()
        except FileNotFoundError:  # closed meanwhile
            continue
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        numbers = [int(info.get(word, "0"), 0) for word in ("map_type", "key_size", "value_size")]
        most = int(info.get("max_entries", "0"))
        # An array of one is the blank that new records are made from.
        if numbers == [kind, key_size, size] and most > 1:
            layout = MapLayout(key_size, size, most, dict(fields))
            return BpfMap(name, _descriptor(pid, int(entry.name)), layout)
    raise LookupError(f"process {pid} holds no map like {name}")


def _descriptor(pid: int, number: int) -> int:
    process = os.pidfd_open(pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        fd = int(libc.syscall(_PIDFD_GETFD, process, number, 0))
    finally:
        os.close(process)
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd


def records_of(pid: int, tids: Iterable[int]) -> list[bytes]:
    """The records of these threads, wherever an exporter has them."""
    with borrow(pid, "vcpus") as vcpus, borrow(pid, "near_vcpus") as near:
        at, size, _ = near.layout.fields["tid"]
        found = []
        for tid in tids:
            own = struct.pack("I", tid)
            data = near.get(struct.pack("I", tid % near.layout.max_entries))
            if data is None or data[at : at + size] != own:
                data = vcpus.get(own)
            if data is not None:
                found.append(data)
        return found


def clock_of(pid: int, vm: int) -> dict[str, int]:
    """What an exporter has of a VM's clock.

    Raises:
        LookupError: nothing.
    """
    with borrow(pid, "vm_clocks") as clocks:
        value = clocks.get(struct.pack("I", vm))
        if value is None:
            raise LookupError(f"nothing is known of the clock of process {vm}")
        return fields_of(clocks, value)


def offsets_of(pid: int, vm: int) -> list[dict[str, int]]:
    """What an exporter has of the TSC offsets of a VM's vCPUs."""
    with borrow(pid, "tsc_offsets") as offsets:
        return [
            fields_of(offsets, value)
            for key, value in offsets.items()
            if struct.unpack_from("I", key)[0] == vm
        ]


def fields_of(one: BpfMap, value: bytes) -> dict[str, int]:
    """A value of a map by its fields, without when it was made."""
    return {
        name: int.from_bytes(value[offset : offset + size], "little")
        for name, (offset, size, _) in one.layout.fields.items()
        if name != "created_ns"
    }


def sparse(data: bytes) -> dict[str, dict[int, int]]:
    """What a record has counted that is not zero: array → index → count; `isa` → {0: isa}."""
    _, fields = struct_layout("vcpu")
    (isa,) = struct.unpack_from("I", data, fields["isa"][0])
    result = {"isa": {0: isa}}
    first = fields[_HEAD][0]
    for name, (offset, size, elements) in fields.items():
        if offset < first:
            continue
        assert size == 8 * elements, name
        words = struct.unpack_from(f"{elements}Q", data, offset)
        if counts := {index: word for index, word in enumerate(words) if word}:
            result[name] = counts
    return result
