# SPDX-License-Identifier: Apache-2.0
"""The kernel's own record of a vCPU thread's KVM events, taken through tracefs.

This is the referee for everything else that counts: it shares no code and no mechanism with the
exporter's BPF programs. Each use has a trace instance of its own, so several can run at once.
Costs some microseconds per event; buffers of a few MiB per CPU.
"""

import itertools
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TRACEFS = Path("/sys/kernel/tracing")
_PREFIX = "kvmexporter-test-"
_BUFFER_KIB = 8192
_numbers = itertools.count()

# task-pid [cpu] flags seconds: event: text
_LINE = re.compile(r"^.{16}-\s*(\d+)\s+\[\d+\]\s+\S+\s+[\d.]+: (\w+): (.*)$")
_PIO = re.compile(r"pio_(read|write) at 0x([0-9a-f]+) size (\d+) count (\d+)")
_MMIO = re.compile(r"mmio (unsatisfied-read|read|write) len (\d+) gpa 0x([0-9a-f]+)")
_FAST_MMIO = re.compile(r"fast mmio at gpa 0x([0-9a-f]+)")
_MSR = re.compile(r"msr_(read|write) ([0-9a-f]+) = ")
_USERSPACE_EXIT = re.compile(r"reason (\w+) \((-?\d+)\)")

DEFAULT_EVENTS = (
    *("kvm_pio", "kvm_mmio", "kvm_fast_mmio", "kvm_msr", "kvm_cpuid", "kvm_hypercall"),
    *("kvm_userspace_exit", "kvm_inj_exception"),
)


class TraceError(Exception):
    """tracefs cannot be used, or events were lost."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: the tracepoint's name, the thread that made it, and the kernel's words."""

    name: str
    tid: int
    text: str

    @property
    def key(self) -> str:
        """The event without its values: who touched what, e.g. `kvm_pio write 0x3ff 1`.

        Forms: `kvm_pio read|write PORT SIZE`, `kvm_mmio unsatisfied-read|read|write GPA SIZE`,
        `kvm_fast_mmio GPA`, `kvm_msr read|write INDEX`, `kvm_userspace_exit REASON` or
        `kvm_userspace_exit restart`; for other events their name.
        """
        if found := _PIO.match(self.text):
            direction, port, size, _ = found.groups()
            return f"kvm_pio {direction} 0x{port} {size}"
        if found := _MMIO.match(self.text):
            kind, size, gpa = found.groups()
            return f"kvm_mmio {kind} 0x{gpa} {size}"
        if found := _FAST_MMIO.match(self.text):
            return f"kvm_fast_mmio 0x{found[1]}"
        if found := _MSR.match(self.text):
            return f"kvm_msr {found[1]} 0x{found[2]}"
        if self.name == "kvm_userspace_exit" and (found := _USERSPACE_EXIT.match(self.text)):
            return f"kvm_userspace_exit {found[1]}"
        return self.name


class KernelTrace:
    """What was recorded between the start and the end of `recording()`."""

    def __init__(self) -> None:
        self.events: tuple[Event, ...] = ()

    def counts(self) -> Counter[str]:
        """`Event.key` → how many."""
        return Counter(event.key for event in self.events)

    def totals(self) -> Counter[str]:
        """Tracepoint name → how many."""
        return Counter(event.name for event in self.events)


def mount_tracefs() -> Path:
    """Returns where tracefs is, mounted if need be.

    Raises:
        TraceError: it cannot be mounted, or this kernel has no KVM events.
    """
    if not (TRACEFS / "instances").is_dir():
        done = subprocess.run(
            ["mount", "-t", "tracefs", "nodev", str(TRACEFS)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise TraceError(f"tracefs cannot be mounted: {done.stderr.strip()}")
    if not (TRACEFS / "events/kvm").is_dir():
        raise TraceError("this kernel has no kvm events; is the kvm module loaded?")
    return TRACEFS


def _remove(instance: Path) -> None:
    (instance / "events/enable").write_text("0")
    instance.rmdir()


def _remove_abandoned(instances: Path) -> None:
    """Instances outlive the process that made them; those of dead test processes go."""
    for path in instances.glob(f"{_PREFIX}*"):
        pid = path.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            _remove(path)


def _lost(instance: Path) -> int:
    """Events that did not fit into the buffers."""
    lost = 0
    for stats in instance.glob("per_cpu/cpu*/stats"):
        for line in stats.read_text().splitlines():
            name, _, value = line.partition(":")
            if name in {"overrun", "commit overrun", "dropped events"}:
                lost += int(value)
    return lost


def _parse(lines: Iterable[str]) -> Iterator[Event]:
    for line in lines:
        if line.startswith("#") or not line.strip():
            continue
        found = _LINE.match(line)
        if found is None:
            raise TraceError(f"unexpected line in the trace: {line!r}")
        yield Event(name=found[2], tid=int(found[1]), text=found[3])


@contextmanager
def recording(tids: Sequence[int], events: Sequence[str] = DEFAULT_EVENTS) -> Iterator[KernelTrace]:
    """Records `events` of the threads `tids`; the result is filled in when the block ends.

    An event that this kernel does not have is left out: it cannot happen.

    Raises:
        TraceError: tracefs cannot be used, or the buffers were too small.
    """
    instances = mount_tracefs() / "instances"
    _remove_abandoned(instances)
    instance = instances / f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
    instance.mkdir()
    trace = KernelTrace()
    try:
        (instance / "buffer_size_kb").write_text(str(_BUFFER_KIB))
        chosen = [path for event in events if (path := instance / "events/kvm" / event).is_dir()]
        for path in chosen:
            (path / "filter").write_text(" || ".join(f"common_pid == {tid}" for tid in tids))
        for path in chosen:
            (path / "enable").write_text("1")
        yield trace
        for path in chosen:
            (path / "enable").write_text("0")
        if lost := _lost(instance):
            raise TraceError(f"{lost} events were lost: the trace buffers are too small")
        with (instance / "trace").open(errors="replace") as lines:
            trace.events = tuple(_parse(lines))
    finally:
        _remove(instance)
