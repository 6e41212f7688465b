# SPDX-License-Identifier: Apache-2.0
"""Devices as metrics: of QEMUs that were recorded, and of ones made by hand."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.addressing import VmAddressing
from kvmexporter.collectors.devices import LEGACY_DRIVERS, DevicesCollector
from kvmexporter.model.devices import Kicks, Virtio, Window
from kvmexporter.model.io import IoTarget
from kvmexporter.model.libvirt_domain import parse_status
from kvmexporter.sources.qemu import QemuFacts
from tests.unit.host import EVERYTHING, Host
from tests.unit.model import recorded

QEMU = "/usr/bin/qemu-system-x86_64"
RECORDINGS = Path(recorded.__file__).with_name("recordings") / "libvirt"

Series = dict[tuple[str, ...], object]

# Bus, back end, queues, ioeventfd, MSI-X of what neither monitor nor command line describes.
UNKNOWN = ("",) * 5


def series(host: Host, facts: QemuFacts | None) -> dict[str, Series]:
    """Metric → labels → value, for a VM that has said this, everything asked for."""
    host.extras = EVERYTHING
    host.tree.process(10, [QEMU, "-name", "web"])
    cycle = host.cycle()
    cycle.addressing = {vm.id: VmAddressing((), (), facts, None, "") for vm in cycle.vms}
    collector = DevicesCollector(host.sources())
    return {
        family.metric.name.removeprefix("kvm_vm_"): {
            sample.labels: sample.value for sample in family.samples
        }
        for family in collector.families(collector.sample(cycle))
    }


def facts_of(release: str, configuration: str) -> QemuFacts:
    recording = recorded.load(release, configuration)
    posture = recording.posture()
    return QemuFacts(release, recording.windows(), recording.virtio(), posture=posture)


def virtio_window(
    device: str, driver: str, path: str = "virtio", first: int = 0, owner: str = ""
) -> Window:
    target = IoTarget(device, driver, path)
    return Window(
        "memory", first, first + 4095, target, moves=True, kicks=Kicks(device, 1, 4),
        owner=owner or f"/machine/peripheral/{device}",
    )  # fmt: skip


def test_features_take_a_flag(host: Host) -> None:
    """Without it, devices are told and nothing of their drivers."""
    host.tree.process(10, [QEMU, "-name", "web"])
    cycle = host.cycle()
    facts = facts_of("10.0", "pc")
    cycle.addressing = {vm.id: VmAddressing((), (), facts, None, "") for vm in cycle.vms}
    collector = DevicesCollector(host.sources())
    families = collector.families(collector.sample(cycle))
    told = {family.metric.name for family in families if family.samples}
    assert told == {"kvm_vm_device_info"}


def test_what_every_pc_has_takes_a_flag(host: Host) -> None:
    """Disks' controllers and what a VM was given are told without."""
    host.tree.process(10, [QEMU, "-name", "web"])
    cycle = host.cycle()
    facts = facts_of("10.0", "pc")
    cycle.addressing = {vm.id: VmAddressing((), (), facts, None, "") for vm in cycle.vms}
    told = {}
    for extras in ((), ("devices.legacy",)):
        host.extras = frozenset(extras)
        collector = DevicesCollector(host.sources())
        info, *_ = collector.families(collector.sample(cycle))
        told[extras] = {(sample.labels[1], sample.labels[2]) for sample in info.samples}
    more = told["devices.legacy",] - told[()]
    assert {"i8042", "mc146818rtc", "isa-serial"} <= {driver for _, driver in more}
    assert {driver for _, driver in more} <= LEGACY_DRIVERS
    assert "piix3-ide" in {driver for _, driver in told[()]}


def test_a_vm_that_has_not_answered(host: Host) -> None:
    """Nothing is known, nothing shown."""
    assert not any(series(host, None).values())


@pytest.mark.parametrize(("release", "configuration"), recorded.NAMES)
def test_every_recorded_vm(host: Host, release: str, configuration: str) -> None:
    """Each device once, none of the platform's; features and queues of devices that are there."""
    result = series(host, facts_of(release, configuration))
    names = Counter(labels[1] for labels in result["device_info"])
    assert names
    assert set(names.values()) == {1}
    paths = {labels[3] for labels in result["device_info"]}
    assert paths <= {"emulated", "virtio", "vhost", "passthrough"}
    shown = [
        labels[1] for metric in ("virtio_feature", "virtqueue_size") for labels in result[metric]
    ]
    assert set(shown) <= set(names)
    assert max(Counter(labels[1] for labels in result["virtio_feature"]).values(), default=0) <= 10
    assert sum(map(len, result.values())) <= 80


@pytest.mark.parametrize("release", [one for one in recorded.RELEASES if one != "11.1"])
def test_a_vhost_nic_that_is_driven(host: Host, release: str) -> None:
    """Its path is its doorbells'; the guest's driver made three queues of 8 entries."""
    result = series(host, facts_of(release, "pc-vhost"))
    info = {labels[:4]: labels[4:] for labels in result["device_info"]}
    assert info["web", "nic0", "virtio-net-pci", "vhost"] == ("pci", "vhost", "1", "on", "on")
    assert ("web", "nic0", "F_VERSION_1") in result["virtio_feature"]
    assert result["virtqueue_size"] == {("web", "nic0", str(queue)): 8 for queue in range(3)}


def test_a_device_that_nobody_drives(host: Host) -> None:
    """It is there; its queues have only the size that they would have."""
    result = series(host, facts_of("7.2", "q35"))
    assert "rng0" in {labels[1] for labels in result["device_info"]}
    assert "rng0" not in {labels[1] for labels in result["virtqueue_size"]}


