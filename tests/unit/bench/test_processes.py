# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of a process's memory."""

import subprocess
import sys

from tests.bench.processes import forget_peak, map_bytes, peak_resident_bytes, resident_bytes

MIB = 1 << 20
# Takes memory and gives it back, each when asked.
PROGRAM = """
import mmap, sys
for size in (64, 16):
    sys.stdin.readline()
    with mmap.mmap(-1, size << 20) as taken:
        taken.write(bytes(size << 20))
    print("given back", flush=True)
"""


def test_a_peak_is_of_the_time_since_it_was_forgotten() -> None:
    """Larger than what is left after it, smaller than one before it."""
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        peaks = []
        for _ in range(2):
            forget_peak(process.pid)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "given back\n"
            peaks.append(peak_resident_bytes(process.pid))
        rest = resident_bytes(process.pid)
    first, second = peaks
    assert first > 64 * MIB
    # The kernel's account of a process's memory may be some pages off.
    assert rest + 15 * MIB < second < 64 * MIB


def test_a_process_without_maps_has_no_memory_of_them() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert map_bytes(process.pid) == 0
        process.kill()
