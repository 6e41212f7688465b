# SPDX-License-Identifier: Apache-2.0
"""A snapshot with something of everything that views show, and the same a little later."""

from dataclasses import replace

from kvmexporter.collectors import exits, io, timekeeping
from kvmexporter.model.findings import Finding, Severity
from kvmexporter.model.io import UnknownAddress
from kvmexporter.sampler import Snapshot, State
from tests.unit.snapshots import family, histogram, snapshot, status, vm

HOSTILE = "<img src=x onerror=alert(1)>"
WARNING = Finding("slow-nic", Severity.WARNING, "web", "net0", "Slow.", "Matters.", "Mend it.")
CRITICAL = Finding("bad-clock", Severity.CRITICAL, "", "clock", "Bad.", "Counts.", "Set it.")


def everything(times: int = 1, monotonic: float = 100.0) -> Snapshot:
    """Two VMs, of which one's exits KVM announces; every count is so many times what it was."""
    taken = snapshot(
        family(exits.EXITS, {("web", "HLT", "hlt"): 7 * times, ("web", "IO", "io"): 93 * times}),
        family(
            exits.HANDLING,
            {("web", "io"): histogram({2: 89 * times, 5: 4 * times}, 1_000_003 * times)},
        ),
        family(exits.USERSPACE_EXITS, {("web", "IO"): 61 * times, (HOSTILE, "MMIO"): 3 * times}),
        family(
            io.IO_EXITS,
            {
                ("web", "net0", "e1000", "emulated", "mmio", "write", "userspace"): 61 * times,
                ("web", "net0", "e1000", "emulated", "mmio", "read", "kernel"): 2 * times,
                ("web", "rtc", "rtc", "emulated", "pio", "read", "userspace"): 31 * times,
                (HOSTILE, HOSTILE, "x", "virtio", "mmio", "write", "kernel"): 3 * times,
            },
        ),
        family(io.KICKS, {(HOSTILE, HOSTILE, "0"): 3 * times}),
        family(exits.MSR_ACCESSES, {(HOSTILE, "tsc", "read"): 5 * times}),
        family(exits.VCPU_EXITS, {("web", "1", "HLT", "hlt"): 7 * times}),
        family(timekeeping.CLOCKSOURCE, {("tsc", "available"): 1, ("hpet", "current"): 1}),
        family(timekeeping.SYNCHRONIZED, {(): 0}),
        family(timekeeping.OFFSET, {(): -0.0025}),
        family(timekeeping.MAX_ERROR, {(): 16.0}),
        vms=[vm("web", 11), vm(HOSTILE, 12)],
        monotonic=monotonic,
        statuses=[status("exits"), status("io", State.FAILED, f"KeyError: {HOSTILE}")],
        findings=[WARNING, CRITICAL],
    )
    return replace(taken, unknown_addresses=(UnknownAddress("web", "port", 0x3F8, 17),))
