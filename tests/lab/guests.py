# SPDX-License-Identifier: Apache-2.0
"""Linux guests of the lab's host: what they are built of, and how a test drives them.

    guest = LinuxGuest("a", disks=(Disk("disk0"),), balloon=True)
    host.start(guest)
    guest.run("dd if=/dev/vda of=/dev/null bs=4096 count=1009 iflag=direct")

The kernel is that of the lab's host, the root an initramfs.  Three things are the tests' own and
not the exporter's: a monitor over an inherited socket (the exporter finds the second one, a path
on the command line, as it does anywhere), the console's log, and the shell on the second port.
"""

import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.lab.devices import Disk, Nic
from tests.lab.qmp import Qmp, QmpError
from tests.lab.shell import GuestError, Shell

# Nested emulation is slow and a shared machine slower; a boot takes a tenth of this.
BOOT_SECONDS = 120.0
_ANSWER_SECONDS = 15.0

# QEMU's SVM (7.2 and 10.0 at least) leaves the type of a guest's last exception in the VMCB's
# event field and clears the valid bit alone; KVM since Linux 6.14 looks at the type
# (svm_check_emulate_instruction) and takes an MMIO access that comes next for one in the middle
# of a delivery: "internal error, suberror 3".  One boot in ten or so dies of it there, one in a
# hundred commands.  It says nothing about what is tested, so a guest that dies while booting is
# started again.
_EMULATOR_FAULT = "KVM internal error. Suberror: 3"
_BOOTS = 4


class EmulatorError(GuestError):
    """The emulated processor, not the guest or KVM, stopped the guest."""


