# SPDX-License-Identifier: Apache-2.0
"""Who is measured, and how each is run: the exporter, programs as peers write them, and peers."""

import ctypes
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from tests.bench.peers.kernel_sources import kvm_stat
from tests.kvm.exporter import Exporter
from tests.lab.archive import ArchiveError

EVENTS = ("kvm_pio", "kvm_mmio", "kvm_msr", "kvm_userspace_exit")
_BPF_ENABLE_STATS = 32
_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
_PYTHON = "/usr/bin/python3"
_SETTLE_SECONDS = 4.0
_VISIT_SECONDS = 20.0
_CLASSIC = "5"  # BPF_PROG_TYPE_TRACEPOINT, as in fdinfo


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that is attached while a guest works.

    Attributes:
        name: as the tables have it.
        command: a peer's own program; none for what the bench itself attaches.
        misses: what a user of it does not learn.
        tells: whether it is seen when it is attached; the others are given some seconds.
    """

    name: str
    command: tuple[str, ...] = ()
    misses: str = ""
    tells: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that is attached.

    Attributes:
        pid: its process, 0 if there is none.
        scrape: asks it as Prometheus does; None where that cannot be.
    """

    pid: int
    scrape: Callable[[], object] | None = None


NOTHING = Contender("nothing")
OURS = Contender("kvmexporter", tells=True)
HARDWARE = Contender(
    "kvmexporter, with the programs of a host with VMX or SVM",
    misses="here, what kvm_exit and kvm_entry cost: they never fire",
    tells=True,
)
HASH = Contender(
    "per-CPU hash keyed by (pid, reason)", misses="devices, paths, handlers, times", tells=True
)
EMULATOR = Contender(
    "empty program on kvm_emulate_insn",
    misses="everything: what any watcher of KVM's instruction emulator costs, see the budget",
    tells=True,
)
BPFTRACE = Contender(
    "bpftrace one-liner",
    ("bpftrace", "-e", "tracepoint:kvm:kvm_pio { @[pid, args->port] = count(); }"),
    "all but a count by port and process; cannot be scraped",
)
KVMEXIT = Contender(
    "bcc kvmexit",
    ("kvmexit-bpfcc", "3600"),
    "VMs' names, devices and paths, handlers, times, clocks; cannot be scraped",
)
PERF_KVM = Contender(
    "perf kvm stat",
    ("perf", "kvm", "--host", "stat", "record", "-a", "-o", "/dev/null"),
    "devices and paths, VMs' names; a recording, not a service",
)
PERF_STAT = Contender(
    "perf stat -e kvm:*",
    ("perf", "stat", "-a", "-e", "kvm:*"),
    "VMs: it counts events of the whole host; cannot be scraped",
)
KVM_STAT = Contender(
    "kvm_stat -t, told that there is SVM",
    misses="devices and paths, VMs' names, times, clocks; a screen or a log, cannot be scraped",
)
CONTENDERS = (
    NOTHING, OURS, HARDWARE, EMULATOR, HASH, BPFTRACE, KVMEXIT, PERF_KVM, PERF_STAT, KVM_STAT,
)  # fmt: skip


@contextmanager
def run_statistics() -> Iterator[None]:
    """Have the kernel keep account of what BPF programs take."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("I", 0).ljust(72, b"\0")
    number = _BPF_SYSCALL[os.uname().machine]
    fd = libc.syscall(number, _BPF_ENABLE_STATS, attributes, len(attributes))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    try:
        yield
    finally:
        os.close(fd)


class Attached:
    """`peers/attach.py`; a context manager."""

    def __init__(self, kinds: str, events: Sequence[str] = EVENTS) -> None:
        script = Path(__file__).parent / "peers" / "attach.py"
        self._process = subprocess.Popen(
            [_PYTHON, script, kinds, ",".join(events), headers()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    @property
    def pid(self) -> int:
        """Of the process that holds the programs."""
        return self._process.pid

    def runs(self) -> Mapping[str, tuple[float, float]]:
        """KIND:EVENT → (runs, nanoseconds)."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, tuple[float, float]] = json.loads(self._process.stdout.readline())
        return found


