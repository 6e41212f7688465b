# SPDX-License-Identifier: Apache-2.0
"""Every address of recorded VMs belongs to the right device, and to no other."""

import itertools
import time
from typing import Any

import pytest

from kvmexporter.model.devices import (
    MAX_PCI_DEVICES,
    Kicks,
    PciDevice,
    Virtio,
    Window,
    child_types,
    device_names,
    pci_devices,
    virtio_device,
    windows,
)
from kvmexporter.model.io import IoTarget
from kvmexporter.model.mtree import MAX_REGIONS, Region
from kvmexporter.model.vm import MAX_NAME_LENGTH
from tests.unit.model.recorded import NAMES, RELEASES, at, load
from tests.unit.model.recorded_devices import FUNCTIONS, GAPS, LEGACY


def named(target: IoTarget) -> tuple[str, str, str]:
    return target.device, target.driver, target.path


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_fixed_addresses(release: str, configuration: str) -> None:
    """Each port and page of the platform is its device's, whatever QEMU is asked."""
    found = load(release, configuration).windows()
    for (space, address), expected in LEGACY[configuration].items():
        window = at(found, space, address)
        assert window, f"nobody at {space} {address:x}"
        assert named(window.target) == expected, f"{space} {address:x}"
        assert not window.moves or configuration.startswith("q35"), f"{space} {address:x}"


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_bars(release: str, configuration: str) -> None:
    """All that answers within a function's BARs is that function's, and is void once it moves."""
    recording = load(release, configuration)
    expected = FUNCTIONS[configuration]
    seen: set[str] = set()
    for window in recording.windows():
        holders = {
            function.address
            for function in recording.pci()
            for space, first, last in function.bars
            if space == window.space and first <= window.first and window.last <= last
        }
        assert window.moves == bool(holders)
        for address in holders:
            device, driver, path = named(window.target)
            if window.kicks and configuration == "pc-vhost":
                path = "virtio"
            assert (device, driver, path) == expected[address]
        seen |= holders
    assert seen == set(expected)


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_no_address_is_of_two(release: str, configuration: str) -> None:
    """No two windows overlap."""
    for space in ("port", "memory"):
        found = sorted(
            (window.first, window.last)
            for window in load(release, configuration).windows()
            if window.space == space
        )
        assert found
        for (_, last), (first, _) in itertools.pairwise(found):
            assert last < first


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("configuration", GAPS)
def test_gaps_are_nobodys(release: str, configuration: str) -> None:
    """The container `io` answers there, which is no device."""
    found = load(release, configuration).windows()
    assert {at(found, "port", port) for port in GAPS[configuration]} == {None}


@pytest.mark.parametrize("release", RELEASES)
def test_bars_without_an_address_are_nowhere(release: str) -> None:
    """Before the firmware has run no function has a window."""
    recording = load(release, "pc-unmapped")
    assert not any(window.moves for window in recording.windows())
    assert not any(window.kicks for window in recording.windows())
    ide = at(recording.windows(), "port", 0x1F0)
    assert ide
    assert ide.target.path == "emulated"


def kicks(release: str, configuration: str) -> dict[str, Window]:
    """Device → its doorbell window in memory."""
    return {
        window.kicks.device: window
        for window in load(release, configuration).windows()
        if window.kicks and window.space == "memory"
    }


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("configuration", ["pc", "q35", "pc-vhost", "q35-vhost-user"])
def test_doorbells(release: str, configuration: str) -> None:
    """Each virtio device on PCI has one window of them, after its configuration."""
    found = kicks(release, configuration)
    devices = {
        target[0]
        for target in FUNCTIONS[configuration].values()
        if target[1].startswith(("virtio-", "vhost-"))
    }
    assert set(found) == devices
    common = [one for one in load(release, configuration).windows() if one.virtio_common]
    assert {one.target.device for one in common} == devices
    for window in common:
        doorbells = found[window.target.device]
        assert doorbells.first == window.first + 0x3000
        assert doorbells.starts
        assert not window.starts


@pytest.mark.parametrize("release", RELEASES)
def test_a_page_per_queue(release: str) -> None:
    """page-per-vq=on spreads the doorbells; the other devices have theirs in one page."""
    found = kicks(release, "q35")
    assert found["disk0"].kicks == Kicks("disk0", 2, 4096)
    assert found["disk1"].kicks == Kicks("disk1", 2, 4)
    assert found["nic0"].kicks == Kicks("nic0", 3, 4)


