# SPDX-License-Identifier: Apache-2.0
"""The system's own clocks, from a tree and from this very kernel."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import TimexReading
from kvmexporter.sources.ownclock import OwnClockReader
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.system import System
from tests.unit.clock_tree import ClockTree

ARTEFACT = TimexReading(0, 2**32, 0, 500, 20, 0x2001, 10_000, 37)
NANOSECONDS = TimexReading(0, -1500, 65_536 * 12, 2500, 30, 0x2001, 10_000, 37)


def refused() -> TimexReading:
    raise Unavailable("adjtimex is not allowed here", "")


@pytest.fixture
def tree(tmp_path: Path) -> ClockTree:
    return ClockTree(tmp_path)


@pytest.fixture
def reader(tree: ClockTree) -> Iterator[OwnClockReader]:
    answers = iter((NANOSECONDS, ARTEFACT))
    system = System(sysfs=tree.sysfs, devices=tree.dev, adjtimex=lambda: next(answers))
    made = OwnClockReader(system, Procfs(tree.proc))
    yield made
    made.close()


def test_a_tree(reader: OwnClockReader) -> None:
    """Each part is where it belongs; a reading that cannot be is counted."""
    first, second = reader.sample(), reader.sample()
    assert first.clocksources
    assert first.clocksources.current == "tsc"
    assert first.tsc_features["constant"]
    assert first.timex
    assert second.timex
    assert (first.timex.offset_ns, second.timex.offset_ns) == (-1500, None)
    assert (first.rejected, second.rejected) == (0, 1)
    assert first.steps
    assert first.steps.count == 0
    assert 0 < first.read_ns < 1e5


def test_what_cannot_be_had(tree: ClockTree) -> None:
    """Costs itself alone."""
    system = System(sysfs=tree.sysfs, devices=tree.dev, adjtimex=refused)
    reader = OwnClockReader(system, Procfs(tree.proc))
    sample = reader.sample()
    reader.close()
    assert sample.timex is None
    assert sample.clocksources


def test_nothing_stays_open(tree: ClockTree) -> None:
    """Closed, it holds no descriptor."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names, not paths
    OwnClockReader(System(), Procfs(tree.proc)).close()
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
