# SPDX-License-Identifier: Apache-2.0
"""Features of this machine's own NICs."""

import errno
import fcntl
import os
import threading

import pytest

from kvmexporter.errors import Unavailable
from kvmexporter.sources.ethtool import active_features


def test_the_loopback_device() -> None:
    """It loops back, on every Linux; a NIC that is not there is left out."""
    found = active_features(["lo", "no-such-nic"])
    assert list(found) == ["lo"]
    assert {"loopback", "highdma"} <= found["lo"]


def test_names_that_are_none() -> None:
    """What cannot be a NIC's name is left out, as one that is not there is."""
    assert list(active_features(["", "x" * 16, "lo\0", "lo", "no/such"])) == ["lo"]


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is said."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    with pytest.raises(Unavailable, match="ethtool's ioctl is not to be had"):
        active_features(["lo"])


def test_from_any_thread() -> None:
    """Scrapes come in threads of their own."""
    found: list[bool] = []
    for _ in range(3):
        ask = threading.Thread(
            target=lambda: found.append("loopback" in active_features(["lo"])["lo"])
        )
        ask.start()
        ask.join()
    assert found == [True] * 3
