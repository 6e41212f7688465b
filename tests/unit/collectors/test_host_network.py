# SPDX-License-Identifier: Apache-2.0
"""Offloads of NICs: this machine's own loopback device, among taps and bridges of files."""

from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.addressing import VmAddressing
from kvmexporter.collectors.host_network import HostNetworkCollector, HostNetworkSample
from kvmexporter.errors import Unavailable
from kvmexporter.model.devices import Virtio
from kvmexporter.sources.host_nics import HostNics
from kvmexporter.sources.qemu import QemuFacts
from kvmexporter.sources.system import System
from kvmexporter.sources.taps import Taps
from tests.unit.host import Host

QEMU = "/usr/bin/qemu-system-x86_64"


def collector(host: Host, tmp_path: Path) -> HostNetworkCollector:
    host.system = System(taps=Taps(host.tree.root), nics=HostNics(tmp_path))
    return HostNetworkCollector(host.sources())


def test_no_taps(host: Host, tmp_path: Path) -> None:
    """Nothing to look at; one that a command line names is none if the kernel has none."""
    host.tree.process(10, [QEMU, "-name", "web", "-netdev", "tap,id=n,ifname=tap0",
                           "-device", "virtio-net-pci,netdev=n"])  # fmt: skip
    with pytest.raises(Unavailable, match="no VM has a tap"):
        collector(host, tmp_path).sample(host.cycle())


def test_the_way_of_a_packet(host: Host, tmp_path: Path) -> None:
    """Tap, bridge, uplink; of those that are there, the kernel says which offloads are on."""
    net = tmp_path / "class/net"
    for name in ("lo", "br0", "up0"):
        (net / name).mkdir(parents=True)
    # The loopback device plays the tap: the kernel knows it on every machine.
    (net / "lo" / "tun_flags").write_text("0x5002\n")
    (net / "lo" / "master").symlink_to("../br0")
    (net / "br0" / "lower_lo").symlink_to("../lo")
    (net / "br0" / "lower_up0").symlink_to("../up0")
    host.tree.process(10, [QEMU, "-name", "web", "-netdev", "tap,id=n,ifname=lo",
                           "-device", "virtio-net-pci,netdev=n"])  # fmt: skip
    one = collector(host, tmp_path)
    sample = one.sample(host.cycle())
    assert sample.roles == {"lo": "tap", "br0": "bridge", "up0": "uplink"}
    assert (sample.vm_of, sample.uplinks) == ({"lo": "web"}, {"lo": "up0"})
    assert list(sample.nics) == ["lo"]
    (family,) = one.families(sample)
    assert {given.labels for given in family.samples} == {
        ("lo", "tap", offload) for offload in ("tso", "gso", "gro", "tx-checksum", "rx-checksum")
    }
    assert list(one.findings(sample)) == []


def test_many_nics_take_turns(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample asks for some of them; whoever is gone is forgotten."""
    monkeypatch.setattr("kvmexporter.collectors.host_network._MAX_ASKED", 16)
    net = tmp_path / "class/net"
    for number in range(40):
        (net / f"gone{number}").mkdir(parents=True)
        (net / f"gone{number}" / "tun_flags").write_text("0x2\n")
        netdev = f"tap,id=n,ifname=gone{number}"
        host.tree.process(10 + number, [QEMU, "-netdev", netdev, "-device", "e1000,netdev=n"])
    (net / "lo").mkdir()
    (net / "lo" / "tun_flags").write_text("0x2\n")
    host.tree.process(100, [QEMU, "-netdev", "tap,id=n,ifname=lo", "-device", "e1000,netdev=n"],
                      start_ticks=2000)  # fmt: skip
    one = collector(host, tmp_path)
    assert one.sample(host.cycle()).nics == {}
    assert one.sample(host.cycle()).nics == {}
    for _ in range(3):
        assert list(one.sample(host.cycle()).nics) == ["lo"]
    host.tree.end(100)
    assert one.sample(host.cycle()).nics == {}


def test_taps_that_come_and_go(host: Host, tmp_path: Path) -> None:
    """Of many, one that is gone is told for a minute at most, and a new VM's at once."""
    net = tmp_path / "class/net"

    def start(number: int) -> None:
        (net / f"gone{number}").mkdir(parents=True)
        (net / f"gone{number}" / "tun_flags").write_text("0x2\n")
        netdev = f"tap,id=n,ifname=gone{number}"
        host.tree.process(10 + number, [QEMU, "-netdev", netdev, "-device", "e1000,netdev=n"])

    for number in range(100):
        start(number)
    one = collector(host, tmp_path)
    told = [set(one.sample(host.cycle()).roles)]
    assert told == [{f"gone{number}" for number in range(100)}]
    for number in range(50):
        (net / f"gone{number}" / "tun_flags").unlink()
    start(100)
    for _ in range(4):
        host.monotonic.now += 15.0
        told.append(set(one.sample(host.cycle()).roles))
    assert all("gone100" in roles for roles in told[1:])
    assert [len(roles) for roles in told] == sorted(map(len, told), reverse=True)
    assert told[-1] == {f"gone{number}" for number in range(50, 101)}


def test_advice() -> None:
    """By the rule on offloads that differ."""
    nics = {"tap0": {"tso": False}, "eth0": {"tso": True}}
    sample = HostNetworkSample({}, {"tap0": "web"}, {"tap0": "eth0"}, nics)
    collector_class = HostNetworkCollector.__new__(HostNetworkCollector)
    (finding,) = collector_class.findings(sample)
    assert (finding.rule, finding.vm) == ("tap-offloads-differ", "web")
    assert list(collector_class.findings(replace(sample, idle=frozenset({"tap0"})))) == []


@pytest.mark.parametrize(
    ("driver", "features", "idle"),
    [
        ("virtio-net-pci", None, set()),
        ("virtio-net-pci", ("F_VERSION_1",), set()),
        ("virtio-net-pci", (), {"lo"}),
        ("e1000", None, {"lo"}),
    ],
)
def test_what_nobody_drives(
    driver: str, features: tuple[str, ...] | None, idle: set[str], host: Host, tmp_path: Path
) -> None:
    """Before a guest's driver has said what it takes, a tap's offloads are off: no advice."""
    (tmp_path / "class/net/lo").mkdir(parents=True)
    (tmp_path / "class/net/lo/tun_flags").write_text("0x5002\n")
    host.tree.process(10, [QEMU, "-name", "web", "-netdev", "tap,id=n,ifname=lo",
                           "-device", f"{driver},netdev=n,id=nic0"])  # fmt: skip
    one = collector(host, tmp_path)
    cycle = host.cycle()
    virtio = () if features is None else (
        Virtio("/machine/peripheral/nic0", "virtio-net", 3, False, features),
    )  # fmt: skip
    facts = QemuFacts("10.0", (), virtio)
    cycle.addressing = {vm.id: VmAddressing((), (), facts, None, "") for vm in cycle.vms}
    assert one.sample(cycle).idle == idle
