# SPDX-License-Identifier: Apache-2.0
"""BPF maps through their descriptors: bpf(2) itself, no library and no privilege.

Source: bpf(2), include/uapi/linux/bpf.h (`union bpf_attr`). Holding a map's
descriptor is enough since Linux 5.19 (commit c8644cd0efe7, "bpf: refine
kernel.unprivileged_bpf_disabled behaviour"); before, CAP_BPF is asked for too.
A batch of 64 records costs one system call.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from kvmexporter.errors import KvmExporterError

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_MAP_UPDATE_ELEM = 2
_MAP_DELETE_ELEM = 3
_MAP_LOOKUP_ELEM = 1
_MAP_LOOKUP_AND_DELETE_ELEM = 21
_MAP_LOOKUP_BATCH = 24
_MAP_LOOKUP_AND_DELETE_BATCH = 25

_BATCH = 64
_FORMATS = {4: "I", 8: "Q"}  # bytes of a number → how struct calls it
_CURSOR_BYTES = 4  # what a hash map keeps between batches: a bucket's number

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class MapLayout:
    """How a map looks, as bcc derived it from the C.

    Attributes:
        key_size: bytes.
        value_size: bytes.
        max_entries: what it can hold.
        fields: name of each field of the value → (offset, bytes, elements).
    """

    key_size: int
    value_size: int
    max_entries: int
    fields: dict[str, tuple[int, int, int]]

    def struct_of(self, names: Iterable[str]) -> struct.Struct:
        """What unpacks some of a value's fields, and skips all others.

        Args:
            names: of fields that are one number, in the order in which they lie in the value.
        """
        text, end = "=", 0
        for name in names:
            place, size, _ = self.fields[name]
            text += f"{place - end}x{_FORMATS[size]}"
            end = place + size
        return struct.Struct(f"{text}{self.value_size - end}x")


class BpfMap:
    """One map, from its descriptor and layout; owns the descriptor.

    Attributes:
        name: in the C.
        layout: how it looks.
        entries: how many it held when it was last gone through, None if it never was.
    """

    def __init__(self, name: str, fd: int, layout: MapLayout) -> None:
        self.name = name
        self.layout = layout
        self.entries: int | None = None
        self._fd = fd
        self._key = ctypes.create_string_buffer(max(layout.key_size, 1))
        self._value = ctypes.create_string_buffer(layout.value_size)

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, None if there is none."""
        self._key.raw = key
        if self._element(_MAP_LOOKUP_ELEM) == errno.ENOENT:
            return None
        return self._value.raw

    def set(self, key: bytes, value: bytes) -> None:
        """Write the value of a key.

        Raises:
            KvmExporterError: the map is full, or the kernel refuses.
        """
        self._key.raw = key
        self._value.raw = value
        self._element(_MAP_UPDATE_ELEM)

    def delete(self, key: bytes) -> None:
        """Remove a key; one that is not there is no error."""
        self._key.raw = key
        self._element(_MAP_DELETE_ELEM)

    def pop(self) -> bytes | None:
        """Take the oldest value out of a queue, None if it is empty."""
        if self._element(_MAP_LOOKUP_AND_DELETE_ELEM) == errno.ENOENT:
            return None
        return self._value.raw

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value of a hash map; each that stays in it is met exactly once."""
        return ((key, value.tobytes()) for key, value in self.views())

    def drain(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value of a hash map, removing them as they are read."""
        drained = self._one_by_one(_MAP_LOOKUP_AND_DELETE_BATCH)
        return ((key, value.tobytes()) for key, value in drained)

    def views(self) -> Iterator[tuple[bytes, memoryview]]:
        """The same as `items`, each value where it was read to: only until the next is asked for.

        Of large values that are gone through once, this copies none.
        """
        return self._one_by_one(_MAP_LOOKUP_BATCH)

    def batches(self) -> Iterator[tuple[memoryview, memoryview]]:
        """The same by the batch, keys and values one behind the other: only until the next, too.

        Of small values that are many, this does next to nothing for each.
        """
        return self._batches(_MAP_LOOKUP_BATCH)

    def _element(self, command: int) -> int:
        key = ctypes.addressof(self._key) if self.layout.key_size else 0
        # The kernel refuses what a command has no use for.
        value = 0 if command == _MAP_DELETE_ELEM else ctypes.addressof(self._value)
        attributes = struct.pack("IIQQQ", self._fd, 0, key, value, 0)
        return self._call(command, attributes)

    def _call(self, command: int, attributes: bytes) -> int:
        """0 or ENOENT; any other error is raised."""
        number = _SYSCALL[platform.machine()]
        if _libc.syscall(number, command, attributes, len(attributes)) >= 0:
            return 0
        error = ctypes.get_errno()
        if error == errno.ENOENT:
            return error
        raise KvmExporterError(f"BPF map {self.name}: {os.strerror(error)}")

    def _one_by_one(self, command: int) -> Iterator[tuple[bytes, memoryview]]:
        key_size, value_size = self.layout.key_size, self.layout.value_size
        for keys, values in self._batches(command):
            for i in range(len(keys) // key_size):
                yield (
                    keys[i * key_size : (i + 1) * key_size].tobytes(),
                    values[i * value_size : (i + 1) * value_size],
                )

    def _batches(self, command: int) -> Iterator[tuple[memoryview, memoryview]]:
        key_size, value_size = self.layout.key_size, self.layout.value_size
        cursor_size = max(_CURSOR_BYTES, key_size)
        cursors = [ctypes.create_string_buffer(cursor_size) for _ in range(2)]
        keys = ctypes.create_string_buffer(_BATCH * key_size)
        values = ctypes.create_string_buffer(_BATCH * value_size)
        first, capacity, entries = True, _BATCH, 0
        while True:
            attributes = bytearray(
                struct.pack(
                    "QQQQIIQQ",
                    0 if first else ctypes.addressof(cursors[0]),
                    ctypes.addressof(cursors[1]),
                    ctypes.addressof(keys),
                    ctypes.addressof(values),
                    capacity,
                    self._fd,
                    0,
                    0,
                )
            )
            buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
            number = _SYSCALL[platform.machine()]
            failed = _libc.syscall(number, command, buffer, len(attributes)) < 0
            error = ctypes.get_errno() if failed else 0
            if error == errno.ENOSPC:
                # One bucket holds more than fits; the kernel asks for more room.
                capacity *= 2
                keys = ctypes.create_string_buffer(capacity * key_size)
                values = ctypes.create_string_buffer(capacity * value_size)
                continue
            if error not in (0, errno.ENOENT):
                raise KvmExporterError(f"BPF map {self.name}: {os.strerror(error)}")
            (count,) = struct.unpack_from("I", attributes, 32)
            key_bytes, value_bytes = memoryview(keys).cast("B"), memoryview(values).cast("B")
            yield key_bytes[: count * key_size], value_bytes[: count * value_size]
            entries += count
            if error:
                self.entries = entries
                return
            first = False
            cursors.reverse()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
