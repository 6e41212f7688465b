# SPDX-License-Identifier: Apache-2.0
"""Many VMs on one machine: real processes with a real KVM VM, real vCPUs and a thread for each.

They run nothing. Their command lines are QEMU's, their QMP sockets answer as a recorded QEMU did,
and what BPF counted of the recorded guest is written for each of their vCPUs into the maps of a
running exporter. What it did often some did far more often than others, as if they had run for
months; what it hardly did but while it booted they did no more often, and the vCPUs that it lacked
not at all.
"""

import asyncio
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from kvmexporter.model.metrics import RARE_BELOW
from kvmexporter.model.regiontable import PORT
from kvmexporter.sources.qemu import QemuFacts, Visitor
from tests.bench.counting import borrow
from tests.bench.recording import linux_guest
from tests.unit.clock_records import write_clock, write_offset
from tests.unit.vcpu_records import record

VCPUS = 8
TAPS = "fleet"
"""What the name of each VM's tap begins with."""

_MOST_MAGNITUDES = 5
_UNKNOWN_PORT = 0xED
_REGION_KEY = struct.Struct("QII")  # struct region_key
_SOURCE = Path(__file__).parent / "src" / "idle_vm.c"
_QEMU = "/usr/bin/qemu-system-x86_64"


class Fleet:
    """The VMs; a context manager. Run it in a PID namespace of its own."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="fleet-"))
        self._program = self._directory / "idle_vm"
        self._vms: list[subprocess.Popen[bytes]] = []
        self._servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]
        subprocess.run([*command, self._program, _SOURCE], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._vms, *self._servers):
            process.kill()
        for process in (*self._vms, *self._servers):
            process.wait()
            if process.stdout:
                process.stdout.close()
        shutil.rmtree(self._directory)

    def __len__(self) -> int:
        return len(self._vms)

    def grow(self, size: int) -> None:
        """Start VMs until there are so many."""
        first = len(self._vms)
        if size <= first:
            return
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.replies", self._directory, str(first), str(size)],
            stdout=subprocess.PIPE,
        )
        self._servers.append(server)
        assert server.stdout
        assert server.stdout.readline()
        for number in range(first, size):
            self._vms.append(self._start(number))
        for vm in self._vms[first:]:
            assert vm.stdout
            assert vm.stdout.read(1) == b".", "a VM did not start"
            vm.stdout.close()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        words = []
        for word in linux_guest().command_line[1:]:
            word = word.replace("/run/guest/qmp.sock", f"{self._directory}/{number}.sock")
            word = re.sub(r"ifname=\w+", f"ifname={TAPS}{number:04}", word)
            words.append(word.replace("guest=linux-guest", f"guest=tenant-{number:04}"))
        words[words.index("-smp") + 1] = str(VCPUS)
        return subprocess.Popen(
            [_QEMU, *words], executable=self._program, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def facts(self) -> QemuFacts:
        """What a visit to the first VM finds."""
        return asyncio.run(Visitor().visit(self._directory / "0.sock", 30.0))

    def count(self, exporter: int) -> int:
        """Write what was counted of all VMs into the maps of an exporter's server.

        Args:
            exporter: its process.

        Returns:
            How many vCPUs.
        """
        guest, facts = linux_guest(), self.facts()
        often = RARE_BELOW / len(guest.vcpus)
        counted = [guest.record(vcpu, facts) for vcpu in range(VCPUS)]
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        written = 0
        with (
            borrow(exporter, "vcpus") as vcpus,
            borrow(exporter, "vm_clocks") as clocks,
            borrow(exporter, "tsc_offsets") as offsets,
        ):
            for number, vm in enumerate(self._vms):
                times = 10 ** random.Random(number).uniform(0, _MOST_MAGNITUDES)
                write_clock(clocks, vm.pid, now, **guest.clock)
                tids = sorted(int(task.name) for task in Path(f"/proc/{vm.pid}/task").iterdir())
                for vcpu, (tid, one) in enumerate(zip(tids[1:], counted, strict=True)):
                    arrays = {
                        name: {
                            index: int(count * times) if count >= often else count
                            for index, count in counts.items()
                            if count >= often or vcpu < len(guest.vcpus)
                        }
                        for name, counts in one.items()
                        if name != "isa"
                    }
                    data = record(vm.pid, now, vcpu, one["isa"][0], 0, 0, **arrays)
                    vcpus.set(struct.pack("I", tid), data)
                    tsc = guest.tsc_offsets[vcpu % len(guest.tsc_offsets)]
                    write_offset(offsets, vm.pid, vcpu, tsc["offset"], tsc["writes"], now)
                    written += 1
        return written

    def touch_unknown(self, exporter: int, vms: int) -> int:
        """Let the first so many VMs touch what none of their devices has: each is visited again.

        Args:
            exporter: process of its server.
            vms: how many; with some hundred more the kernel forgets the first.

        Returns:
            How many it are.
        """
        touched = self._vms[:vms]
        with borrow(exporter, "unknown_addresses") as unknown:
            for vm in touched:
                unknown.set(_REGION_KEY.pack(_UNKNOWN_PORT, vm.pid, PORT), struct.pack("Q", 1000))
        return len(touched)
