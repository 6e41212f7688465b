# SPDX-License-Identifier: Apache-2.0
"""The attached BPF programs and their maps, got from the loader child.

Starts `bpf/loader.py` with an interpreter that has bcc, sends it the request and
takes over the descriptors. The child is gone when `load` returns; the programs
stay attached until `close`, or until this process ends, however it ends.
"""

import json
import logging
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from kvmexporter.bpf.request import LOADER, Program, request
from kvmexporter.errors import KvmExporterError, Unavailable
from kvmexporter.sources.bpfmaps import BpfMap, MapLayout

_log = logging.getLogger(__name__)

_SYSTEM_PYTHON = "/usr/bin/python3"
# Compiling takes half a second; most of a minute where the host has no time to spare.
_TIMEOUT_SECONDS = 100.0
_MAX_MANIFEST_BYTES = 1 << 20
_MAX_COMPLAINT_BYTES = 1 << 16
_FDS_PER_MESSAGE = 253
_NO_BCC = "bcc"


@dataclass(frozen=True, slots=True)
class ProgramState:
    """Whether a program is attached, and if not, why."""

    event: str
    attached: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ProgramRuns:
    """How often a program ran, and did not.

    Attributes:
        runs: since it was loaded; 0 unless `kernel.bpf_stats_enabled` is on.
        ns: what they took, nanoseconds; likewise.
        missed: events that the kernel kept from it; None before Linux 5.12, which does not say.
    """

    runs: int
    ns: int
    missed: int | None

    @classmethod
    def of(cls, fdinfo: str) -> Self:
        """As /proc/PID/fdinfo/FD has it (kernel/bpf/syscall.c, bpf_prog_show_fdinfo)."""
        info = dict(line.split(":\t", 1) for line in fdinfo.splitlines() if ":\t" in line)
        missed = info.get("recursion_misses")
        return cls(
            int(info.get("run_cnt", 0)),
            int(info.get("run_time_ns", 0)),
            None if missed is None else int(missed),
        )


