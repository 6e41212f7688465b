# SPDX-License-Identifier: Apache-2.0
"""Boot a KVM host in software and run a command inside it.

    python -m tests.lab.boot --kernel 6.12 [--tsc reliable] -- python -m pytest tests/lab

QEMU's own CPU (TCG) emulates an AMD processor with SVM and boots a Debian kernel from the cache.
Its root is the development host's file system, read-only over 9p, under a layer in memory: the
command sees this tree and this environment, and what it writes is gone afterwards, save in the
results directory (`$KVMEXPORTER_LAB_RESULTS`, `lab-results/<kernel>` unless told), which receives

    output.log    what the command wrote, also copied to standard output
    console.log   the kernel's console
    emulator.log  what the emulator had to say of its processors: their resets, a triple fault

The exit code is the command's; 124 when the time ran out, 125 when the host went down before the
command had ended.  With `--boots 2` a host that went down without a word of its kernel is booted
once more, and the command begins anew: a kernel that finds something wrong says so first, so that
went wrong in the emulator.  Its logs stay, as `*.1.log`.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tests.lab import python_archive
from tests.lab.initramfs import guest_initramfs, host_initramfs
from tests.lab.kernels import Kernel, kernel
from tests.lab.packages import emulator, lab_packages
from tests.lab.vmlinux import vmlinux

_TREE = Path(__file__).resolve().parents[2]
TIMED_OUT = 124
NOT_BOOTED = 125

# What Linux writes at a level that reaches the console when it is the one who fails.
_LAST_WORDS = re.compile(
    r"panic|BUG:|Oops|\bfault\b|invalid opcode|stall|Call Trace|Out of memory|reboot:"
)


@dataclass(frozen=True, slots=True)
class Boot:
    """How the lab's host is built."""

    kernel: Kernel
    results: Path
    cpus: int = 2
    memory_mib: int = 2560
    tsc: str | None = None
    """Value of the kernel's `tsc=` parameter; by default it distrusts the emulated TSC."""
    counting: bool = False
    """Whether time goes by with instructions, a nanosecond each: what runs there is measured
    exactly, whatever else this machine does, and takes several times as long."""
    forward: tuple[str, ...] = ()
    """TCP ports of this machine that lead into the host's eth0, each "PORT:PORT"."""

    def qemu(self) -> list[str]:
        """Return QEMU's command line."""
        append = [
            "console=ttyS0", "loglevel=4", "panic=-1", "net.ifnames=0", "mitigations=off",
            f"lab.start={Path(__file__).with_name('host-start.sh')}",
            f"lab.results={self.results}",
        ]  # fmt: skip
        if self.tsc is not None:
            append.append(f"tsc={self.tsc}")
        command = [
            emulator(), "-name", "kvmexporter-lab", "-nodefaults", "-display", "none",
            "-no-user-config", "-no-reboot", "-machine", "q35",
            "-cpu", "EPYC-v3,+svm,+npt,check=off",
            *self._accelerator(),
            "-smp", str(self.cpus), "-m", f"{self.memory_mib}M",
            "-kernel", str(vmlinux(self.kernel)), "-initrd", str(host_initramfs(self.kernel)),
            "-append", " ".join(append),
            "-chardev", f"file,id=console,path={self.results}/console.log",
            "-serial", "chardev:console",
            "-d", "cpu_reset,guest_errors", "-D", f"{self.results}/emulator.log",
            "-device", "virtio-serial-pci",
            "-chardev", "file,id=output,path=/dev/stdout",
            "-device", "virtserialport,chardev=output,name=kvmexporter.output",
        ]  # fmt: skip
        shares = {"root": Path("/"), "kernel": self.kernel.root, "packages": lab_packages()}
        for tag, path in shares.items():
            command += ["-fsdev", f"local,id={tag},path={path},security_model=none,readonly=on"
                        ",multidevs=remap"]  # fmt: skip
            command += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        if self.forward:
            ports = (pair.split(":") for pair in self.forward)
            rules = "".join(f",hostfwd=tcp:127.0.0.1:{outer}-:{inner}" for outer, inner in ports)
            command += ["-netdev", f"user,id=outside{rules}"]
            command += ["-device", "virtio-net-pci,netdev=outside,romfile="]
        command += ["-fsdev", f"local,id=results,path={self.results},security_model=none"]
        return [*command, "-device", "virtio-9p-pci,fsdev=results,mount_tag=results"]

    def _accelerator(self) -> list[str]:
        if self.counting:
            return ["-accel", "tcg,thread=single,tb-size=512", "-icount", "shift=0,sleep=off"]
        return ["-accel", "tcg,thread=multi,tb-size=512"]


def _prepare(boot: Boot, command: list[str], timeout: float) -> None:
    environment = {
        "KVMEXPORTER_LAB": "1",
        "KVMEXPORTER_LAB_KERNEL": boot.kernel.series,
        "KVMEXPORTER_LAB_RESULTS": str(boot.results),
        "KVMEXPORTER_LAB_TSC": boot.tsc or "",
        "KVMEXPORTER_LAB_LONG": os.environ.get("KVMEXPORTER_LAB_LONG", ""),
        "KVMEXPORTER_LAB_SOAK_SECONDS": os.environ.get("KVMEXPORTER_LAB_SOAK_SECONDS", ""),
        "KVMEXPORTER_LAB_GUEST_INITRAMFS": str(guest_initramfs(boot.kernel)),
        "KVMEXPORTER_LAB_GUEST_VMLINUX": str(vmlinux(boot.kernel)),
        "KVMEXPORTER_KERNEL_HEADERS": f"/usr/src/linux-headers-{boot.kernel.release}",
        # The rest is for booting, and for cleaning up after the command was interrupted.
        "KVMEXPORTER_LAB_SECONDS": str(max(10, int(timeout) - 60)),
        # Byte code has nowhere to go, and a search through 9p for it costs more than it saves.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PATH": os.environ.get("PATH", os.defpath),
    }
    if boot.tsc or os.environ.get("KVMEXPORTER_LAB_LONG"):
        # Two seconds, for the tests alone that have the exporter in a guest.
        archive = boot.results / "python.tar"
        python_archive.build(archive)
        environment["KVMEXPORTER_LAB_GUEST_PYTHON"] = str(archive)
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items())
    (boot.results / "environment").write_text(exports)
    script = f"cd {shlex.quote(str(_TREE))}\nexec {shlex.join(command)}\n"
    (boot.results / "command").write_text(script)


