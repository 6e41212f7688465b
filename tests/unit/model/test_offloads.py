# SPDX-License-Identifier: Apache-2.0
"""Offloads by ethtool's names."""

from kvmexporter.model.offloads import offloads


def test_groups() -> None:
    """One part that is on is enough; what the kernel does not list is off."""
    assert offloads({"tx-tcp6-segmentation", "rx-gro", "tx-checksum-ip-generic", "highdma"}) == {
        "tso": True, "gso": False, "gro": True, "tx-checksum": True, "rx-checksum": False,
    }  # fmt: skip
    assert not any(offloads(()).values())
