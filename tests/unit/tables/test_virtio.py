# SPDX-License-Identifier: Apache-2.0
"""Names of virtio devices and features, against the kernel's headers and QEMU's own words."""

import re
from pathlib import Path

import pytest

from kvmexporter.tables.virtio import (
    DEVICE_FEATURES,
    RESERVED_FEATURES,
    TYPES,
    feature_names,
)
from tests.unit.model.recorded import RELEASES, load

HEADERS = Path("/usr/include/linux")
_DEFINE = re.compile(r"#define\s+VIRTIO_((?:\w+_)?F_\w+)\s+(\d+)\b")
# The kernel's newer name of the same bit.
_RENAMED = {"F_ACCESS_PLATFORM": "F_IOMMU_PLATFORM"}
_HEADERS = {
    "net": "net", "blk": "blk", "console": "console", "balloon": "balloon", "scsi": "scsi",
    "gpu": "gpu", "iommu": "iommu", "mem": "mem",
}  # fmt: skip


def defined(header: str) -> dict[str, int]:
    """Feature → bit of the kernel's header; header flags are other things."""
    text = (HEADERS / f"virtio_{header}.h").read_text()
    found = {name: int(bit) for name, bit in _DEFINE.findall(text)}
    return {
        _RENAMED.get(name, name): bit
        for name, bit in found.items()
        if not re.search(r"HDR_F|TRANSPORT_F", name)
    }


@pytest.mark.parametrize("kind", _HEADERS)
def test_device_features(kind: str) -> None:
    """Every feature that the installed header has is in the table, with its bit."""
    table = {name: bit for bit, name in DEVICE_FEATURES[kind].items()}
    wanted = defined(_HEADERS[kind])
    assert wanted
    assert wanted.items() <= table.items()


def test_reserved_features() -> None:
    """The same for those of every device."""
    table = {name: bit for bit, name in RESERVED_FEATURES.items()}
    wanted = defined("config") | defined("ring")
    assert len(wanted) >= 8
    assert wanted.items() <= table.items()


def test_types() -> None:
    """Ids of the kernel's header, where both have a name."""
    text = (HEADERS / "virtio_ids.h").read_text()
    ids = {name: int(number) for name, number in re.findall(r"VIRTIO_ID_(\w+)\s+(\d+)", text)}
    for name in ("NET", "CONSOLE", "RNG", "BALLOON", "SCSI", "9P", "GPU", "INPUT", "VSOCK",
                 "CRYPTO", "IOMMU", "MEM", "SOUND", "FS", "PMEM"):  # fmt: skip
        assert TYPES[ids[name]] == name.lower()
    assert TYPES[ids["BLOCK"]] == "blk"


@pytest.mark.parametrize("release", [one for one in RELEASES if one != "11.1"])
def test_qemu_s_names(release: str) -> None:
    """What recorded QEMUs call a device's features is what the table does."""
    known = set(RESERVED_FEATURES.values())
    for features in DEVICE_FEATURES.values():
        known |= set(features.values())
    recording = load(release, "pc")
    for device in recording.value("x-query-virtio"):
        host = recording.value("x-query-virtio-status", path=device["path"])["host-features"]
        for line in (*host["transports"], *host["dev-features"]):
            name = line.partition(":")[0].removeprefix("VIRTIO_")
            # Of vhost's own, and of QEMU's migration: no guest sees them.
            if not name.startswith(("VHOST_", "NET_F_VIRTIO_NET_HDR")):
                assert name in known, (device["name"], name)


def test_names() -> None:
    """By type and bit; what nobody has named keeps its number."""
    assert feature_names("net", 1 << 0 | 1 << 32 | 1 << 4) == (
        "F_VERSION_1", "NET_F_CSUM", "bit-4",
    )  # fmt: skip
    assert feature_names("blk", 1 << 12) == ("BLK_F_MQ",)
    assert feature_names("rng", 1 << 29) == ("RING_F_EVENT_IDX",)
    assert feature_names("type-99", 1) == ("bit-0",)
    assert feature_names("net", 0) == ()
