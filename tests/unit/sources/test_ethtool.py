# SPDX-License-Identifier: Apache-2.0
"""Features of this machine's own NICs."""

import threading

from kvmexporter.sources.ethtool import active_features


def test_the_loopback_device() -> None:
    """It loops back, on every Linux; a NIC that is not there is left out."""
    found = active_features(["lo", "no-such-nic"])
    assert list(found) == ["lo"]
    assert {"loopback", "highdma"} <= found["lo"]


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
