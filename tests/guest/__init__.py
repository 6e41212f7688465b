# SPDX-License-Identifier: Apache-2.0
"""A bare-metal guest that causes exactly known numbers of KVM events."""

from tests.guest.machine import E1000, VIRTIO_BLK, VIRTIO_NET, BareMetalGuest, GuestError
from tests.guest.mailbox import Result
from tests.guest.monitor import MonitorError

__all__ = [
    "E1000",
    "VIRTIO_BLK",
    "VIRTIO_NET",
    "BareMetalGuest",
    "GuestError",
    "MonitorError",
    "Result",
]