@pytest.mark.parametrize("release", RELEASES)
def test_doorbells_of_old(release: str) -> None:
    """A transitional device has one more, a port for all queues; its status is beside it."""
    found = load(release, "pc-vhost").windows()
    (doorbell,) = (one for one in found if one.kicks and one.space == "port")
    assert doorbell.kicks == Kicks("nic0", 0, 4)
    assert doorbell.last - doorbell.first == 1
    status = at(found, "port", doorbell.first + 2)
    assert status
    assert status.virtio_status
    assert (status.first, status.last) == (doorbell.last + 1, doorbell.last + 1)
    for port in (doorbell.first - 0x10, doorbell.first - 1, status.last + 1):
        rest = at(found, "port", port)
        assert rest
        assert rest.target.device == "nic0"
        assert rest.kicks is None
        assert not rest.virtio_status


@pytest.mark.parametrize("release", RELEASES)
def test_doorbells_without_pci(release: str) -> None:
    """A virtio-mmio device has one register for all queues; a transport that is empty has none."""
    found = load(release, "microvm").windows()
    bells = {one.kicks.device: one for one in found if one.kicks}
    assert bells["disk0"].first == 0xFEB02E50
    assert bells["disk0"].last == 0xFEB02E5F
    assert bells["disk0"].kicks == Kicks("disk0", 0, 4)
    assert len(bells) == 6
    status = [one for one in found if one.virtio_status]
    assert {one.first - bells[one.target.device].first for one in status} == {0x20}


def test_a_name_before_the_firmware_has_run() -> None:
    """The one that it has afterwards: QEMU tells where it is before it has an address."""
    recording = load("7.2", "pc-unmapped")
    (vga,) = (path for path, driver in recording.types().items() if driver == "VGA")
    found = windows(recording.regions(), recording.pci(), recording.types(), (), {vga: "00:02.0"})
    window = at(found, "port", 0x3C0)
    assert window
    assert window.target.device == FUNCTIONS["pc"]["00:02.0"][0]


@pytest.mark.parametrize("release", RELEASES)
def test_vhost_has_the_doorbells_alone(release: str) -> None:
    """The VMM still answers for the rest of the device."""
    found = load(release, "pc-vhost").windows()
    assert {one.target.path for one in found if one.kicks} == {"vhost"}
    rest = {one.target.path for one in found if one.target.device == "nic0" and not one.kicks}
    assert rest == {"virtio"}
    assert {one.target.path for one in load(release, "pc").windows() if one.kicks} == {"virtio"}


@pytest.mark.parametrize("release", RELEASES)
def test_pci_configuration_in_memory(release: str) -> None:
    """One window of q35 is, none of the others."""
    (window,) = [one for one in load(release, "q35").windows() if one.pci_config]
    assert (window.first, window.last) == (0xB0000000, 0xBFFFFFFF)
    assert not any(one.pci_config for one in load(release, "pc").windows())


def _region(name: str = "x", owner: str = "", first: int = 0, last: int = 0) -> Region:
    return Region("port", first, last, name, 0, owner)


def test_a_part_of_a_device_is_that_device() -> None:
    """A user's id is not lengthened by the names of its parts."""
    types = {"/machine/peripheral/usb": "qemu-xhci", "/machine/peripheral/usb/core": "base-xhci"}
    (window,) = windows([_region(owner="/machine/peripheral/usb/core")], (), types, ())
    assert named(window.target) == ("usb", "qemu-xhci", "emulated")


def test_a_ports_list_of_the_container_is_not_the_containers() -> None:
    """Neither `container` nor the machine is a device."""
    types = {"/machine/unattached": "container", "/machine": "pc-machine"}
    regions = [_region(owner=owner) for owner in types]
    assert windows(regions, (), types, ()) == ()


def test_two_ide_controllers() -> None:
    """Nobody can say which of them has the legacy ports."""
    types = {"/machine/peripheral/a": "piix3-ide", "/machine/peripheral/b": "piix3-ide"}
    (window,) = windows([_region("ide")], (), types, ())
    assert named(window.target) == ("ide", "ide", "emulated")


@pytest.mark.parametrize(
    ("driver", "path"),
    [
        ("vfio-pci", "passthrough"),
        ("vfio-pci-nohotplug", "passthrough"),
        ("vhost-vsock-pci", "vhost"),
        ("virtio-gpu-pci", "virtio"),
        ("kvm-apic", "irqchip"),
        ("e1000", "emulated"),
        ("", "emulated"),
    ],
)
def test_paths(driver: str, path: str) -> None:
    """By the driver's name."""
    (window,) = windows([_region(owner="/machine/q")], (), {"/machine/q": driver}, ())
    assert window.target.path == path


