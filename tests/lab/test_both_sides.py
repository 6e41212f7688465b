# SPDX-License-Identifier: Apache-2.0
"""The exporter inside a guest and the one on its host say the same of the same devices.

QEMU's own list, asked past both, is the referee.
"""

from collections.abc import Iterator

import pytest

from kvmexporter.collectors.devices import EVERY_DEVICE, OF_TYPE
from kvmexporter.tables.virtio import feature_names
from tests.lab.devices import Disk
from tests.lab.exporter import Exporter, Scrape
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.inside import MEMORY_MIB, python_disk, scraped, serve
from tests.waiting import eventually

pytestmark = [pytest.mark.on_kernel("6.12"), pytest.mark.long]

VM = "both"
MIB = 1 << 20
PAGE = 4096
# Id → the kernel's name of its type, its driver in the guest, QEMU's name of the device model.
DEVICES = {
    "disk0": ("blk", "virtio_blk", "virtio-blk-pci"),
    "legacy": ("blk", "virtio_blk", "virtio-blk-pci"),
    "python": ("blk", "virtio_blk", "virtio-blk-pci"),
    "nic0": ("net", "virtio_net", "virtio-net-pci"),
    "balloon0": ("balloon", "virtio_balloon", "virtio-balloon-pci"),
    "serial0": ("console", "virtio_console", "virtio-serial-pci"),
}
# QEMU has no such switch for a balloon, which has no MSI-X.
INTERRUPTS = {"on": "msix", "off": "intx", "": "intx"}


def _both(host: Host) -> LinuxGuest:
    guest = LinuxGuest(
        VM,
        vcpus=2,
        memory_mib=MEMORY_MIB,
        disks=(
            Disk("disk0", iothread=True, options=",num-queues=2"),
            Disk("legacy", options=",vectors=0,disable-modern=on"),
        ),
        nics=(host.tap("nic0"),),
        balloon=True,
        balloon_options=",deflate-on-oom=on,free-page-reporting=on",
        console=True,
        extra=python_disk(),
    )
    host.start(guest)
    serve(guest)
    return guest


@pytest.fixture
def guest(module_host: Host) -> LinuxGuest:
    return module_host.keep(_both)


@pytest.fixture(scope="module")
def exporter(module_host: Host) -> Iterator[Exporter]:
    """On the host; it meets the guest when that has booted."""
    module_host.keep(_both)
    made = Exporter("--no-bpf", "--balloon.interval", "1", port=19197)
    try:
        yield made.start()
    finally:
        made.close()


def names_inside(guest: LinuxGuest, scrape: Scrape) -> dict[str, str]:
    """Id → the guest's kernel's name (`virtio0`), by the PCI slots that QEMU tells."""
    found = {}
    for device in guest.qmp("query-pci")[0]["devices"]:
        address = f"0000:00:{device['slot']:02x}.0"
        for one in scrape.samples("kvm_guest_virtio_device_info", address=address):
            found[device["qdev_id"]] = one.labels["device"]
    return found


def qemu_features(guest: LinuxGuest, device: str, kind: str) -> set[str]:
    """What QEMU says that the driver has accepted, by name."""
    path = f"/machine/peripheral/{device}/virtio-backend"
    told = guest.qmp("x-query-virtio-status", path=path)["guest-features"]
    names = {
        name.partition(":")[0].removeprefix("VIRTIO_")
        for name in (*told["transports"], *told["dev-features"])
    }
    # Those that this QEMU has no name for it tells as bits.
    return names | set(feature_names(kind, told.get("unknown-dev-features", 0)))


def test_devices(exporter: Exporter, guest: LinuxGuest) -> None:
    """Drivers, interrupts, and what was negotiated, feature by feature."""
    outside = exporter.wait_for("kvm_vm_virtio_feature", vm=VM, device="serial0")
    inside = scraped(guest)
    names = names_inside(guest, inside)
    assert names.keys() == DEVICES.keys()
    assert len(inside.samples("kvm_guest_virtio_device_info")) == len(DEVICES)
    for device, (kind, driver, model) in DEVICES.items():
        (told,) = inside.samples("kvm_guest_virtio_device_info", device=names[device])
        (shown,) = outside.samples("kvm_vm_device_info", vm=VM, device=device)
        assert (told.labels["type"], told.labels["driver"]) == (kind, driver)
        assert (told.labels["transport"], shown.labels["bus"]) == ("pci", "pci")
        assert shown.labels["driver"] == model
        assert told.labels["interrupts"] == INTERRUPTS[shown.labels["msix"]], device
        assert (shown.labels["msix"] == "") == (kind == "balloon"), device
        assert inside.value("kvm_guest_virtio_device_ready", device=names[device]) == 1
        accepted = inside.by("feature", "kvm_guest_virtio_feature", device=names[device]).keys()
        assert accepted == qemu_features(guest, device, kind), device
        told_of = {*EVERY_DEVICE, *OF_TYPE.get(f"virtio-{kind}", ())}
        seen = outside.by("feature", "kvm_vm_virtio_feature", vm=VM, device=device).keys()
        assert seen == accepted & told_of, device
        irqs = f"/sys/bus/virtio/devices/{names[device]}/../msi_irqs"
        vectors = int(guest.run(f"ls {irqs} 2>/dev/null | wc -l"))
        assert (vectors > 0) == (shown.labels["msix"] == "on"), device
    backends = outside.by("backend", "kvm_vm_device_info", vm=VM, device="nic0")
    assert backends == {"vhost": 1}


def test_advice(exporter: Exporter, guest: LinuxGuest) -> None:
    """A device without MSI-X is found by both, and no other is."""
    outside = exporter.wait_for("kvm_vm_virtio_feature", vm=VM, device="serial0")
    found = outside.by("rule", "kvm_findings", vm=VM)
    assert (found.get("virtio-without-msix"), found.get("virtio-legacy")) == (1, 1)
    rules = scraped(guest).by("rule", "kvm_findings")
    assert rules.get("guest-virtio-no-msix") == 1, rules


def test_balloon(exporter: Exporter, guest: LinuxGuest) -> None:
    """What the guest's exporter counts as given is what the host's sees missing, to the page."""

    def held() -> float:
        scrape = exporter.scrape()
        most = scrape.value("kvm_vm_balloon_max_bytes", vm=VM)
        return most - scrape.value("kvm_vm_balloon_actual_bytes", vm=VM)

    def counted() -> dict[str, float]:
        return scraped(guest).by("operation", "kvm_guest_balloon_pages_total")

    assert (held(), counted()["inflate"]) == (0, 0)
    guest.qmp("balloon", value=(MEMORY_MIB - 61) * MIB)
    eventually(lambda: held() == 61 * MIB, seconds=60, every=0.5)
    pages = counted()
    assert (pages["inflate"] - pages["deflate"]) * PAGE == 61 * MIB
    guest.qmp("balloon", value=MEMORY_MIB * MIB)
    eventually(lambda: held() == 0, seconds=60, every=0.5)
    pages = counted()
    assert (pages["inflate"], pages["deflate"]) == (61 * MIB / PAGE, 61 * MIB / PAGE)
    scrape = exporter.scrape()
    for direction in ("inflate", "deflate"):
        moved = scrape.value("kvm_vm_balloon_moved_bytes_total", vm=VM, direction=direction)
        assert moved == pages[direction] * PAGE