def test_features_that_matter(host: Host) -> None:
    """Those on the list, where they were accepted; every other is left out."""
    windows = (virtio_window("nic0", "virtio-net-pci"), virtio_window("d", "virtio-blk-pci"))
    features = ("BLK_F_FLUSH", "F_ANY_LAYOUT", "F_VERSION_1", "NET_F_MQ", "RING_F_EVENT_IDX")
    virtio = (
        Virtio("/machine/peripheral/nic0", "virtio-net", 3, False, features, {0: 256, 2: 64, 3: 0}),
        Virtio("/machine/peripheral/d", "virtio-blk", 1, False, features, {0: 128}),
    )
    result = series(host, QemuFacts("10.0", windows, virtio))
    assert result["virtio_feature"] == {
        ("web", "nic0", "F_VERSION_1"): 1,
        ("web", "nic0", "RING_F_EVENT_IDX"): 1,
        ("web", "nic0", "NET_F_MQ"): 1,
        ("web", "d", "F_VERSION_1"): 1,
        ("web", "d", "RING_F_EVENT_IDX"): 1,
        ("web", "d", "BLK_F_FLUSH"): 1,
    }
    assert result["virtqueue_size"] == {
        ("web", "nic0", "0"): 256,
        ("web", "nic0", "2"): 64,
        ("web", "d", "0"): 128,
    }


def test_the_path_of_a_device_with_several_windows(host: Host) -> None:
    """That of its doorbells, in whichever order they come."""
    for paths in (("virtio", "vhost"), ("vhost", "virtio")):
        windows = tuple(
            virtio_window("nic0", "virtio-net-pci", path, first) for first, path in enumerate(paths)
        )
        assert series(host, QemuFacts("10.0", windows, ()))["device_info"] == {
            ("web", "nic0", "virtio-net-pci", "vhost", *UNKNOWN): 1
        }


def test_the_platform_is_no_device(host: Host) -> None:
    """Nor is the interrupt controller; hardware that is passed through is one."""
    windows = tuple(
        Window("memory", 0, 1, IoTarget(name, name, path))
        for name, path in (
            ("mch", "platform"),
            ("kvm-ioapic", "irqchip"),
            ("vfio-pci", "passthrough"),
        )
    )
    assert series(host, QemuFacts("10.0", windows, ()))["device_info"] == {
        ("web", "vfio-pci", "vfio-pci", "passthrough", *UNKNOWN): 1
    }


def test_devices_without_an_id(host: Host) -> None:
    """Each has its own state, however many of its type there are; one without a window none."""
    paths = [f"/machine/peripheral-anon/device[{number}]" for number in range(3)]
    windows = tuple(
        virtio_window(f"virtio-blk-pci@00:0{slot}.0", "virtio-blk-pci", owner=path)
        for slot, path in enumerate(paths[:2])
    )
    virtio = tuple(
        Virtio(path, "virtio-blk", 1, False, ("F_VERSION_1",), {0: size})
        for path, size in zip(paths, (16, 32, 64), strict=True)
    )
    assert series(host, QemuFacts("10.0", windows, virtio))["virtqueue_size"] == {
        ("web", "virtio-blk-pci@00:00.0", "0"): 16,
        ("web", "virtio-blk-pci@00:01.0", "0"): 32,
    }


def test_a_domain_that_nobody_may_ask(host: Host) -> None:
    """Its devices are libvirt's, by alias; what is plugged into none of its buses is left out."""
    domain = parse_status((RECORDINGS / "system.xml").read_bytes())
    host.tree.process(10, [QEMU, "-name", "rich"])
    cycle = host.cycle()
    cycle.vms = tuple(replace(vm, libvirt=domain) for vm in cycle.vms)
    host.extras = frozenset({"devices.legacy"})
    collector = DevicesCollector(host.sources())
    info, *rest = collector.families(collector.sample(cycle))
    assert {sample.labels[1:4] for sample in info.samples} == {
        ("balloon0", "virtio-balloon-pci", "virtio"),
        ("ide", "piix3-ide", "emulated"),
        ("net0", "virtio-net-pci", "vhost"),
        ("net1", "e1000", "emulated"),
        ("rng0", "virtio-rng-pci", "virtio"),
        ("serial0", "isa-serial", "emulated"),
        ("serial1", "isa-serial", "emulated"),
        ("ua-disk0", "virtio-blk-pci", "virtio"),
        ("ua-net0", "virtio-net-pci", "virtio"),
        ("virtio-disk1", "virtio-blk-pci", "virtio"),
        ("virtio-serial0", "virtio-serial-pci", "virtio"),
    }
    assert not any(family.samples for family in rest)


def test_a_vm_without_a_monitor(host: Host) -> None:
    """Its devices are those of its command line; the path is what they were built for."""
    host.tree.process(
        10,
        [QEMU, "-name", "web", "-netdev", "tap,id=n,ifname=tap0,vhost=on",
         "-device", "virtio-net-pci,netdev=n,id=nic0,vectors=0", "-hda", "/disk"],
    )  # fmt: skip
    collector = DevicesCollector(host.sources())
    info, *others = collector.families(collector.sample(host.cycle()))
    assert {sample.labels for sample in info.samples} == {
        ("web", "nic0", "virtio-net-pci", "vhost", "pci", "vhost", "1", "", "off"),
        ("web", "ide-hd", "ide-hd", "emulated", "ide", "qemu", "", "", ""),
    }
    assert not any(family.samples for family in others)