class BpfProbes:
    """What the loader handed over; owns every descriptor.

    Attributes:
        maps: name → map.
        programs: one state per requested program, in order.
    """

    def __init__(
        self,
        maps: Mapping[str, BpfMap],
        programs: Sequence[ProgramState],
        fds: Mapping[str, int],
    ) -> None:
        self.maps = dict(maps)
        self.programs = tuple(programs)
        self._fds = dict(fds)

    def lacks(self, event: str) -> bool:
        """Whether the probe of a tracepoint was asked for, and is not attached."""
        return any(one.event == event and not one.attached for one in self.programs)

    def runs(self) -> dict[str, ProgramRuns]:
        """Tracepoint → how often its program ran."""
        return {
            name.removeprefix("program:on_"): ProgramRuns.of(
                Path(f"/proc/self/fdinfo/{fd}").read_text()
            )
            for name, fd in self._fds.items()
            if name.startswith("program:")
        }

    def close(self) -> None:
        """Detach the programs and free the maps."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}
        for one in self.maps.values():
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(
    programs: tuple[Program, ...],
    max_vcpus: int,
    kernel_headers: str | None = None,
    python: str | None = None,
    tsc_hz: int | None = None,
    cache: Path | None = None,
) -> BpfProbes:
    """Compile and attach the programs in a child process.

    Args:
        programs: what to attach.
        max_vcpus: how many vCPU threads the map of records can hold.
        kernel_headers: a tree of kernel headers; None: look for one.
        python: an interpreter that has bcc; None: this one, then the system's.
        tsc_hz: the frequency of the host's TSC; None: how late timers are cannot be told.
        cache: where compiled programs are kept, root's alone; None: they are compiled each time.

    Raises:
        Unavailable: no bcc, no headers, no permission, no tracefs.
        KvmExporterError: the loader itself failed.
    """
    message = {
        **request(programs, max_vcpus, kernel_headers, tsc_hz),
        "cache": str(cache) if cache else None,
    }
    interpreters = [python] if python else list(dict.fromkeys([sys.executable, _SYSTEM_PYTHON]))
    missing: Unavailable | None = None
    for interpreter in interpreters:
        try:
            manifest, fds = _ask_loader(interpreter, message)
        except FileNotFoundError:
            missing = missing or Unavailable(
                f"no interpreter {interpreter}", "name one that has bcc with --bpf.python"
            )
            continue
        error = manifest.get("error")
        if error is None:
            return _take_over(manifest, fds, programs)
        unavailable = Unavailable(error["reason"], error["remedy"])
        if _NO_BCC not in error["reason"]:
            raise unavailable
        missing = unavailable
    if missing is None:
        raise KvmExporterError("no interpreter to run the BPF loader with")
    raise missing


def _take_over(
    manifest: Mapping[str, Any], fds: Sequence[int], programs: tuple[Program, ...]
) -> BpfProbes:
    names = manifest["fds"]
    if len(names) != len(fds):
        for fd in fds:
            os.close(fd)
        raise KvmExporterError(
            f"the BPF loader promised {len(names)} descriptors and sent {len(fds)}"
        )
    by_name = dict(zip(names, fds, strict=True))
    maps = {}
    for name, layout in manifest["maps"].items():
        fields = {field: tuple(place) for field, place in layout["fields"].items()}
        maps[name] = BpfMap(
            name,
            by_name.pop(f"map:{name}"),
            MapLayout(layout["key_size"], layout["value_size"], layout["max_entries"], fields),
        )
    states = []
    for program in programs:
        state = manifest["programs"][program.function]
        states.append(ProgramState(program.event, state["attached"], state["reason"]))
        if not state["attached"]:
            _log.warning(
                "probe not attached", extra={"probe": program.event, "reason": state["reason"]}
            )
    _log.info(
        "BPF programs attached",
        extra={"headers": manifest["headers"], "seconds": round(manifest["seconds"], 3)},
    )
    return BpfProbes(maps, states, by_name)


def _ask_loader(interpreter: str, message: Mapping[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Run the loader once.

    Returns:
        Its manifest and the descriptors it sent.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, tempfile.TemporaryFile() as complaints:
        with theirs:
            # -E and -s, not -I: the distribution's bcc may live in a site directory.
            child = subprocess.Popen(  # noqa: S603 - the user's own interpreter, our script
                [interpreter, "-E", "-s", str(LOADER), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"},
            )
        with child:
            try:
                ours.settimeout(_TIMEOUT_SECONDS)
                data = json.dumps(message).encode()
                ours.sendall(struct.pack("!I", len(data)) + data)
                manifest = json.loads(_exactly(ours, struct.unpack("!I", _exactly(ours, 4))[0]))
                fds = _receive_fds(ours, len(manifest.get("fds", ())))
                child.wait(_TIMEOUT_SECONDS)
            except (EOFError, OSError, subprocess.TimeoutExpired, ValueError) as err:
                child.kill()
                last = _read_back(complaints).rpartition("\n")[2]
                raise KvmExporterError(
                    f"the BPF loader ({interpreter}) failed: {last or err}"
                ) from err
        complaint = _read_back(complaints)
    if complaint:
        _log.debug("BPF loader", extra={"stderr": complaint})
    return manifest, fds


def _read_back(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    return complaints.read(_MAX_COMPLAINT_BYTES).decode(errors="replace").strip()


def _exactly(channel: socket.socket, size: int) -> bytes:
    if size > _MAX_MANIFEST_BYTES:
        raise ValueError(f"a message of {size} bytes")
    data = b""
    while len(data) < size:
        chunk = channel.recv(size - len(data))
        if not chunk:
            raise EOFError("it ended without an answer")
        data += chunk
    return data


def _receive_fds(channel: socket.socket, count: int) -> list[int]:
    fds: list[int] = []
    while len(fds) < count:
        data, received, _, _ = socket.recv_fds(channel, 1, _FDS_PER_MESSAGE)
        fds += received
        if not data:
            break
    return fds
