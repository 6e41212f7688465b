# SPDX-License-Identifier: Apache-2.0
"""Compiled BPF: kept in a file, and loaded by bpf(2) itself.

Compiling takes most of the start (0.5 s of a core, and 130 MB), and comes to the same each time
for the same sources, sizes, headers and tracepoints. What was compiled is kept in a directory that
nobody but root may write to, for whatever is in it becomes part of the kernel. Part of the loader:
the standard library alone. Sources: bpf(2) and perf_event_open(2), include/uapi/linux/bpf.h
(`union bpf_attr`), include/uapi/linux/perf_event.h.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import platform
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BPF = {"x86_64": 321, "aarch64": 280}
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_MAP_CREATE, _MAP_UPDATE_ELEM, _PROG_LOAD, _RAW_TRACEPOINT_OPEN = 0, 2, 5, 17
_PROG_TYPES = {"raw": 17, "classic": 5}
_NAME_BYTES = 15
_LOAD_MAP = b"\x18"  # a 64-bit immediate, of which the source register says that it is a map
_PSEUDO_MAP_FD = 1
_INSTRUCTION = struct.Struct("=BBhi")
_PERF_TYPE_TRACEPOINT, _PERF_SAMPLE_RAW, _PERF_FLAG_CLOEXEC = 2, 1 << 10, 8
_PERF_SET_BPF, _PERF_ENABLE = 0x40042408, 0x2400
_LOG_BYTES = 1 << 16
_MOST_KEPT = 8

Image = dict[str, Any]
"""`maps`: name → what bpf(2) makes it of, and `fields`; `programs`: function → instructions in
hexadecimal, with a map's place among `maps` where its descriptor goes."""

_libc = ctypes.CDLL(None, use_errno=True)


def key_of(*parts: object) -> str:
    """A file's name for what is made of these."""
    data = json.dumps(parts, sort_keys=True, default=str).encode()
    return hashlib.blake2b(data, digest_size=20).hexdigest()


def read(directory: Path, key: str) -> Image | None:
    """What was kept; None if there is none that can be trusted."""
    try:
        if not _is_roots_alone(directory.lstat()):
            return None
        fd = os.open(directory / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if not _is_roots_alone(os.fstat(fd)):
                return None
            digest, _, data = file.read().partition(b"\n")
        if hashlib.blake2b(data).hexdigest().encode() != digest:
            return None  # cut short
        image: Image = json.loads(data)
    except (OSError, ValueError):
        return None
    return image


def keep(directory: Path, key: str, image: Image) -> None:
    """Keep it if that can be done, in the place of the oldest; what cannot costs nothing."""
    data = json.dumps(image).encode()
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, exist_ok=True)
        if not _is_roots_alone(directory.lstat()):
            return
        made = directory / f".{key}.{os.getpid()}"
        fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(hashlib.blake2b(data).hexdigest().encode() + b"\n" + data)
        made.rename(directory / key)
        kept = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in kept[:-_MOST_KEPT]:
            old.unlink(missing_ok=True)


def _is_roots_alone(status: os.stat_result) -> bool:
    return status.st_uid == 0 == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def image_of(maps: Mapping[str, tuple[int, Any]], programs: Mapping[str, bytes]) -> Image:
    """What a compiler made.

    Args:
        maps: name → its descriptor, and what is to be known of its fields.
        programs: function → instructions, with the descriptors of these maps.
    """
    names = {fd: place for place, (fd, _) in enumerate(maps.values())}
    described = {}
    for name, (fd, fields) in maps.items():
        lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        numbers = ("map_type", "key_size", "value_size", "max_entries", "map_flags")
        described[name] = {number: int(info[number], 0) for number in numbers}
        described[name]["fields"] = fields
    moved = {name: _with_maps(code, names).hex() for name, code in programs.items()}
    return {"maps": described, "programs": moved}


def _with_maps(code: bytes, descriptors: Mapping[int, int]) -> bytes:
    """The instructions with other numbers for maps."""
    made = bytearray(code)
    skip = False
    for at in range(0, len(code), _INSTRUCTION.size):
        operation, registers, offset, immediate = _INSTRUCTION.unpack_from(code, at)
        if skip:  # the second half of a 64-bit immediate
            skip = False
            continue
        if operation == _LOAD_MAP[0]:
            skip = True
            if registers >> 4 == _PSEUDO_MAP_FD:
                moved = descriptors[immediate]
                _INSTRUCTION.pack_into(made, at, operation, registers, offset, moved)
    return bytes(made)


