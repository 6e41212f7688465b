# SPDX-License-Identifier: Apache-2.0
"""The offloads of a host's NIC, by the names that ethtool(8) groups them under."""

from collections.abc import Collection, Mapping

NicOffloads = Mapping[str, bool]
"""Offload → whether it is on; those that a NIC does not know are left out."""

# net/ethtool/common.c, netdev_features_strings; which belong together: ethtool(8), -K.
_PARTS = {
    "tso": ("tx-tcp-segmentation", "tx-tcp6-segmentation"),
    "gso": ("tx-generic-segmentation",),
    "gro": ("rx-gro",),
    "tx-checksum": (
        "tx-checksum-ipv4", "tx-checksum-ip-generic", "tx-checksum-ipv6",
    ),
    "rx-checksum": ("rx-checksum",),
}  # fmt: skip


def offloads(active: Collection[str]) -> NicOffloads:
    """The groups of which at least one part is on.

    Args:
        active: names of the kernel's features that are on.
    """
    return {name: any(part in active for part in parts) for name, parts in _PARTS.items()}
