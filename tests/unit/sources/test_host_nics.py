# SPDX-License-Identifier: Apache-2.0
"""How NICs hang together, in a sysfs tree."""

from pathlib import Path

import pytest

from kvmexporter.sources.host_nics import HostNics


def nic(
    sysfs: Path, name: str, master: str = "", lower: tuple[str, ...] = (), tap: bool = False
) -> None:
    place = sysfs / "class/net" / name
    place.mkdir(parents=True)
    if master:
        (place / "master").symlink_to(f"../{master}")
    for one in lower:
        (place / f"lower_{one}").symlink_to(f"../{one}")
    if tap:
        (place / "tun_flags").write_text("0x5002\n")


@pytest.fixture
def nics(tmp_path: Path) -> HostNics:
    """A bridge with two taps and an uplink, one without an uplink, a macvtap, a lone tap."""
    nic(tmp_path, "br0", lower=("tap0", "tap1", "eth0"))
    nic(tmp_path, "tap0", "br0", tap=True)
    nic(tmp_path, "tap1", "br0", tap=True)
    nic(tmp_path, "eth0", "br0")
    nic(tmp_path, "br1", lower=("tap2",))
    nic(tmp_path, "tap2", "br1", tap=True)
    nic(tmp_path, "macvtap0", lower=("eth1",))
    nic(tmp_path, "eth1")
    nic(tmp_path, "tap3", tap=True)
    return HostNics(tmp_path)


@pytest.mark.parametrize(
    ("name", "bridge", "uplink"),
    [
        ("tap0", "br0", "eth0"),
        ("tap1", "br0", "eth0"),
        ("tap2", "br1", ""),
        ("macvtap0", "", "eth1"),
        ("tap3", "", ""),
        ("nowhere", "", ""),
    ],
)
def test_the_way_out(nics: HostNics, name: str, bridge: str, uplink: str) -> None:
    """Through the bridge, to the first port that is no tap."""
    assert (nics.bridge(name), nics.uplink(name)) == (bridge, uplink)


def test_taps(nics: HostNics) -> None:
    """By what the kernel says of them, not by name."""
    assert [nics.is_tap(name) for name in ("tap0", "eth0", "macvtap0", "nowhere")] == [
        True, False, False, False,
    ]  # fmt: skip
