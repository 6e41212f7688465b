# SPDX-License-Identifier: Apache-2.0
"""How VMs are built, as metrics and advice."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from kvmexporter.addressing import VmAddressing
from kvmexporter.collector import Cycle
from kvmexporter.collectors.posture import PostureCollector
from kvmexporter.errors import KvmExporterError
from kvmexporter.model.io import IoTarget
from kvmexporter.sources.host_nics import HostNics
from kvmexporter.sources.system import System
from kvmexporter.sources.taps import Taps
from tests.unit.host import Host

QEMU = "/usr/bin/qemu-system-x86_64"
TUN = "/dev/net/tun"

Series = dict[tuple[str, ...], object]


def collector(host: Host, tmp_path: Path) -> PostureCollector:
    host.system = System(taps=Taps(host.tree.root), nics=HostNics(tmp_path))
    return PostureCollector(host.sources())


def look(host: Host, one: PostureCollector) -> tuple[dict[str, Series], list[tuple[str, ...]]]:
    """Metric → labels → value; (VM, rule, subject) of the findings."""
    cycle = host.cycle()
    disk = IoTarget("disk0", "virtio-blk-pci", "virtio")
    cycle.addressing = {
        vm.id: VmAddressing((IoTarget("rtc", "rtc", "emulated"), disk), (), None, None, "")
        for vm in cycle.vms
    }
    sample = one.sample(cycle)
    series: dict[str, Series] = {
        family.metric.name: {given.labels: given.value for given in family.samples}
        for family in one.families(sample)
    }
    return series, [(told.vm, told.rule, told.subject) for told in one.findings(sample)]


def vm(host: Host, *arguments: str, name: str = "web", vcpus: int = 2) -> None:
    host.tree.process(10, [QEMU, "-name", name, *arguments], vcpus=vcpus)


DISK = ("-drive", "file=/a,if=none,id=root,cache=none,aio=native",
        "-device", "virtio-blk-pci,drive=root,id=disk0")  # fmt: skip
GOOD = (
    *("-cpu", "host", *DISK),
    *("-netdev", "tap,id=net0,ifname=tap0,vhost=on"),
    *("-device", "virtio-net-pci,netdev=net0,id=nic0"),
)


def test_a_vm_that_is_well_built(host: Host, tmp_path: Path) -> None:
    """A series a disk, a series a NIC, and nothing to say."""
    flags = tmp_path / "class/net/tap0/tun_flags"
    flags.parent.mkdir(parents=True)
    flags.write_text("0x5102\n")
    vm(host, *GOOD)
    series, told = look(host, collector(host, tmp_path))
    assert series == {
        "kvm_vm_disk_info": {("web", "disk0", "none", "native"): 1},
        "kvm_vm_nic_info": {("web", "nic0", "tap", "tap0", "on", "on"): 1},
    }
    assert told == []


def test_a_tap_that_was_handed_over(host: Host, tmp_path: Path) -> None:
    """Its name is that of the descriptor."""
    netdev = '{"type":"tap","fd":"30","vhost":true,"vhostfd":"31","id":"net0"}'
    vm(host, "-cpu", "host", "-netdev", netdev, "-device", "virtio-net-pci,netdev=net0,id=nic0")
    process = host.tree.root / "10"
    (process / "fd" / "30").symlink_to(TUN)
    (process / "fdinfo").mkdir()
    (process / "fdinfo" / "30").write_text("iff:\tvnet7\n")
    series, told = look(host, collector(host, tmp_path))
    assert series["kvm_vm_nic_info"] == {("web", "nic0", "tap", "vnet7", "", ""): 1}
    assert told == []


def test_a_tap_that_is_made_anew(host: Host, tmp_path: Path) -> None:
    """With few of them, the next sample knows, and of one that is gone, too."""
    flags = tmp_path / "class/net/tap0/tun_flags"
    flags.parent.mkdir(parents=True)
    flags.write_text("0x5102\n")
    vm(host, *GOOD)
    one = collector(host, tmp_path)
    told: list[tuple[str, ...]] = []
    for text in ("0x5102\n", "0x1002\n", ""):
        flags.write_text(text)
        host.monotonic.now += 1.0
        told += look(host, one)[0]["kvm_vm_nic_info"]
    assert [labels[-2:] for labels in told] == [("on", "on"), ("off", "off"), ("", "")]


def test_a_vm_that_is_badly_built(host: Host, tmp_path: Path) -> None:
    """Everything at once."""
    vm(
        host,
        *("-drive", "file=/a,if=ide,id=root,cache=unsafe"),
        *("-netdev", "tap,id=net0,ifname=tap0", "-netdev", "user,id=net1"),
        *("-device", "virtio-net-pci,netdev=net0,id=nic0,ioeventfd=off,vectors=0"),
        *("-device", "rtl8139,netdev=net1,id=lan0"),
        name="old",
        vcpus=4,
    )
    _, told = look(host, collector(host, tmp_path))
    assert told == [
        ("old", "cpu-model-baseline", "cpu"),
        ("old", "disk-emulated", "ide-hd"),
        ("old", "nic-without-vhost", "nic0"),
        ("old", "virtio-without-ioeventfd", "nic0"),
        ("old", "virtio-without-msix", "nic0"),
        ("old", "single-queue", "nic0"),
        ("old", "nic-emulated", "lan0"),
        ("old", "disk-cache-unsafe", "ide-hd"),
    ]


@pytest.mark.parametrize(
    ("seconds", "rtc", "disk", "expected"),
    [
        (2.0, 0, 0, []),
        (2.0, 19_999, 1_999, []),
        (2.0, 20_000, 0, [("web", "exit-storm", "rtc")]),
        (2.0, 0, 2_000, [("web", "disk-without-iothread", "disk0")]),
        (0.1, 1_000_000, 1_000_000, []),
    ],
)
def test_what_is_busy(
    seconds: float,
    rtc: int,
    disk: int,
    expected: Sequence[tuple[str, ...]],
    host: Host,
    tmp_path: Path,
) -> None:
    """Between two samples: exits to the VMM of one device; accesses to a disk, by whomever."""
    vm(host, *GOOD)
    # Slots of nine cells; 1: read through a port by the VMM, 6: written and kept by the kernel.
    host.vcpu(1001, 10, io={1: 500_000, 9 + 6: 500_000})
    one = collector(host, tmp_path)
    host.monotonic.now = 1000.0
    assert look(host, one)[1] == []
    host.monotonic.now += seconds
    host.vcpu(1001, 10, io={1: 500_000 + rtc, 9 + 6: 500_000 + disk})
    assert look(host, one)[1] == list(expected)


def test_counts_that_cannot_be_read_for_once(host: Host, tmp_path: Path) -> None:
    """What was counted all the time before is no storm when they can be read again."""
    vm(host, *GOOD)
    host.vcpu(1001, 10, io={1: 500_000_000})
    one = collector(host, tmp_path)
    for now in (1000.0, 1015.0, 1030.0, 1045.0, 1060.0):
        host.monotonic.now = now
        if now == 1030.0:
            with pytest.MonkeyPatch.context() as broken:
                broken.setattr(Cycle, "io", fails)
                assert look(host, one)[1] == []
        else:
            assert look(host, one)[1] == []


def fails(_: Cycle) -> object:
    raise KvmExporterError("BPF map vcpus: no memory")
