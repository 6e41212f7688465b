# SPDX-License-Identifier: Apache-2.0
"""Records of vCPU threads as the BPF side writes them, and maps to keep them in.

The layout is read from the C itself, with the sizes that the loader would define.
"""

import ctypes
import functools
import os
import platform
import re
import struct
from collections.abc import Iterator, Mapping

from kvmexporter.bpf.request import SOURCES, defines
from kvmexporter.model.counters import CounterLayout, Counters, counter_layout
from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from kvmexporter.sources.lanes import Lanes
from kvmexporter.tables.exit_reasons import Isa

MAX_VCPUS = 256

_BYTES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
_BPF_MAP_CREATE = 0
_BPF_MAP_TYPE_HASH = 1
_BPF_F_NO_PREALLOC = 1


def c_source() -> str:
    """All of the C, without its comments."""
    text = "\n".join(path.read_text() for path in SOURCES)
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


@functools.cache
def enumerators() -> Mapping[str, tuple[str, ...]]:
    """Each enumeration of the C: its name → its members, in order."""
    found = re.findall(r"enum (\w+) \{([^}]*)\};", c_source())
    return {name: tuple(re.findall(r"\w+", members)) for name, members in found}


@functools.cache
def constants() -> Mapping[str, int]:
    """What the names in the C's array sizes stand for."""
    values = {name: int(text) for name, text in defines(MAX_VCPUS).items() if text.isdecimal()}
    for members in enumerators().values():
        values |= {member: value for value, member in enumerate(members)}
    for name, text in re.findall(r"^#define (\w+) +(\S.*)$", c_source(), re.MULTILINE):
        if re.fullmatch(r"[\w+*() ]+", text) and re.search(r"[\dA-Z]", text):
            try:
                values[name] = eval(text, {"__builtins__": {}}, values)
            except (NameError, SyntaxError):
                continue
    return values


@functools.cache
def struct_layout(name: str) -> tuple[int, Mapping[str, tuple[int, int, int]]]:
    """A structure of the C: its size, and for each field (offset, bytes, elements)."""
    found = re.search(rf"struct {name} \{{(.*?)\n\}};", c_source(), re.DOTALL)
    assert found, f"no struct {name} in the C"
    fields: dict[str, tuple[int, int, int]] = {}
    end = 0
    for kind, field, size in re.findall(r"(u\d+)\s+(\w+)(?:\[([^]]*)\])?;", found[1]):
        elements = eval(size, {"__builtins__": {}}, constants()) if size else 1
        offset = -(-end // _BYTES[kind]) * _BYTES[kind]
        fields[field] = offset, _BYTES[kind] * elements, elements
        end = offset + _BYTES[kind] * elements
    return -(-end // 8) * 8, fields


@functools.cache
def vcpus_layout() -> MapLayout:
    """The map of live records."""
    size, fields = struct_layout("vcpu")
    return MapLayout(4, size, MAX_VCPUS, dict(fields))


@functools.cache
def retired_layout() -> MapLayout:
    """The map of records of ended threads."""
    size, fields = struct_layout("vcpu")
    return MapLayout(struct_layout("retired_key")[0], size, MAX_VCPUS, dict(fields))


def record(
    tgid: int,
    created_ns: int,
    vcpu_id: int = 0,
    isa: int = Isa.VMX,
    pending_cell: int = 0,
    tid: int = 0,
    **counters: Mapping[int, int],
) -> bytes:
    """One record; counters: array → index → count."""
    layout = vcpus_layout()
    data = bytearray(layout.value_size)
    struct.pack_into("Q", data, layout.fields["created_ns"][0], created_ns)
    known = {"tgid": tgid, "vcpu_id": vcpu_id, "isa": isa, "pending_cell": pending_cell}
    known["tid"] = tid
    for name, value in known.items():
        struct.pack_into("I", data, layout.fields[name][0], value)
    _count(data, counters)
    return bytes(data)


def _count(data: bytearray, counters: Mapping[str, Mapping[int, int]]) -> None:
    for name, counts in counters.items():
        offset, _, elements = vcpus_layout().fields[name]
        for index, count in counts.items():
            assert index < elements, f"{name}[{index}]"
            struct.pack_into("Q", data, offset + 8 * index, count)


def live_key(tid: int) -> bytes:
    """The key of a live thread's record."""
    return struct.pack("I", tid)


def retired_key(tid: int, tgid: int, created_ns: int) -> bytes:
    """The key of an ended thread's record."""
    _, fields = struct_layout("retired_key")
    data = bytearray(16)
    struct.pack_into("Q", data, fields["created_ns"][0], created_ns)
    struct.pack_into("Q", data, fields["pid_tgid"][0], tgid << 32 | tid)
    return bytes(data)


def layout_of_counters() -> CounterLayout:
    """The layout of a record's counters."""
    layout = vcpus_layout()
    return counter_layout(layout.value_size, layout.fields, "exits")


def counters(**arrays: Mapping[int, int]) -> Counters:
    """The counters of one VM; arrays: array → index → count."""
    layout = layout_of_counters()
    data = bytearray(vcpus_layout().value_size)
    _count(data, arrays)
    lanes = Lanes(layout.count)
    lanes.add(bytes(data), layout.offset)
    return Counters(*lanes.active(), layout)


class MemoryMap(BpfMap):
    """A map in memory, where the kernel lets nobody make one."""

    def __init__(self, name: str, layout: MapLayout) -> None:
        super().__init__(name, -1, layout)
        self._content: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._content.get(key)

    def set(self, key: bytes, value: bytes) -> None:
        assert (len(key), len(value)) == (self.layout.key_size, self.layout.value_size)
        self._content[key] = value

    def delete(self, key: bytes) -> None:
        self._content.pop(key, None)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        content = self._content.copy()  # others write meanwhile
        yield from content.items()
        self.entries = len(content)

    def views(self) -> Iterator[tuple[bytes, memoryview]]:
        place = bytearray(self.layout.value_size)
        for key, value in self.items():
            place[:] = value  # over the one before, of which nothing may be needed any more
            yield key, memoryview(place)
        place[:] = b"\xff" * len(place)

    def batches(self) -> Iterator[tuple[memoryview, memoryview]]:
        content = list(self.items())
        for first in range(0, len(content), 2):
            keys, values = zip(*content[first : first + 2], strict=True)
            yield memoryview(b"".join(keys)), memoryview(b"".join(values))

    def drain(self) -> Iterator[tuple[bytes, bytes]]:
        entries = 0
        while self._content:
            entries += 1
            yield self._content.popitem()
        self.entries = entries


def kernel_map(name: str, layout: MapLayout) -> BpfMap:
    """A hash map in the kernel.

    Raises:
        PermissionError: the kernel does not allow it.
    """
    attributes = struct.pack(
        "5I",
        *(_BPF_MAP_TYPE_HASH, layout.key_size, layout.value_size),
        *(layout.max_entries, _BPF_F_NO_PREALLOC),
    ).ljust(72, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    number = _BPF_SYSCALL[platform.machine()]
    fd = libc.syscall(number, _BPF_MAP_CREATE, attributes, len(attributes))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return BpfMap(name, fd, layout)


def no_kernel_maps() -> str:
    """Why no map can be made in the kernel; "" if one can."""
    try:
        kernel_map("probe", MapLayout(4, 8, 1, {})).close()
    except (OSError, KeyError) as err:
        return f"bpf(2) makes no map here: {err}"
    return ""