def headers() -> str:
    """A tree of kernel headers, for those who cannot find one by themselves."""
    built = Path("/lib/modules", os.uname().release, "build")
    if built.exists():
        return str(built.resolve())
    return str(max(Path("/usr/src").glob("linux-headers-*-amd64")))


def let_visit(exporter: Exporter) -> None:
    """Wait until the exporter has asked the guest's QEMU for its devices."""
    deadline = time.monotonic() + _VISIT_SECONDS
    while not exporter.scrape().values("kvmexporter_vm_refresh_age_seconds", vm="bench"):
        assert time.monotonic() < deadline, "the guest's QEMU was not visited"
        time.sleep(0.2)


@contextmanager
def running(one: Contender) -> Iterator[Running]:
    """It is attached.

    Raises:
        OSError: it is not installed, or ends by itself; with its own words.
    """
    if one.command:
        with program(one.command) as pid:
            yield Running(pid)
    elif one == OURS:
        with Exporter() as exporter:
            let_visit(exporter)
            yield Running(exporter.pid, partial(exporter.get, Accept_Encoding="gzip"))
    elif one == HARDWARE:
        with _hardware() as prefix, Exporter(prefix=prefix) as exporter:
            let_visit(exporter)
            yield Running(exporter.pid, partial(exporter.get, Accept_Encoding="gzip"))
    elif one == KVM_STAT:
        # It knows no other processors, and asks for debugfs.
        with (
            _hardware("mount -t debugfs debugfs /sys/kernel/debug") as prefix,
            program((*prefix, _PYTHON, str(_kvm_stat()), "-l", "-t")) as pid,
        ):
            yield Running(pid)
    elif one == HASH:
        with Attached("hash") as attached:
            yield Running(attached.pid)
    elif one == EMULATOR:
        with Attached("empty", ("kvm_emulate_insn",)) as attached:
            yield Running(attached.pid)
    else:
        yield Running(0)


def _kvm_stat() -> Path:
    try:
        return kvm_stat()
    except ArchiveError as err:
        raise OSError(f"it cannot be fetched: {err}") from None


@contextmanager
def _hardware(*first: str) -> Iterator[tuple[str, ...]]:
    """A command that runs another on a host whose processor says that it has SVM.

    There the exporter attaches what it does on hosts that run guests on the processor itself.

    Args:
        first: commands of the shell that come before, in a mount namespace of their own.
    """
    with tempfile.NamedTemporaryFile("w") as told:
        cpuinfo = Path("/proc/cpuinfo").read_text()
        told.write(re.sub(r"^flags\s*:", r"\g<0> svm", cpuinfo, flags=re.MULTILINE))
        told.flush()
        seen = " && ".join((f"mount --bind {told.name} /proc/cpuinfo", *first, 'exec "$@"'))
        yield ("unshare", "--mount", "--propagation", "private", "sh", "-c", seen, "sh")


@contextmanager
def program(command: tuple[str, ...]) -> Iterator[int]:
    """A peer's own program, attached as far as its silence tells.

    Raises:
        OSError: it is not installed, or ends by itself; with its own words.
    """
    if shutil.which(command[0]) is None:
        raise OSError(f"{command[0]} is not installed")
    environment = {**os.environ, "BCC_KERNEL_SOURCE": headers().replace("-amd64", "-common")}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment,
    )  # fmt: skip
    try:
        time.sleep(_SETTLE_SECONDS)
        if process.poll() is not None:
            assert process.stdout
            words = process.stdout.read().decode(errors="replace").split("\n")
            said = [word.strip() for word in words if word.strip()]
            raise OSError(f"it ends at once: {said[-1][:120] if said else process.returncode}")
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def classic_runs(pid: int) -> tuple[float, float]:
    """Runs and nanoseconds of a process's programs on classic tracepoints."""
    runs = nanoseconds = 0
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            lines = entry.read_text().splitlines()
        except FileNotFoundError:  # closed meanwhile
            continue
        info = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if info.get("prog_type") == _CLASSIC:
            runs += int(info.get("run_cnt", 0))
            nanoseconds += int(info.get("run_time_ns", 0))
    return runs, nanoseconds
