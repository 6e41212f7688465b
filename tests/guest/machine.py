# SPDX-License-Identifier: Apache-2.0
"""Starting and ending one bare-metal test guest, and giving it commands.

    with BareMetalGuest(name="a", devices=E1000) as guest:
        guest.wait_ready()
        guest.run(serial_write=97, e1000_read=89)

The guest's RAM is a memfd and the launcher's monitor a socket pair. The only file is the QMP socket
for others, in a directory of its own; a watchdog process removes it and ends QEMU when the test
process dies without doing so. The operations and their events are listed in README.md.
"""

import contextlib
import mmap
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.guest import mailbox as box
from tests.guest.build import build
from tests.guest.monitor import Monitor, MonitorError

E1000: tuple[str, ...] = ("-device", "e1000")
VIRTIO_NET: tuple[str, ...] = ("-device", "virtio-net-pci,disable-legacy=on")
VIRTIO_BLK: tuple[str, ...] = (
    *("-blockdev", "null-co,node-name=disk0,size=1048576,read-zeroes=on"),
    *("-device", "virtio-blk-pci,drive=disk0,disable-legacy=on"),
)

Count = int | tuple[int, ...]
"""How often, or (how often, argument, argument)."""

# Not `host`: on nested and unusual hosts QEMU cannot set all that it promises.
_CPU = {"kvm": "qemu64,+tsc-deadline", "tcg": "max"}
_WATCHDOG = 'read -r line; kill -KILL "$1"; rm -rf -- "$2"'
_POLL_SECONDS = 0.002
_STOP_SECONDS = 10.0


class GuestError(Exception):
    """The guest could not be started, does not answer, or could not do what it was told."""


def command_text(operations: Sequence[tuple[str, Count]]) -> str:
    """The guest's notation of operations: `serial_write=97 virtio_notify=101:1`."""
    words = []
    for name, count in operations:
        numbers = count if isinstance(count, tuple) else (count,)
        words.append(f"{name}={':'.join(str(n) for n in numbers)}")
    return " ".join(words)