def make_maps(image: Image) -> dict[str, int]:
    """Name → the descriptor of a new map.

    Raises:
        OSError: the kernel refuses.
    """
    made = {}
    for name, one in image["maps"].items():
        numbers = (one["map_type"], one["key_size"], one["value_size"], one["max_entries"])
        attributes = struct.pack("=4I", *numbers) + struct.pack("=3I", one["map_flags"], 0, 0)
        made[name] = _bpf(_MAP_CREATE, attributes + _name(name), f"map {name}")
    return made


def fill(fd: int, rows: Mapping[str, int]) -> None:
    """Write rows, u32 to u32, into a map."""
    for key, value in rows.items():
        both = ctypes.create_string_buffer(struct.pack("=II", int(key), value), 8)
        at = ctypes.addressof(both)
        _bpf(_MAP_UPDATE_ELEM, struct.pack("=IIQQQ", fd, 0, at, at + 4, 0), "a table")


def load(image: Image, maps: Mapping[str, int], function: str, kind: str) -> int:
    """Load a program that uses these maps; its descriptor.

    Raises:
        OSError: the kernel refuses; with the verifier's last words.
    """
    code = _with_maps(bytes.fromhex(image["programs"][function]), dict(enumerate(maps.values())))
    instructions, licence = ctypes.create_string_buffer(code, len(code)), b"GPL\0"
    held = ctypes.create_string_buffer(licence)
    log = ctypes.create_string_buffer(_LOG_BYTES)
    for level in (0, 1):
        attributes = struct.pack(
            "=IIQQIIQII",
            *(_PROG_TYPES[kind], len(code) // _INSTRUCTION.size),
            *(ctypes.addressof(instructions), ctypes.addressof(held)),
            *(level, level and _LOG_BYTES, level and ctypes.addressof(log), 0, 0),
        )
        try:
            return _bpf(_PROG_LOAD, attributes + _name(function), function)
        except OSError as err:
            refused = err
    said = log.value.decode(errors="replace").strip().split("\n")[-3:]
    raise OSError(refused.errno, f"{refused.strerror}: {'; '.join(said)}")


def attach_raw(program: int, event: str) -> int:
    """Attach a program to a raw tracepoint; the link's descriptor."""
    name = ctypes.create_string_buffer(event.encode())
    attributes = struct.pack("=QII", ctypes.addressof(name), program, 0)
    return _bpf(_RAW_TRACEPOINT_OPEN, attributes, f"tracepoint {event}")


def attach_classic(program: int, directory: Path) -> int:
    """Attach a program to a tracepoint, by its directory in tracefs; the event's descriptor."""
    number = int((directory / "id").read_text())
    attributes = struct.pack(
        "=IIQQQQQIIQ", _PERF_TYPE_TRACEPOINT, 64, number, 1, _PERF_SAMPLE_RAW, 0, 0, 1, 0, 0
    )
    held = ctypes.create_string_buffer(attributes, len(attributes))
    call = _PERF_EVENT_OPEN[platform.machine()]
    fd = int(_libc.syscall(call, held, -1, 0, -1, ctypes.c_ulong(_PERF_FLAG_CLOEXEC)))
    if fd < 0:
        raise _refusal(f"tracepoint {directory.name}")
    try:
        fcntl.ioctl(fd, _PERF_SET_BPF, program)
        fcntl.ioctl(fd, _PERF_ENABLE, 0)
    except OSError:
        os.close(fd)
        raise
    return fd


def _name(text: str) -> bytes:
    return text.encode()[:_NAME_BYTES].ljust(_NAME_BYTES + 1, b"\0")


def _bpf(command: int, attributes: bytes, what: str) -> int:
    held = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    made = int(_libc.syscall(_BPF[platform.machine()], command, held, 128))
    if made < 0:
        raise _refusal(what)
    return made


def _refusal(what: str) -> OSError:
    error = ctypes.get_errno()
    return OSError(error, f"{what}: {os.strerror(error)}")
