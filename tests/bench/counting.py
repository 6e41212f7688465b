# SPDX-License-Identifier: Apache-2.0
"""The BPF maps of a running exporter, borrowed: its records of vCPUs read and written.

The descriptors are those that the loader handed to the server; pidfd_getfd(2) lends them.
"""

import ctypes
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from tests.unit.vcpu_records import struct_layout

_PIDFD_GETFD = 438  # of every architecture
_HASH = 1

Record = Mapping[str, Mapping[int, int]]
"""Array → index → count; `isa` → {0: isa}."""

_ARRAYS = (
    "exits", "handling", "userspace_exits", "userspace_restarts", "userspace_errors", "io",
    "io_handling", "kicks", "msrs", "hypercalls", "interrupts", "halts", "halt_time",
)  # fmt: skip


def borrow_vcpus(pid: int) -> BpfMap:
    """The map `vcpus` of an exporter's server.

    Raises:
        LookupError: the process holds no such map.
    """
    size, fields = struct_layout("vcpu")
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        info = dict(line.split(":", 1) for line in entry.read_text().splitlines() if ":" in line)
        numbers = {key: int(info.get(key, "0"), 0) for key in (
            "map_type", "key_size", "value_size", "max_entries"
        )}  # fmt: skip
        if numbers["map_type"] == _HASH and (numbers["key_size"], numbers["value_size"]) == (
            4, size
        ):  # fmt: skip
            layout = MapLayout(4, size, numbers["max_entries"], dict(fields))
            return BpfMap("vcpus", _descriptor(pid, int(entry.name)), layout)
    raise LookupError(f"process {pid} holds no map of vCPU records of {size} bytes")


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
    """The records of these threads in an exporter's map."""
    with borrow_vcpus(pid) as vcpus:
        found = (vcpus.get(struct.pack("I", tid)) for tid in tids)
        return [data for data in found if data is not None]


def sparse(data: bytes) -> dict[str, dict[int, int]]:
    """What a record holds that is not zero."""
    _, fields = struct_layout("vcpu")
    (isa,) = struct.unpack_from("I", data, fields["isa"][0])
    result = {"isa": {0: isa}}
    for name in _ARRAYS:
        offset, _, elements = fields[name]
        words = struct.unpack_from(f"{elements}Q", data, offset)
        if counts := {index: word for index, word in enumerate(words) if word}:
            result[name] = counts
    return result
