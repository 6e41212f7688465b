# SPDX-License-Identifier: Apache-2.0
"""The last minute."""

from dataclasses import replace

from kvmexporter.collectors.io import IO_EXITS
from kvmexporter.sampler import Snapshot
from kvmexporter.views.history import EXITS, IO, MOST_POINTS, USERSPACE, History
from tests.unit.snapshots import family, snapshot, status, vm
from tests.unit.views.samples import everything

PATH = ("disk", "virtio-blk", "virtio")


def at(monotonic: float, **total: int) -> Snapshot:
    """VMs with so many exits for one device each."""
    return snapshot(
        family(
            IO_EXITS,
            {(name, *PATH, "mmio", "write", "kernel"): count for name, count in total.items()},
        ),
        vms=[vm(name) for name in total],
        monotonic=monotonic,
        statuses=[status("exits"), status("io")],
    )


def test_rates_between_points() -> None:
    """Of a VM and of its paths, with how long ago."""
    past = History()
    for monotonic, total in ((10.0, 100), (11.0, 103), (13.0, 113)):
        past.observe(at(monotonic, a=total))
    assert past.points("a", EXITS) == ((2.0, 3.0), (0.0, 5.0))
    assert past.points("a", IO, *PATH) == ((2.0, 3.0), (0.0, 5.0))
    assert past.latest("a", EXITS) == 5.0


def test_what_nobody_knows() -> None:
    """Has no points, and neither has a single total."""
    past = History()
    assert past.points("a", EXITS) == ()
    past.observe(at(10.0, a=1))
    assert past.points("a", EXITS) == ()
    assert past.latest("a", EXITS) is None


def test_what_nobody_counts() -> None:
    """Has no points either, whatever else is counted."""
    past = History()
    for second in range(2):
        past.observe(replace(at(10.0 + second, a=second), statuses=(status("io"),)))
    assert past.points("a", EXITS) == past.points("a", USERSPACE) == ()
    assert past.points("a", IO) == ((0.0, 1.0),)


def test_a_vm_that_came_meanwhile() -> None:
    """Began at nothing; one that ended is forgotten; one that began again has no past."""
    past = History()
    past.observe(at(10.0, a=100))
    past.observe(at(11.0, a=100, b=7))
    assert past.points("b", EXITS) == ((0.0, 7.0),)
    past.observe(at(12.0, b=3))
    assert past.points("a", EXITS) == ()
    assert past.points("b", EXITS) == ((0.0, 3.0),)


def test_no_more_than_a_minute() -> None:
    """However long it goes on, and however often somebody asks."""
    past = History()
    for tenth in range(0, 2000, 2):
        past.observe(at(tenth / 10, a=tenth))
    points = past.points("a", EXITS)
    assert len(points) <= MOST_POINTS
    assert points[0][0] <= 61.0
    assert {round(rate, 6) for _, rate in points} == {10.0}


def test_every_vm_of_a_snapshot() -> None:
    """Exits by what KVM announces, or the least there were."""
    past = History()
    past.observe(everything(1, 100.0))
    past.observe(everything(2, 101.0))
    assert past.latest("web", EXITS) == 100.0