class BareMetalGuest:
    """One QEMU process running the guest program.

    Args:
        name: of the VM, as `-name guest=` gives it.
        devices: further QEMU arguments, such as E1000, VIRTIO_BLK and VIRTIO_NET together.
        accel: `kvm` or `tcg`.
        vcpus: the program runs on the first; the firmware parks the others.
        machine: QEMU's machine type with its options, e.g. `q35`.
        cpu: QEMU's CPU model; by default `qemu64,+tsc-deadline` with KVM, `max` without.
        memory_mib: at least 16.
        command_line: the program's own words; by default `mailbox`, which `run()` needs.
        qemu: the emulator's program.
    """

    def __init__(
        self,
        name: str,
        *,
        devices: Sequence[str] = (),
        accel: str = "kvm",
        vcpus: int = 1,
        machine: str = "pc",
        cpu: str | None = None,
        memory_mib: int = 32,
        command_line: str = "mailbox",
        qemu: str = "qemu-system-x86_64",
    ) -> None:
        self.name = name
        self._devices = tuple(devices)
        self._accel = accel
        self._vcpus = vcpus
        self._machine = machine
        self._cpu = cpu if cpu is not None else _CPU[accel]
        self._memory_bytes = memory_mib << 20
        self._command_line = command_line
        self._qemu = qemu
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._monitor: Monitor | None = None
        self._memory: mmap.mmap | None = None
        self._directory: Path | None = None
        self._messages: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # Life

    def start(self) -> None:
        """Starts QEMU; returns once its monitor answers. The firmware then takes seconds.

        Raises:
            GuestError: QEMU did not start, with its own words. Nothing is left behind.
            BuildError: the program could not be built.
        """
        if self._process is not None:
            raise GuestError(f"guest {self.name} is already running")
        try:
            self._start(build())
        except MonitorError as err:
            words = self._qemu_words()
            self.kill()
            raise GuestError(f"QEMU did not start: {words or err}") from err
        except BaseException:
            self.kill()
            raise

    def _start(self, kernel: Path) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="kvmexporter-guest-"))
        self._messages = os.memfd_create("guest-messages", os.MFD_CLOEXEC)
        ours, theirs = socket.socketpair()
        self._monitor = Monitor(ours)
        memory = os.memfd_create("guest-memory", os.MFD_CLOEXEC)
        try:
            os.ftruncate(memory, self._memory_bytes)
            self._memory = mmap.mmap(memory, self._memory_bytes)
            self._process = subprocess.Popen(
                self._arguments(kernel, theirs.fileno(), memory),
                stdin=subprocess.DEVNULL,
                stdout=self._messages,
                stderr=self._messages,
                pass_fds=(theirs.fileno(), memory),
            )
        except FileNotFoundError as err:
            raise GuestError(f"{self._qemu} is not installed") from err
        finally:
            os.close(memory)
            theirs.close()
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "sh", str(self._process.pid), str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends the tests must not end it as well
        )
        self._monitor.execute("query-status")

    def _arguments(self, kernel: Path, monitor: int, memory: int) -> list[str]:
        ram = (
            f"memory-backend-file,id=ram,size={self._memory_bytes},mem-path=/proc/self/fd/{memory}"
        )
        return [
            self._qemu,
            *("-name", f"guest={self.name.replace(',', ',,')},debug-threads=on"),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", f"{self._machine},memory-backend=ram", "-accel", self._accel),
            *("-cpu", self._cpu, "-smp", str(self._vcpus)),
            *("-m", f"size={self._memory_bytes}B", "-object", f"{ram},share=on"),
            *("-chardev", f"socket,id=control,fd={monitor}", "-mon", "control,mode=control"),
            *("-qmp", f"unix:{self.qmp_path},server=on,wait=off"),
            *("-serial", "null", *self._devices),
            *("-kernel", str(kernel), "-append", self._command_line),
        ]

    def stop(self) -> None:
        """Ends the VM through the monitor, by force if that does not do; safe to repeat."""
        if self._process is not None and self._process.poll() is None and self._monitor:
            with contextlib.suppress(MonitorError):
                self._monitor.execute("quit")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Ends QEMU with SIGKILL and frees everything; safe to repeat."""
        if self._watchdog is not None:
            # First: it must never see a process id that the kernel has given to another.
            self._watchdog.kill()
            self._watchdog.wait()
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.close()
            self._watchdog = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if self._messages is not None:
            os.close(self._messages)
            self._messages = None
        if self._directory is not None:
            shutil.rmtree(self._directory)
            self._directory = None

    # What it is

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._running().pid

    @property
    def qmp_path(self) -> Path:
        """A QMP socket that nobody uses: for the exporter."""
        if self._directory is None:
            raise GuestError(f"guest {self.name} is not running")
        return self._directory / "qmp.sock"

    @property
    def vcpu_tids(self) -> tuple[int, ...]:
        """Thread ids of the vCPUs, the first being the one that runs commands."""
        return tuple(cpu["thread-id"] for cpu in self.qmp("query-cpus-fast"))

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that the guest program knows, as it says itself."""
        return self._box().names

    @property
    def tsc_hz(self) -> int:
        """The guest's own measurement of its TSC in hertz; 0 = it has no PM timer."""
        return self._box().tsc_hz

    @property
    def rounds(self) -> int:
        """Finished rounds, in endless mode."""
        return self._box().rounds

    def qmp(self, name: str, **arguments: Any) -> Any:
        """Runs a QMP command on the launcher's own monitor; raises MonitorError."""
        self._running()
        assert self._monitor is not None
        return self._monitor.execute(name, **arguments)

    def pause(self) -> None:
        """Stops the vCPUs (QMP `stop`)."""
        self.qmp("stop")

    def resume(self) -> None:
        """Lets the vCPUs go on (QMP `cont`)."""
        self.qmp("cont")

    # What it does

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Waits until the program is up: in mailbox mode, until it takes commands.

        From then on it makes no exit except as told (and, in the other modes, as its command line
        says).

        Raises:
            GuestError: it failed or took longer than `timeout` seconds.
        """
        mailbox = self._box()
        self._wait(
            lambda: mailbox.started and mailbox.state != box.STATE_BOOTING,
            timeout,
            "did not boot",
        )
        if mailbox.failed:
            raise GuestError(f"guest {self.name}: {mailbox.error}")
        if mailbox.version != box.VERSION:
            raise GuestError(f"guest {self.name} speaks version {mailbox.version}")

    def check(self) -> None:
        """Raises GuestError if QEMU has ended or the program has given up."""
        if self._running().poll() is not None:
            raise GuestError(f"guest {self.name}: QEMU ended: {self._qemu_words()}")
        if self._box().failed:
            raise GuestError(f"guest {self.name}: {self._box().error}")

    def wait_halted(self, timeout: float = 60.0) -> box.Result:
        """Waits until the operations of the command line are done; raises like `run_text`."""
        mailbox = self._box()
        self._wait(lambda: mailbox.state == box.STATE_HALTED, timeout, "did not finish")
        return self._checked(mailbox.result())

    def run(self, **operations: Count) -> box.Result:
        """Runs operations in the order given: `run(serial_write=97, virtio_notify=(101, 1))`."""
        return self.run_text(command_text(list(operations.items())))

    def run_text(self, command: str, timeout: float = 120.0) -> box.Result:
        """Runs a command in the guest's own notation, where names may repeat.

        Raises:
            GuestError: the guest's error text, or that it did not answer within `timeout` seconds.
        """
        mailbox = self._box()
        if mailbox.state != box.STATE_READY:
            raise GuestError(f"guest {self.name} does not take commands now")
        seq = mailbox.post(command)
        self._wait(lambda: mailbox.done(seq), timeout, f"did not finish {command!r}")
        return self._checked(mailbox.result())

    def _checked(self, result: box.Result) -> box.Result:
        if result.error:
            raise GuestError(f"guest {self.name}: {result.error} (done: {result.counts})")
        return result

    def _wait(self, condition: Callable[[], bool], timeout: float, complaint: str) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if self._running().poll() is not None:
                raise GuestError(f"guest {self.name}: QEMU ended: {self._qemu_words()}")
            if time.monotonic() > deadline:
                raise GuestError(f"guest {self.name} {complaint} in {timeout} s")
            time.sleep(_POLL_SECONDS)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise GuestError(f"guest {self.name} is not running")
        return self._process

    def _box(self) -> box.Mailbox:
        if self._memory is None:
            raise GuestError(f"guest {self.name} is not running")
        return box.Mailbox(self._memory)

    def _qemu_words(self) -> str:
        """What QEMU printed, and how it ended if it did."""
        if self._messages is None or self._process is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        printed = os.pread(self._messages, 65536, 0).decode(errors="replace").strip()
        code = self._process.returncode
        if code is not None and code < 0:
            return f"{printed} (signal {signal.Signals(-code).name})"
        return printed
