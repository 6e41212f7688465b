# SPDX-License-Identifier: Apache-2.0
"""How NICs hang together, in a sysfs tree."""

from pathlib import Path

import pytest

from kvmexporter.sources.host_nics import HostNics
from kvmexporter.sources.taps import TapFlags

NAMES = ("tap0", "tap1", "tap2", "tap3", "macvtap0", "eth0", "nowhere", "../eth0")


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
    nics = HostNics(tmp_path)
    nics.look(1000.0, NAMES)
    return nics


@pytest.mark.parametrize(
    ("name", "bridge", "uplink"),
    [
        ("tap0", "br0", "eth0"),
        ("tap1", "br0", "eth0"),
        ("tap2", "br1", ""),
        ("macvtap0", "", "eth1"),
        ("tap3", "", ""),
        ("nowhere", "", ""),
        ("../eth0", "", ""),
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


def test_flags(nics: HostNics) -> None:
    """Of taps alone."""
    assert nics.flags("tap0") == TapFlags(vnet_hdr=True, multi_queue=False)
    assert nics.flags("eth0") is None


def test_few_are_looked_at_each_time(nics: HostNics, tmp_path: Path) -> None:
    """What changed is known at once: one is gone, one is another bridge's port, a port came."""
    net = tmp_path / "class/net"
    (net / "tap3/tun_flags").unlink()
    (net / "tap1/master").unlink()
    (net / "tap1/master").symlink_to("../br1")
    nic(tmp_path, "eth2", "br1")
    (net / "br1/lower_eth2").symlink_to("../eth2")
    nics.look(1000.5, NAMES)
    assert [nics.is_tap(name) for name in ("tap0", "tap3")] == [True, False]
    assert [(nics.bridge(name), nics.uplink(name)) for name in ("tap0", "tap1", "tap2")] == [
        ("br0", "eth0"), ("br1", "eth2"), ("br1", "eth2"),
    ]  # fmt: skip


def test_many_take_turns(tmp_path: Path) -> None:
    """Of those that are gone a part is known each time, all within a minute; new ones at once."""
    names = [f"tap{number}" for number in range(400)]
    nic(tmp_path, "br0", lower=("eth0", *names))
    nic(tmp_path, "eth0", "br0")
    for name in names:
        nic(tmp_path, name, "br0", tap=True)
    nics = HostNics(tmp_path)
    nics.look(1000.0, names)
    assert {nics.uplink(name) for name in names} == {"eth0"}
    for name in names:
        (tmp_path / "class/net" / name / "tun_flags").unlink()
        (tmp_path / "class/net" / name / "master").unlink()
    nic(tmp_path, "new", "br0", tap=True)
    told = []
    for now in (1015.0, 1030.0, 1045.0, 1060.0):
        nics.look(now, [*names, "new"])
        assert nics.is_tap("new")
        told.append(sum(map(nics.is_tap, names)))
        assert told[-1] == sum(nics.bridge(name) == "br0" for name in names)
    assert told[0] == 300
    assert told[1] < 300
    assert told[2] < told[1]
    assert told[3] == 0


def test_a_bridge_of_hundreds_of_ports(tmp_path: Path) -> None:
    """Its uplink is found behind all of them, and forgotten with it."""
    names = [f"tap{number}" for number in range(300)]
    nic(tmp_path, "br0", lower=(*names, "uplink", "uplink2"))
    for name in names:
        nic(tmp_path, name, "br0", tap=True)
    nics = HostNics(tmp_path)
    nics.look(1000.0, names)
    assert nics.uplink("tap7") == "uplink"
    (tmp_path / "class/net/br0/lower_uplink").unlink()
    nics.look(1015.0, names)
    assert {nics.uplink(name) for name in names} == {"uplink2"}