def _copy(source: BinaryIO, log: Path) -> None:
    with log.open("wb", buffering=0) as kept:
        while chunk := source.read1(65536):  # type: ignore[attr-defined]  # a BufferedReader
            kept.write(chunk)
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def fell_silently(console: str) -> bool:
    """Return whether a host that went down left nothing on its console that says why."""
    return _LAST_WORDS.search(console) is None


def _why(boot: Boot, status: int, *, ended_by_us: bool) -> str:
    """Return what is known of a host that went down: its console, its emulator."""
    console = _read(boot.results / "console.log").splitlines()[-40:]
    emulator = _read(boot.results / "emulator.log").splitlines()
    # Each reset, of which the start has some, comes with the registers: "RAX=…", "ES =…".
    said = [line for line in emulator if not re.match(r"[A-Z]\w+ *=|CPU Reset", line)]
    how = f"with {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
    if ended_by_us:
        how = "when it was told to"
    return "\n".join([
        f"the emulator ended {how} and said", *(f"  {line}" for line in said[-10:]),
        "and the console's last lines are", *(f"  {line}" for line in console),
    ])  # fmt: skip


def run(boot: Boot, command: list[str], timeout: float, boots: int = 1) -> int:
    """Boot, run, power off; return the command's exit code, or one of this module's own.

    Args:
        boot: what to boot.
        command: program and arguments, looked up in this environment's PATH.
        timeout: seconds for everything, of each boot.
        boots: how often to boot it at most, where it goes down silently.
    """
    shutil.rmtree(boot.results, ignore_errors=True)
    boot.results.mkdir(parents=True)
    for number in range(1, boots):
        code = _run_once(boot, command, timeout)
        if code != NOT_BOOTED or not fell_silently(_read(boot.results / "console.log")):
            return code
        print("lab: not a word of the kernel; booting once more", file=sys.stderr, flush=True)
        for name in ("output", "console", "emulator"):
            (boot.results / f"{name}.log").rename(boot.results / f"{name}.{number}.log")
    return _run_once(boot, command, timeout)


def _run_once(boot: Boot, command: list[str], timeout: float) -> int:
    _prepare(boot, command, timeout)
    begun = time.monotonic()
    with subprocess.Popen(boot.qemu(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        assert machine.stdout is not None
        copier = threading.Thread(
            target=_copy, args=(machine.stdout, boot.results / "output.log"), daemon=True
        )
        copier.start()
        try:
            machine.wait(timeout)
            timed_out = False
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            machine.kill()
        copier.join(10)
    code_file = boot.results / "exit-code"
    seconds = time.monotonic() - begun
    if code_file.exists():
        code = int(code_file.read_text())
        print(f"lab: {boot.kernel.release}: exit code {code} after {seconds:.0f} s", flush=True)
        return code
    what = "no end" if timed_out else "the host went down by itself"
    print(
        f"lab: {boot.kernel.release}: {what} after {seconds:.0f} s; "
        + _why(boot, machine.returncode, ended_by_us=timed_out),
        file=sys.stderr,
        flush=True,
    )
    return TIMED_OUT if timed_out else NOT_BOOTED


def main() -> None:
    """Read the command line, boot, exit with the command's code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.boot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kernel", default="6.12", help="6.1, 6.12, … or newest (default: 6.12)")
    parser.add_argument("--tsc", help="the host kernel's tsc= parameter, for example reliable")
    parser.add_argument(
        "--count-instructions", action="store_true", help="let each take a nanosecond"
    )
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", type=int, default=2560, metavar="MIB")
    parser.add_argument(
        "--forward", action="append", default=[], metavar="PORT:PORT",
        help="a port of this machine's that leads to one of the host's; may be repeated",
    )  # fmt: skip
    parser.add_argument("--timeout", type=float, default=1200, metavar="SECONDS")
    parser.add_argument(
        "--boots", type=int, default=1, metavar="N",
        help="how often to boot it at most, where it goes down silently (default: 1)",
    )  # fmt: skip
    parser.add_argument("--results", type=Path, help="default: lab-results/<kernel>")
    parser.add_argument(
        "--prepare", action="store_true", help="only fetch and build what booting takes"
    )
    parser.add_argument("command", nargs="*", help="after --, what to run inside")
    args = parser.parse_args()
    # As an exception, so that the machine ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    found = kernel(args.kernel)
    results = (args.results or _TREE / "lab-results" / found.series).resolve()
    boot = Boot(
        found, results, args.cpus, args.memory, args.tsc, args.count_instructions,
        tuple(args.forward),
    )  # fmt: skip
    if args.prepare:
        boot.qemu()
        guest_initramfs(found)
        return
    if not args.command:
        parser.error("nothing to run inside")
    sys.exit(run(boot, args.command, args.timeout, args.boots))


if __name__ == "__main__":
    main()
