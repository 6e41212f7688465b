# SPDX-License-Identifier: Apache-2.0
"""A domain that libvirt runs: its identity is libvirt's, and its monitor stays libvirt's."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.exporter import Exporter, Scrape
from tests.lab.host import Host
from tests.lab.libvirt import Domain

pytestmark = [pytest.mark.on_kernel("6.12"), pytest.mark.long]

NAME = "lab-domain"
READS = 101
EXITS = "kvm_vm_io_exits_total"
KICKS = "kvm_vm_virtqueue_kicks_total"
DEVICES = {
    ("ua-disk0", "virtio-blk-pci", "virtio"),
    ("ua-net0", "virtio-net-pci", "virtio"),
    ("balloon0", "virtio-balloon-pci", "virtio"),
    ("virtio-serial0", "virtio-serial-pci", "virtio"),
}


@pytest.fixture(scope="module")
def domain(module_host: Host) -> Domain:
    """One domain for all tests."""
    return module_host.libvirt().start(NAME)


@pytest.fixture
def asking() -> Iterator[Exporter]:
    """An exporter that may use libvirt's monitor pass-through."""
    running = Exporter("--libvirt.monitor", port=19179)
    try:
        yield running.start()
    finally:
        running.close()


def _monitor_peers(domain: Domain) -> list[str]:
    """Who is at the other end of libvirt's monitor socket, connected or waiting to be."""
    text = subprocess.check_output(["ss", "-xpaH"], text=True)
    ours = [line.split() for line in text.splitlines() if f"-{domain.name}/monitor.sock" in line]
    ends = {words[-2] if "users:" in words[-1] else words[-1] for words in ours}
    assert ours, text
    lines = [line for line in text.splitlines() if line.split()[5] in ends]
    return [line.partition('users:(("')[2].partition('"')[0] for line in lines]


def _info(scrape: Scrape) -> dict[str, str]:
    (info,) = scrape.samples("kvm_vm_info", vm=NAME)
    return dict(info.labels)


def _devices(scrape: Scrape) -> set[tuple[str, str, str]]:
    return {
        (one.labels["device"], one.labels["driver"], one.labels["path"])
        for one in scrape.samples("kvm_vm_device_info", vm=NAME)
    }


def _moved(
    exporter: Exporter, work: Callable[[], object], name: str, **labels: str
) -> tuple[float, Scrape]:
    before = exporter.scrape()
    work()
    after = exporter.scrape()
    return after.total(name, **labels) - before.total(name, **labels), after


def test_without_the_monitor(exporter: Exporter, domain: Domain) -> None:
    """Name, uuid and devices are libvirt's; addresses are those that every PC has."""
    scrape = exporter.wait_for("kvm_vm_device_info", vm=NAME)
    info = _info(scrape)
    assert info["identified_by"] == "libvirt"
    assert info["uuid"] == domain.uuid
    assert info["pid"] == str(domain.pid)
    assert info["machine"].startswith("pc-i440fx-")
    assert _devices(scrape) >= DEVICES
    assert ("serial0", "isa-serial", "emulated") in _devices(scrape)
    serial, scrape = _moved(
        exporter, lambda: domain.run("true"), EXITS, vm=NAME, driver="isa-serial"
    )
    assert serial > 0
    assert not scrape.samples(EXITS, vm=NAME, device="ua-disk0")
    assert _monitor_peers(domain) == ["libvirtd"]


def test_through_the_monitor(asking: Exporter, domain: Domain, module_host: Host) -> None:
    """Each of its devices' accesses is counted exactly, and libvirt goes on as if alone."""
    read = f"dd if=/dev/vda of=/dev/null bs=4096 count={READS} iflag=direct 2>/dev/null"
    deadline = time.monotonic() + 90
    while not asking.scrape().samples(KICKS, vm=NAME, device="ua-disk0"):
        assert time.monotonic() < deadline, asking.log()
        domain.run(read)
        time.sleep(0.5)
    kicks, scrape = _moved(asking, lambda: domain.run(read), KICKS, vm=NAME, device="ua-disk0")
    assert kicks == READS
    kicks, scrape = _moved(asking, lambda: domain.run(read), EXITS, vm=NAME, device="ua-disk0")
    assert kicks == READS
    assert _info(scrape)["identified_by"] == "libvirt"
    assert _info(scrape)["uuid"] == domain.uuid
    assert _devices(scrape) >= DEVICES
    assert scrape.samples("kvm_vm_virtio_feature", vm=NAME, device="ua-net0")
    assert scrape.value("kvm_vm_balloon_actual_bytes", vm=NAME) > 0
    libvirt = module_host.libvirt()
    assert libvirt.virsh("domstate", NAME).strip() == "running"
    assert "actual" in libvirt.virsh("dommemstat", NAME)
    assert _monitor_peers(domain) == ["libvirtd"]
    # virsh has gone with the visit it was for.
    children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children").read_text().split()
    assert not [pid for pid in children if Path(f"/proc/{pid}/comm").read_text() == "virsh\n"]
