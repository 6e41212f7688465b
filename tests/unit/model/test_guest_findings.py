# SPDX-License-Identifier: Apache-2.0
"""Advice inside a guest: each rule where it should fire, and where it should not."""

from collections.abc import Iterable

import pytest

from kvmexporter.model import guest_findings
from kvmexporter.model.findings import Finding
from kvmexporter.model.guest_devices import GuestVirtio
from kvmexporter.model.guest_memory import GuestMemory, Pressure


def device(
    kind: str = "net", driver: str = "virtio_net", transport: str = "pci", interrupts: str = "msix"
) -> GuestVirtio:
    return GuestVirtio("virtio0", kind, driver, transport, "0000:00:03.0", interrupts, True, ())


def rules(found: Iterable[Finding]) -> list[str]:
    return [one.rule for one in found]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (device(), []),
        (device(driver=""), ["guest-virtio-without-driver"]),
        (device("balloon", ""), ["guest-virtio-without-driver"]),
        (device(interrupts="intx"), ["guest-virtio-no-msix"]),
        (device("blk", "virtio_blk", interrupts="intx"), ["guest-virtio-no-msix"]),
        # A balloon interrupts when it is moved, and never else.
        (device("balloon", "virtio_balloon", interrupts="intx"), []),
        (device(transport="platform", interrupts="intx"), []),
        (device(interrupts=""), []),
    ],
)
def test_devices(found: GuestVirtio, expected: list[str]) -> None:
    """One that nobody drives, and busy ones on a wire."""
    assert rules(guest_findings.devices([found])) == expected


def memory(waited: float = 0.0, held: int = 5, small: int = 0) -> GuestMemory:
    """A guest with 64 MiB free, of which `small` pages are in small pieces."""
    return GuestMemory(
        {"balloon_inflate": 7 + held, "balloon_deflate": 7},
        Pressure({"some": 1}, {"some": waited}),
        16384,
        16384 - small,
        4096,
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (memory(), []),
        (memory(waited=0.1), ["guest-memory-pressure"]),
        (memory(waited=0.09), []),
        (memory(waited=0.5, held=0), []),
        (memory(small=14746), ["guest-memory-fragmented"]),
        (memory(small=14745), []),
        (GuestMemory({}, None, 16383, 0, 4096), []),
        (GuestMemory({}, None, 0, 0, 4096), []),
    ],
)
def test_memory(found: GuestMemory, expected: list[str]) -> None:
    """Waiting while the balloon holds some, and free memory of no use for huge pages."""
    assert rules(guest_findings.memory(found)) == expected
