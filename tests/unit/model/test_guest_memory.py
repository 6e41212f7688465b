# SPDX-License-Identifier: Apache-2.0
"""A guest's own words on its memory."""

import pytest

from kvmexporter.model.guest_memory import free_blocks, guest_memory, pressure, vmstat

VMSTAT = "nr_free_pages 5\npswpin 7\npswpout 11\noom_kill 13\nballoon_inflate 200\n" \
    "balloon_deflate 72\nballoon_migrate 3\n"  # fmt: skip
PSI = """\
some avg10=32.32 avg60=11.27 avg300=2.74 total=9396637
full avg10=21.32 avg60=7.39 avg300=1.79 total=6449249
"""
BUDDYINFO = """\
Node 0, zone      DMA      0      0      0      0      0      1      1      1      0      1      3
Node 0, zone    DMA32      3      5      5      4      1      1      1      4      2      0     15
"""


def test_counters() -> None:
    """Those that are shown; old kernels have fewer."""
    assert vmstat(VMSTAT) == {
        "pswpin": 7, "pswpout": 11, "oom_kill": 13, "balloon_inflate": 200,
        "balloon_deflate": 72, "balloon_migrate": 3,
    }  # fmt: skip
    assert vmstat("pswpin\npswpout x\n") == {}


def test_pressure() -> None:
    """Microseconds become nanoseconds, percents ratios."""
    found = pressure(PSI)
    assert found
    assert found.stalled_ns == {"some": 9_396_637_000, "full": 6_449_249_000}
    assert found.recent == {"some": pytest.approx(0.1127), "full": pytest.approx(0.0739)}
    assert pressure("") is None
    assert pressure("some avg60=x total=5\n") == type(found)({"some": 5000}, {"some": 0.0})


def test_free_blocks() -> None:
    """All zones together; huge are those of 512 pages and 1,024."""
    small = 32 + 64 + 128 + 3 + 10 + 20 + 32 + 16 + 32 + 64 + 512 + 512
    huge = 512 + 3 * 1024 + 15 * 1024
    assert free_blocks(BUDDYINFO) == (small + huge, huge)
    assert free_blocks("") == (0, 0)


def test_together() -> None:
    """What the balloon holds, and how much of the free memory is in small pieces."""
    found = guest_memory(VMSTAT, PSI, "Node 0, zone Normal 512 0 0 0 0 0 0 0 0 1 0", 4096)
    assert found.in_balloon == 128 * 4096
    assert found.unusable == 0.5
    nothing = guest_memory("", "", "", 4096)
    assert (nothing.unusable, nothing.in_balloon, nothing.pressure) == (None, 0, None)
