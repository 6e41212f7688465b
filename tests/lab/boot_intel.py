# SPDX-License-Identifier: Apache-2.0
"""Boot an Intel KVM host in software and run a command inside it.

    python -m tests.lab.boot_intel --kernel 6.1 -- python -m pytest tests/lab

Bochs interprets a processor with VMX, EPT and a TSC-deadline timer, which QEMU's TCG does not have.
It boots from a CD (`cdrom.py`); serial ports and a disk bring out what happens, to the results
directory (`$KVMEXPORTER_LAB_RESULTS`, `lab-results/intel-<kernel>` unless told):

    output.log    what the command wrote, also copied to standard output
    console.log   the kernel's console
    bochs.log     what the emulator had to say

The exit code is the command's; 124 when the time ran out, 125 when the host did not come to the
point of running it.
"""

import argparse
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.bochs import bochs
from tests.lab.boot import NOT_BOOTED, TIMED_OUT
from tests.lab.cdrom import make_cd
from tests.lab.kernels import Kernel, kernel

_TREE = Path(__file__).resolve().parents[2]
_BIOS = "/usr/share/bochs/BIOS-bochs-latest"
_VGA_BIOS = "/usr/share/vgabios/vgabios.bin"

# The newest model whose TSC-deadline timer Linux does not give up for a microcode erratum.
_MODEL = "corei7_ivy_bridge_3770k"
# Instructions to a second of the machine's own time, about what an idle host interprets: fewer,
# and timers, ticks and the exporter's rounds would take more of them.
_INSTRUCTIONS = 300_000_000

_CYLINDERS, _HEADS, _SECTORS = 65, 16, 63  # 32 MiB for the results


@dataclass(frozen=True, slots=True)
class IntelBoot:
    """How the Intel host is built.

    Attributes:
        kernel: what it boots.
        results: where its logs and results go.
        memory_mib: its memory.
    """

    kernel: Kernel
    results: Path
    memory_mib: int = 2048

    def configuration(self, cd: Path, disk: Path) -> str:
        """Return Bochs's configuration file."""
        return "\n".join(
            [
                "display_library: nogui",
                f"romimage: file={_BIOS}",
                f"vgaromimage: file={_VGA_BIOS}",
                f"cpu: model={_MODEL}, count=1, ips={_INSTRUCTIONS}, reset_on_triple_fault=0",
                f"memory: guest={self.memory_mib}, host={self.memory_mib}",
                "boot: cdrom",
                "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
                f'ata0-master: type=disk, path="{disk}", mode=flat, '
                f"cylinders={_CYLINDERS}, heads={_HEADS}, spt={_SECTORS}",
                "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15",
                f'ata1-master: type=cdrom, path="{cd}", status=inserted',
                f'com1: enabled=1, mode=file, dev="{self.results}/console.log"',
                f'com2: enabled=1, mode=file, dev="{self.results}/output.log"',
                # The machine's time follows what it executes; a busy host slows it, no more.
                "clock: sync=none, time0=utc, rtc_sync=1",
                f'log: "{self.results}/bochs.log"',
                "panic: action=fatal",
                "error: action=report",
                "info: action=ignore",
                "debug: action=ignore",
                "",
            ]
        )

    def environment(self, timeout: float) -> str:
        """Return shell lines that export the command's environment."""
        variables = {
            "KVMEXPORTER_LAB": "1",
            "KVMEXPORTER_LAB_CPU": "intel",
            "KVMEXPORTER_LAB_KERNEL": self.kernel.series,
            "KVMEXPORTER_LAB_RESULTS": "/results",
            "KVMEXPORTER_KERNEL_HEADERS": f"/usr/src/linux-headers-{self.kernel.release}",
            "KVMEXPORTER_LAB_SECONDS": str(max(10, int(timeout) - 60)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PATH": f"{_TREE}/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        return "".join(f"export {key}={shlex.quote(text)}\n" for key, text in variables.items())


def _follow(log: Path, shown: int) -> int:
    """Copy what was added to a log to standard output; return how much of it was shown."""
    with log.open("rb") as source:
        source.seek(shown)
        added = source.read()
    sys.stdout.buffer.write(added)
    sys.stdout.buffer.flush()
    return shown + len(added)


def _take_results(disk: Path, results: Path) -> int | None:
    """Unpack what the machine wrote to its disk; return the command's exit code, if any."""
    try:
        with tarfile.open(disk, "r:") as archive:
            archive.extractall(results)
    except tarfile.TarError:
        return None
    code = results / "exit-code"
    return int(code.read_text()) if code.exists() else None


def run(boot: IntelBoot, command: list[str], timeout: float) -> int:
    """Boot, run, power off; return the command's exit code, or one of `boot`'s.

    Args:
        boot: what to boot.
        command: program and arguments, looked up in the virtual environment first.
        timeout: seconds for everything.
    """
    shutil.rmtree(boot.results, ignore_errors=True)
    boot.results.mkdir(parents=True)
    begun = time.monotonic()
    timed_out = False
    with tempfile.TemporaryDirectory(prefix="kvmexporter-intel-", dir="/var/tmp") as name:
        directory = Path(name)
        cd, disk = directory / "lab.iso", directory / "results.img"
        make_cd(boot.kernel, boot.environment(timeout), f"exec {shlex.join(command)}\n", cd)
        with disk.open("wb") as image:
            image.truncate(_CYLINDERS * _HEADS * _SECTORS * 512)
        (directory / "bochsrc").write_text(boot.configuration(cd, disk))
        with (boot.results / "emulator.log").open("wb") as said:
            machine = subprocess.Popen(
                [bochs(), "-q", "-f", directory / "bochsrc"],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=directory,
            )  # fmt: skip
            shown = 0
            output = boot.results / "output.log"
            output.touch()
            try:
                while machine.poll() is None and not timed_out:
                    time.sleep(0.5)
                    shown = _follow(output, shown)
                    timed_out = time.monotonic() - begun > timeout
            finally:
                machine.kill()
                machine.wait()
            _follow(output, shown)
        code = _take_results(disk, boot.results)
    seconds = time.monotonic() - begun
    if code is not None:
        print(f"lab: intel, {boot.kernel.release}: exit code {code} after {seconds:.0f} s")
        return code
    console = (boot.results / "console.log").read_text(errors="replace").splitlines()[-40:]
    what = f"no end after {timeout:.0f} s" if timed_out else "the machine went down by itself"
    print(f"lab: intel, {boot.kernel.release}: {what}; the console's last lines:", file=sys.stderr)
    print("\n".join(f"  {line}" for line in console), file=sys.stderr, flush=True)
    return TIMED_OUT if timed_out else NOT_BOOTED


def main() -> None:
    """Read the command line, boot, exit with the command's code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.boot_intel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kernel", default="6.1", help="6.1, 6.12, … or newest (default: 6.1)")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB")
    parser.add_argument("--timeout", type=float, default=1200, metavar="SECONDS")
    parser.add_argument("--results", type=Path, help="default: lab-results/intel-<kernel>")
    parser.add_argument("command", nargs="+", help="after --, what to run inside")
    args = parser.parse_args()
    # As an exception, so that the machine ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    found = kernel(args.kernel)
    results = (args.results or _TREE / "lab-results" / f"intel-{found.series}").resolve()
    boot = IntelBoot(found, results, args.memory)
    sys.exit(run(boot, args.command, args.timeout))


if __name__ == "__main__":
    main()
