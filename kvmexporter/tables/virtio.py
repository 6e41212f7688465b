# SPDX-License-Identifier: Apache-2.0
"""Virtio device types and feature bits by the names that QEMU gives them.

Source: virtio 1.3, sections 5 and 6; include/uapi/linux/virtio_*.h, Linux 6.12;
hw/virtio/virtio-qmp.c, QEMU 10.0. Names are the macros' without `VIRTIO_`.
"""

from collections.abc import Mapping
from typing import Final

TYPES: Final[Mapping[int, str]] = {
    1: "net", 2: "blk", 3: "console", 4: "rng", 5: "balloon", 7: "rpmsg", 8: "scsi", 9: "9p",
    16: "gpu", 17: "clock", 18: "input", 19: "vsock", 20: "crypto", 22: "pstore", 23: "iommu",
    24: "mem", 25: "sound", 26: "fs", 27: "pmem", 28: "rpmb", 32: "scmi", 34: "i2c", 35: "watchdog",
    36: "can", 40: "bluetooth", 41: "gpio",
}  # fmt: skip
"""Device id → type."""

RESERVED_FEATURES: Final[Mapping[int, str]] = {
    24: "F_NOTIFY_ON_EMPTY", 27: "F_ANY_LAYOUT", 28: "RING_F_INDIRECT_DESC",
    29: "RING_F_EVENT_IDX", 32: "F_VERSION_1", 33: "F_IOMMU_PLATFORM", 34: "F_RING_PACKED",
    35: "F_IN_ORDER", 36: "F_ORDER_PLATFORM", 37: "F_SR_IOV", 38: "F_NOTIFICATION_DATA",
    39: "F_NOTIF_CONFIG_DATA", 40: "F_RING_RESET", 41: "F_ADMIN_VQ",
}  # fmt: skip
"""Bit → feature of every device: queues and transport."""

DEVICE_FEATURES: Final[Mapping[str, Mapping[int, str]]] = {
    "net": {
        0: "NET_F_CSUM", 1: "NET_F_GUEST_CSUM", 2: "NET_F_CTRL_GUEST_OFFLOADS", 3: "NET_F_MTU",
        5: "NET_F_MAC", 6: "NET_F_GSO", 7: "NET_F_GUEST_TSO4", 8: "NET_F_GUEST_TSO6",
        9: "NET_F_GUEST_ECN", 10: "NET_F_GUEST_UFO", 11: "NET_F_HOST_TSO4",
        12: "NET_F_HOST_TSO6", 13: "NET_F_HOST_ECN", 14: "NET_F_HOST_UFO",
        15: "NET_F_MRG_RXBUF", 16: "NET_F_STATUS", 17: "NET_F_CTRL_VQ", 18: "NET_F_CTRL_RX",
        19: "NET_F_CTRL_VLAN", 20: "NET_F_CTRL_RX_EXTRA", 21: "NET_F_GUEST_ANNOUNCE",
        22: "NET_F_MQ", 23: "NET_F_CTRL_MAC_ADDR", 50: "NET_F_DEVICE_STATS",
        52: "NET_F_VQ_NOTF_COAL", 53: "NET_F_NOTF_COAL", 54: "NET_F_GUEST_USO4",
        55: "NET_F_GUEST_USO6", 56: "NET_F_HOST_USO", 57: "NET_F_HASH_REPORT",
        59: "NET_F_GUEST_HDRLEN", 60: "NET_F_RSS", 61: "NET_F_RSC_EXT", 62: "NET_F_STANDBY",
        63: "NET_F_SPEED_DUPLEX",
    },
    "blk": {
        0: "BLK_F_BARRIER", 1: "BLK_F_SIZE_MAX", 2: "BLK_F_SEG_MAX", 4: "BLK_F_GEOMETRY",
        5: "BLK_F_RO", 6: "BLK_F_BLK_SIZE", 7: "BLK_F_SCSI", 9: "BLK_F_FLUSH",
        10: "BLK_F_TOPOLOGY", 11: "BLK_F_CONFIG_WCE", 12: "BLK_F_MQ", 13: "BLK_F_DISCARD",
        14: "BLK_F_WRITE_ZEROES", 15: "BLK_F_LIFETIME", 16: "BLK_F_SECURE_ERASE",
        17: "BLK_F_ZONED",
    },
    "console": {
        0: "CONSOLE_F_SIZE", 1: "CONSOLE_F_MULTIPORT", 2: "CONSOLE_F_EMERG_WRITE",
    },
    "balloon": {
        0: "BALLOON_F_MUST_TELL_HOST", 1: "BALLOON_F_STATS_VQ", 2: "BALLOON_F_DEFLATE_ON_OOM",
        3: "BALLOON_F_FREE_PAGE_HINT", 4: "BALLOON_F_PAGE_POISON", 5: "BALLOON_F_REPORTING",
    },
    "scsi": {
        0: "SCSI_F_INOUT", 1: "SCSI_F_HOTPLUG", 2: "SCSI_F_CHANGE", 3: "SCSI_F_T10_PI",
    },
    "9p": {0: "9P_MOUNT_TAG"},
    "gpu": {
        0: "GPU_F_VIRGL", 1: "GPU_F_EDID", 2: "GPU_F_RESOURCE_UUID", 3: "GPU_F_RESOURCE_BLOB",
        4: "GPU_F_CONTEXT_INIT",
    },
    "vsock": {0: "VSOCK_F_STREAM", 1: "VSOCK_F_SEQPACKET"},
    "crypto": {
        0: "CRYPTO_F_REVISION_1", 1: "CRYPTO_F_CIPHER_STATELESS_MODE",
        2: "CRYPTO_F_HASH_STATELESS_MODE", 3: "CRYPTO_F_MAC_STATELESS_MODE",
        4: "CRYPTO_F_AEAD_STATELESS_MODE", 5: "CRYPTO_F_AKCIPHER_STATELESS_MODE",
    },
    "iommu": {
        0: "IOMMU_F_INPUT_RANGE", 1: "IOMMU_F_DOMAIN_RANGE", 2: "IOMMU_F_MAP_UNMAP",
        3: "IOMMU_F_BYPASS", 4: "IOMMU_F_PROBE", 5: "IOMMU_F_MMIO", 6: "IOMMU_F_BYPASS_CONFIG",
    },
    "mem": {0: "MEM_F_ACPI_PXM", 1: "MEM_F_UNPLUGGED_INACCESSIBLE", 2: "MEM_F_PERSISTENT_SUSPEND"},
    "sound": {0: "SND_F_CTLS"},
    "fs": {0: "FS_F_NOTIFICATION"},
}  # fmt: skip
"""Type → bit → feature of its own."""


def feature_names(kind: str, bits: int) -> tuple[str, ...]:
    """The names of features, sorted; `bit-N` where nobody has given one.

    Args:
        kind: one of `TYPES`, or anything else.
        bits: bit N is feature N.
    """
    own = DEVICE_FEATURES.get(kind, {})
    return tuple(
        sorted(
            own.get(bit) or RESERVED_FEATURES.get(bit) or f"bit-{bit}"
            for bit in range(bits.bit_length())
            if bits >> bit & 1
        )
    )