def test_names_without_an_id() -> None:
    """Told apart by address where there is more than one, and only there."""
    types = {"/machine/a": "isa-serial", "/machine/b": "isa-serial", "/machine/c": "isa-fdc"}
    addresses = {"/machine/a": "3f8", "/machine/b": "2f8", "/machine/c": "3f0"}
    assert device_names(types, types, addresses) == {
        "/machine/a": "isa-serial@3f8",
        "/machine/b": "isa-serial@2f8",
        "/machine/c": "isa-fdc",
    }


def test_a_tenants_id_is_bounded() -> None:
    """Control characters and length do not get out."""
    path = "/machine/peripheral/" + "\n\x1b<b>\"'" + "i" * 10_000
    (window,) = windows([_region(owner=path)], (), {path: "e1000"}, ())
    assert len(window.target.device) == MAX_NAME_LENGTH
    assert window.target.device.isprintable()


def _function(**changed: Any) -> dict[str, Any]:
    return {"bus": 0, "slot": 3, "function": 1, "qdev_id": "x", "regions": []} | changed


def test_pci_functions() -> None:
    """Those behind bridges too; BARs without an address or size are none."""
    bars = [
        {"type": "io", "address": 0xC000, "size": 32},
        {"type": "memory", "address": 0xFE000000, "size": 4096},
        {"type": "memory", "address": -1, "size": 4096},
        {"type": "memory", "address": 0x1000, "size": 0},
    ]
    behind = _function(bus=26, slot=31, qdev_id="", regions=bars)
    reply = [{"devices": [_function(pci_bridge={"devices": [behind]}), _function(slot=1)]}]
    assert pci_devices(reply) == (
        PciDevice("00:01.1", "x", ()),
        PciDevice("00:03.1", "x", ()),
        PciDevice(
            "1a:1f.1", "", (("port", 0xC000, 0xC01F), ("memory", 0xFE000000, 0xFE000FFF)), True
        ),
    )


def test_pci_functions_are_bounded() -> None:
    """In number, and in BARs."""
    bar = {"type": "io", "address": 0, "size": 1}
    reply = [{"devices": [_function(regions=[bar] * 1000)] * 5000}]
    found = pci_devices(reply)
    assert len(found) == MAX_PCI_DEVICES
    assert {len(one.bars) for one in found} == {7}


@pytest.mark.parametrize(
    ("path", "entry", "expected"),
    [
        ("/machine", {"name": "a", "type": "child<e1000>"}, {"/machine/a": "e1000"}),
        ("/machine", {"name": "a", "type": "link<e1000>"}, {}),
        ("/machine", {"name": "a", "type": "bool"}, {}),
        ("/machine", {"name": "a"}, {}),
        ("/machine", {"name": "a", "type": "child<"}, {}),
    ],
)
def test_children(path: str, entry: dict[str, str], expected: dict[str, str]) -> None:
    """Only what is part of an object has a type there."""
    assert child_types(path, [entry]) == expected


def test_a_virtio_device_is_bounded() -> None:
    """Queues, features, their names and sizes."""
    features = {"transports": ["VIRTIO_F_X: text", "y" * 1000], "dev-features": ["z"] * 100_000}
    status = {"name": "n" * 1000, "num-vqs": 1 << 70, "guest-features": features}
    found = virtio_device("/machine/peripheral/a/virtio-backend", status, {0: 1 << 70, 1: -5})
    assert found.path == "/machine/peripheral/a"
    assert found.queues == 1024
    assert len(found.name) == MAX_NAME_LENGTH
    assert found.features[0] == "F_X"
    assert len(found.features) <= 128
    assert found.queue_sizes == {0: 65536, 1: 0}
    assert virtio_device("/a", {"num-vqs": -1}, {}) == Virtio("/a", "", 0, False)


def test_a_virtio_device_that_tells_nothing() -> None:
    """It may have more queues than are counted apart."""
    region = Region(
        "memory", 0xFE003000, 0xFE003FFF, "virtio-pci-notify-x", 0, "/machine/peripheral/a"
    )
    (window,) = windows([region], (), {"/machine/peripheral/a": "virtio-net-pci"}, ())
    assert window.kicks == Kicks("a", 4, 4, more=True)


def test_hostile_sizes_cost_no_time() -> None:
    """As many regions, functions and types as can come, each in the way of the others."""
    regions = [
        Region("memory", number, 1 << 40, "ide", 0, "" if number % 2 else f"/machine/{number}")
        for number in range(MAX_REGIONS)
    ]
    bars = tuple(("memory", number, 1 << 41) for number in range(7))
    pci = [PciDevice(f"{number:x}", "", bars) for number in range(MAX_PCI_DEVICES)]
    types = {f"/machine/{number}": "piix3-ide" for number in range(200_000)}
    start = time.process_time()
    assert len(windows(regions, pci, types, ())) == MAX_REGIONS
    assert time.process_time() - start < 2
