# SPDX-License-Identifier: Apache-2.0
"""The words of `doctor`."""

import pytest

from kvmexporter.model.needs import PLATFORMS, Standing, at_most_degraded, platform, worst

OK, DEGRADED, MISSING = Standing


@pytest.mark.parametrize(
    ("standings", "expected"),
    [([], OK), ([OK, OK], OK), ([OK, DEGRADED], DEGRADED), ([MISSING, DEGRADED, OK], MISSING)],
)
def test_worst(standings: list[Standing], expected: Standing) -> None:
    """Of several; nothing is fine."""
    assert worst(standings) is expected


def test_what_one_can_do_without() -> None:
    """Never makes a collector missing."""
    assert [at_most_degraded(one) for one in Standing] == [OK, DEGRADED, DEGRADED]


@pytest.mark.parametrize(
    ("release", "has_pve", "is_container", "expected"),
    [
        ("ID=debian\n", False, False, "debian"),
        ("ID=debian\n", True, False, "proxmox"),
        ("ID=debian\n", True, True, "container"),
        ("NAME=x\nID=ubuntu\nID_LIKE=debian\n", False, False, "ubuntu"),
        ('ID="linuxmint"\nID_LIKE="ubuntu debian"\n', False, False, "ubuntu"),
        ("ID=fedora\n", False, False, "fedora"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', False, False, "fedora"),
        ("", False, False, "debian"),
    ],
)
def test_platform(release: str, has_pve: bool, is_container: bool, expected: str) -> None:
    """What confines most says most."""
    assert platform(release, has_pve, is_container) == expected
    assert expected in PLATFORMS
