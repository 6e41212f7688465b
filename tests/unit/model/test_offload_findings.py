# SPDX-License-Identifier: Apache-2.0
"""Advice on offloads: when it is given, and when it is not."""

from collections.abc import Mapping

import pytest

from kvmexporter.model.offload_findings import differing

ON = {"tso": True, "gso": True, "gro": True, "tx-checksum": True, "rx-checksum": True}


@pytest.mark.parametrize(
    ("tap", "uplink", "seen"),
    [
        (ON, ON, None),
        (ON | {"gro": False, "rx-checksum": False}, ON, None),
        (ON | {"tso": False}, ON, "tso is off at tap0, on at eth0"),
        (ON, ON | {"gso": False}, "gso is on at tap0, off at eth0"),
        (
            ON | {"tso": False, "tx-checksum": False},
            ON,
            "tso is off at tap0, on at eth0; tx-checksum is off at tap0, on at eth0",
        ),
        ({}, ON, None),
        (ON, {}, None),
        (ON, None, None),
        (None, ON, None),
    ],
)
def test_differing(
    tap: Mapping[str, bool] | None, uplink: Mapping[str, bool] | None, seen: str | None
) -> None:
    """Of segmentation and transmitted checksums, where both are known."""
    nics = {name: one for name, one in (("tap0", tap), ("eth0", uplink)) if one is not None}
    found = list(differing({"tap0": "web", "tap1": "db"}, {"tap0": "eth0"}, nics))
    assert [one.seen for one in found] == ([seen] if seen else [])
    for one in found:
        told = (one.rule, one.severity.value, one.vm, one.subject)
        assert told == ("tap-offloads-differ", "warning", "web", "tap0")