@dataclass(slots=True)
class LinuxGuest:
    """A guest, declared; it becomes a machine with `start` (usually through `Host.start`)."""

    name: str
    vcpus: int = 1
    memory_mib: int = 192
    cpu: str = "host"
    machine: str = "pc"
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    balloon: bool = False
    balloon_options: str = ""
    console: bool = False
    """A virtio-console, `/dev/hvc0` in the guest; what is written there comes to `hvc0.log`."""
    agent: bool = False
    """qemu-guest-agent, on a socket whose path the command line shows."""
    kernel_arguments: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Where the kernel and the initramfs are; set by `tests.lab.boot`."""
    extra: tuple[str, ...] = ()
    """More arguments for QEMU."""
    images: Path | None = None
    """Directory of the disks' files; the guest's own by default, shared by `twin`."""

    identity: str = ""
    """What the MAC addresses are made from; the name by default, shared by `twin`."""

    directory: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _qmp: Qmp | None = field(init=False, default=None)
    _shell: Shell = field(init=False)

    def twin(self, name: str) -> "LinuxGuest":
        """Return the declaration of a second machine on the same disks, to migrate to."""
        return replace(
            self,
            name=name,
            images=self.images or self.directory,
            identity=self.identity or self.name,
        )

    def mac(self, nic: int) -> str:
        """Return the MAC address of a NIC, by its place in `nics`."""
        seed = hashlib.sha256((self.identity or self.name).encode()).digest()
        return f"52:54:00:{seed[0]:02x}:{seed[1]:02x}:{nic:02x}"

    # -- the machine ------------------------------------------------------------------------

    def command(self, monitor: int) -> list[str]:
        """Return QEMU's command line, with the tests' monitor on this descriptor."""
        append = [
            # noxsave: under the emulated SVM, KVM reports a save area smaller than the CPU's;
            # older kernels warn of it and do without XSAVE, 7.2 dies of it.
            "console=ttyS0", "quiet", "panic=-1", "net.ifnames=0", "mitigations=off", "noxsave",
            *(f"lab.net={self.mac(n)},{nic.address}" for n, nic in enumerate(self.nics)),
            *self.kernel_arguments.split(),
        ]  # fmt: skip
        here = self.directory
        command = [
            "qemu-system-x86_64", "-name", f"guest={self.name},debug-threads=on",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", f"{self.machine},accel=kvm", "-cpu", self.cpu,
            "-smp", str(self.vcpus), "-m", f"{self.memory_mib}M",
            "-kernel", self.environment["KVMEXPORTER_LAB_GUEST_VMLINUX"],
            "-initrd", self.environment["KVMEXPORTER_LAB_GUEST_INITRAMFS"],
            "-append", " ".join(append),
            "-chardev", f"file,id=console0,path={here}/console.log,append=on",
            "-serial", "chardev:console0",
            "-chardev", f"socket,id=shell0,path={here}/shell.sock,server=on,wait=off",
            "-serial", "chardev:shell0",
            "-chardev", f"socket,id=tests,fd={monitor}", "-mon", "chardev=tests,mode=control",
            "-qmp", f"unix:{here}/qmp.sock,server=on,wait=off",
        ]  # fmt: skip
        for disk in self.disks:
            command += disk.arguments((self.images or here) / f"{disk.id}.raw")
        for number, nic in enumerate(self.nics):
            command += nic.arguments(self.mac(number))
        if self.balloon:
            command += ["-device", f"virtio-balloon-pci,id=balloon0{self.balloon_options}"]
        if self.console or self.agent:
            command += ["-device", "virtio-serial-pci,id=serial0"]
        if self.console:
            command += ["-chardev", f"file,id=hvc0,path={here}/hvc0.log",
                        "-device", "virtconsole,id=console1,chardev=hvc0"]  # fmt: skip
        if self.agent:
            command += ["-chardev", f"socket,id=agent0,path={here}/agent.sock,server=on,wait=off",
                        "-device", "virtserialport,id=agent1,chardev=agent0"
                        ",name=org.qemu.guest_agent.0"]  # fmt: skip
        return [*command, *self.extra]

    def start(self, directory: Path, *, incoming: bool = False, wait: bool = True) -> None:
        """Start the machine and wait for its shell; one that does not come up is ended.

        Args:
            directory: where its sockets, disks and logs go; made if it is not there.
            incoming: wait for a migration instead of booting.
            wait: do not return before the guest obeys commands.
        """
        for left in reversed(range(_BOOTS)):
            self._launch(directory, incoming=incoming)
            if incoming or not wait:
                return
            try:
                self.wait_ready()
            except GuestError as err:
                self.kill()  # or the next of its name would run beside it
                if not isinstance(err, EmulatorError) or not left:
                    raise
                print(f"{self.name}: started again: {err}", flush=True)
            else:
                return

    def _launch(self, directory: Path, *, incoming: bool) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        images = self.images or directory
        for disk in self.disks:
            with (images / f"{disk.id}.raw").open("ab") as image:
                image.truncate(disk.size_mib << 20)
        ours, theirs = socket.socketpair()
        with theirs, (directory / "qemu.log").open("ab") as log:
            command = self.command(theirs.fileno())
            if incoming:
                command += ["-incoming", "defer"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[theirs.fileno()],
            )  # fmt: skip
        try:
            self._qmp = Qmp(ours)
        except QmpError as err:
            ours.close()
            self.kill()
            said = (directory / "qemu.log").read_text(errors="replace")
            raise GuestError(f"{self.name}: QEMU did not start: {err}: {said}") from err
        self._shell = Shell(directory / "shell.sock")
        self._shell.connect()

    def wait_ready(self, timeout: float = BOOT_SECONDS) -> None:
        """Wait until the guest has booted and obeys commands."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._shell.wait_ready(min(2.0, timeout))
            except GuestError as err:
                self._check_emulator()
                if not self.running and not self.console_log():
                    # Reset by a triple fault in the firmware or the kernel's first steps.
                    raise EmulatorError(f"{self.name}: its machine ended in silence") from err
                if time.monotonic() > deadline or not self.running:
                    console = self.console_log()[-2000:]
                    raise GuestError(f"{err} ({self._state()}); its console:\n{console}") from err
            else:
                return

    def _state(self) -> str:
        if not self.running:
            return "QEMU has ended"
        try:
            return f"QEMU says {self.qmp('query-status')['status']}"
        except QmpError as err:
            return f"QEMU's monitor fails: {err}"

    def _check_emulator(self) -> None:
        if self._state().endswith("internal-error"):
            log = (self.directory / "qemu.log").read_text(errors="replace")
            if _EMULATOR_FAULT in log:
                raise EmulatorError(f"{self.name}: {_EMULATOR_FAULT}")

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        if self._process is None:
            raise GuestError(f"{self.name} is not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Say whether the QEMU process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def vcpu_tids(self) -> list[int]:
        """The thread ids of the vCPUs, by vCPU number."""
        cpus = sorted(self.qmp("query-cpus-fast"), key=lambda cpu: int(cpu["cpu-index"]))
        return [int(cpu["thread-id"]) for cpu in cpus]

    def qmp(self, name: str, **arguments: Any) -> Any:
        """Run a QMP command on the tests' own monitor; `_` in argument names stands for `-`."""
        if self._qmp is None:
            raise GuestError(f"{self.name} is not started")
        return self._qmp.command(name, **arguments)

    @property
    def qmp_events(self) -> list[dict[str, Any]]:
        """The QMP events that came with answers so far."""
        return [] if self._qmp is None else self._qmp.events

    def monitor(self, command: str) -> str:
        """Run a command of the human monitor and return what it prints."""
        return str(self.qmp("human-monitor-command", command_line=command))

    # -- what runs in it --------------------------------------------------------------------

    def run(self, command: str, timeout: float = 60, check: bool = True) -> str:
        """Run a shell command in the guest and return its output, both streams.

        Raises:
            GuestError: no answer in time, or (with `check`) a non-zero exit code.
        """
        output, code = self._obey(command, timeout)
        if check and code != 0:
            raise GuestError(f"{self.name}: exit code {code} from: {command}\n{output}")
        return output

    def exit_code(self, command: str, timeout: float = 60) -> int:
        """Run a shell command in the guest and return its exit code."""
        return self._obey(command, timeout)[1]

    def obeys(self) -> bool:
        """Say whether a command still gets an answer."""
        try:
            return self.running and self.exit_code("true", timeout=_ANSWER_SECONDS) == 0
        except (GuestError, OSError):
            return False

    def _obey(self, command: str, timeout: float) -> tuple[str, int]:
        try:
            return self._shell.run(command, timeout)
        except GuestError as err:
            self._check_emulator()
            raise GuestError(f"{self.name}: {err} ({self._state()})") from err

    def console_log(self) -> str:
        """Return what the guest's kernel and init wrote to the first serial port."""
        path = self.directory / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- what happens to it -----------------------------------------------------------------

    def pause(self) -> None:
        """Stop the vCPUs; no exit happens from here to `resume`."""
        self.qmp("stop")

    def resume(self) -> None:
        """Let the vCPUs run again."""
        self.qmp("cont")

    def migrate_to(self, other: "LinuxGuest", timeout: float = 120) -> None:
        """Move the running guest to a machine started with `incoming`; this one stays paused."""
        uri = f"unix:{other.directory}/migration.sock"
        other.qmp("migrate-incoming", uri=uri)
        self.qmp("migrate", uri=uri)
        deadline = time.monotonic() + timeout
        while (state := self.qmp("query-migrate").get("status")) != "completed":
            if state in ("failed", "cancelled"):
                raise GuestError(f"{self.name}: migration {state}: {self.qmp('query-migrate')}")
            if time.monotonic() > deadline:
                raise GuestError(f"{self.name}: migration still {state} after {timeout} s")
            time.sleep(0.2)
        while other.qmp("query-status")["status"] != "running":
            if time.monotonic() > deadline:
                raise GuestError(f"{other.name}: {other.qmp('query-status')} after a migration")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the machine in order (QMP `quit`); does nothing if it is not there."""
        if self.running and self._qmp is not None:
            try:
                self._qmp.command("quit")
            except QmpError:
                # It may close the monitor before it answers: the wait below is what counts.
                self._qmp.events.append({"event": "closed before it answered"})
        self._end(10)

    def kill(self) -> None:
        """End the machine as a crash would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
        self._end(10)

    def _end(self, timeout: float) -> None:
        if self._process is not None:
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout)
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        if hasattr(self, "_shell"):
            self._shell.close()
