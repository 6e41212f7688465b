# SPDX-License-Identifier: Apache-2.0
"""The VMClock page."""

import pytest

from kvmexporter.model.vmclock import VmClock
from tests.unit.clock_tree import vmclock_page


def test_a_page() -> None:
    """Every field from its place in the kernel's header."""
    page = vmclock_page(6, 2**64 - 1, 1 << 5 | 1 << 6, 3, esterror_ns=41, maxerror_ns=97)
    assert VmClock.parse(page) == VmClock(
        sequence=6,
        disruption_marker=2**64 - 1,
        status="freerunning",
        counter="x86_tsc",
        time_type="tai",
        disruption_within_seconds=None,
        estimated_error_ns=41,
        max_error_ns=97,
    )


def test_errors_without_their_flags() -> None:
    """A value that the hypervisor does not vouch for is no value."""
    clock = VmClock.parse(vmclock_page(esterror_ns=41, maxerror_ns=97))
    assert (clock.estimated_error_ns, clock.max_error_ns) == (None, None)


@pytest.mark.parametrize(
    ("flags", "within"), [(0, None), (1 << 1, 86_400), (1 << 2, 3_600), (1 << 1 | 1 << 2, 3_600)]
)
def test_announced_disruptions(flags: int, within: int | None) -> None:
    """The nearer announcement holds."""
    assert VmClock.parse(vmclock_page(flags=flags)).disruption_within_seconds == within


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (0, "unknown"),
        (1, "initializing"),
        (2, "synchronized"),
        (3, "freerunning"),
        (4, "unreliable"),
        (200, "unknown:200"),
    ],
)
def test_status(status: int, name: str) -> None:
    """In the header's words; one that is new stays visible."""
    assert VmClock.parse(vmclock_page(status=status)).status == name


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"", "0 bytes are too few"),
        (vmclock_page()[:103], "103 bytes are too few"),
        (bytes(4096), "magic number is 0x0"),
        (b"\xff" * 4096, "magic number is 0xffffffff"),
        (vmclock_page(version=2), "version 2 is not known"),
        (vmclock_page(size=103), "size of 103 bytes"),
    ],
)
def test_what_is_no_such_page(page: bytes, message: str) -> None:
    """Refused, with what is wrong."""
    with pytest.raises(ValueError, match=message):
        VmClock.parse(page)


def test_the_shortest_page() -> None:
    """Version 1 was 104 bytes before fields were added at its end."""
    assert VmClock.parse(vmclock_page(size=104)[:104]).disruption_marker == 77
