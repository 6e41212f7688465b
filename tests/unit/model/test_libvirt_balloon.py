# SPDX-License-Identifier: Apache-2.0
"""Balloons as libvirt keeps them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kvmexporter.model.libvirt_balloon import libvirt_balloon
from kvmexporter.model.libvirt_domain import LibvirtDevice, LibvirtDomain, parse_status
from tests.unit.model import recorded

RECORDINGS = Path(recorded.__file__).with_name("recordings") / "libvirt"
MIB = 1 << 20
_OFF = {"deflate-on-oom": False, "free-page-hint": False, "free-page-reporting": False}


def domain(options: Mapping[str, str] = {}, **more: Any) -> LibvirtDomain:
    """256 MiB, of which the guest has 128."""
    device = LibvirtDevice("memballoon", "balloon0", "virtio", options=options, stats_period=7)
    whole: dict[str, Any] = {
        "memory_max_bytes": 256 * MIB, "current_memory_bytes": 128 * MIB, "devices": (device,),
    }  # fmt: skip
    return LibvirtDomain("web", "", 10, **(whole | more))


def test_sizes() -> None:
    """What the guest has is known, what it should have is not, nor what it says."""
    found = libvirt_balloon(domain())
    assert found is not None
    assert (found.actual_bytes, found.max_bytes, found.held_bytes) == (
        128 * MIB,
        256 * MIB,
        128 * MIB,
    )
    assert (found.target_bytes, found.gap_bytes) == (None, 0)
    assert (found.stats, found.stats_at, found.polling_seconds) == ({}, 0, 7)
    assert found.driven is None
    assert not found.asked


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, _OFF),
        ({"autodeflate": "on"}, _OFF | {"deflate-on-oom": True}),
        ({"freePageReporting": "on"}, _OFF | {"free-page-reporting": True}),
        ({"autodeflate": "off", "freePageReporting": "off"}, _OFF),
    ],
)
def test_features(options: Mapping[str, str], expected: Mapping[str, bool]) -> None:
    """What libvirt was not told QEMU has off."""
    found = libvirt_balloon(domain(options))
    assert found is not None
    assert found.offered == expected


@pytest.mark.parametrize(
    "without",
    [
        {"devices": ()},
        {"devices": (LibvirtDevice("memballoon", "balloon0", "none"),)},
        {"current_memory_bytes": None},
        {"memory_max_bytes": None},
    ],
)
def test_none(without: Mapping[str, Any]) -> None:
    """No balloon, or one of which nothing is told."""
    assert libvirt_balloon(domain(**without)) is None


def test_nobody_asks_the_guest() -> None:
    """Without a period."""
    device = LibvirtDevice("memballoon", "balloon0", "virtio")
    found = libvirt_balloon(domain(devices=(device,)))
    assert found is not None
    assert found.polling_seconds == 0


def test_a_real_domain() -> None:
    """As libvirt 9.0 wrote it of a guest at rest."""
    found = libvirt_balloon(parse_status((RECORDINGS / "system.xml").read_bytes()))
    assert found is not None
    assert found.actual_bytes == found.max_bytes == 192 * MIB
    assert found.device.path == "balloon0"
