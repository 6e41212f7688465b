# SPDX-License-Identifier: Apache-2.0
"""What each VM did."""

import pytest

from kvmexporter.collectors.exits import USERSPACE_EXITS
from kvmexporter.collectors.io import IO_EXITS
from kvmexporter.sampler import CollectorStatus, State
from kvmexporter.views import activity
from kvmexporter.views.activity import Uncounted, activities, hottest, notes
from tests.unit.snapshots import family, snapshot, status, vm
from tests.unit.views.samples import HOSTILE, everything


def test_each_vm_has_its_own() -> None:
    """Exits and paths of one are no other's, hottest path first."""
    web, other = activities(everything())
    assert web.exits == {("HLT", "hlt"): 7, ("IO", "io"): 93}
    assert [(path.device, path.kernel, path.userspace, path.total) for path in web.io] == [
        ("net0", 2, 61, 63),
        ("rtc", 0, 31, 31),
    ]
    assert [path.device for path in other.io] == [HOSTILE]
    assert other.counts(activity.KICKS) == {(HOSTILE, "0"): 3}
    assert web.counts(activity.KICKS) == {}


def test_exits_where_kvm_announces_them() -> None:
    """Are all that there were."""
    web = activities(everything())[0]
    assert (web.is_exact, web.all_exits) == (True, 100)
    assert web.handling["io"].count == 93


def test_exits_where_kvm_does_not() -> None:
    """Are at least those with an access to a device or a register."""
    other = activities(everything())[1]
    assert (other.is_exact, other.all_exits) == (False, 8)


@pytest.mark.parametrize(
    ("statuses", "why"),
    [
        ([status("exits"), status("io")], Uncounted()),
        ([status("io")], Uncounted("the collector exits is off", "")),
        (
            [status("exits"), status("io", State.FAILED, "KeyError: x")],
            Uncounted("", "KeyError: x"),
        ),
        ([], Uncounted("the collector exits is off", "the collector io is off")),
    ],
)
def test_what_nobody_counts(statuses: list[CollectorStatus], why: Uncounted) -> None:
    """By what became of its collector."""
    (one,) = activities(snapshot(vms=[vm("web")], statuses=statuses))
    assert one.uncounted == why


def test_accesses_do_not_stand_for_exits_that_nobody_counts() -> None:
    """They are no exits that KVM did not announce."""
    accesses = family(IO_EXITS, {("web", "rtc", "rtc", "emulated", "pio", "read", "kernel"): 7})
    (one,) = activities(snapshot(accesses, vms=[vm("web")], statuses=[status("io")]))
    assert (one.all_exits, one.is_least, one.total(activity.IO_EXITS)) == (0, False, 7)
    assert notes([one]) == ("exits are not counted: the collector exits is off",)


def test_exits_to_the_vmm_are_exits() -> None:
    """Of a guest that accesses nothing, too."""
    restarts = family(USERSPACE_EXITS, {("web", "restart"): 5})
    statuses = [status("exits"), status("io")]
    (one,) = activities(snapshot(restarts, vms=[vm("web")], statuses=statuses))
    assert (one.all_exits, one.is_least) == (5, True)


def test_between_two() -> None:
    """What moved, and in what time."""
    web = activities(everything(3, 102.5), everything())[0]
    assert web.seconds == 2.5
    assert web.all_exits == 200
    assert web.total(activity.USERSPACE) == 122


def test_a_device_says_its_driver_once() -> None:
    """In its name if that has it."""
    web = activities(everything())[0]
    assert [path.name for path in web.io] == ["net0 (e1000)", "rtc"]


def test_hottest() -> None:
    """Most first, then by name."""
    assert hottest({("b",): 1, ("a",): 1, ("c",): 2}) == [(("c",), 2), (("a",), 1), (("b",), 1)]
