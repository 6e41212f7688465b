# SPDX-License-Identifier: Apache-2.0
"""Linux guests' disks and networks: each access on the right device, path and handler."""

import time

import pytest

from tests.lab.devices import Disk, UserNic
from tests.lab.exporter import Exporter
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.window import Window, observe

READS = 101
VM = "paths"
KICKS = "kvm_vm_virtqueue_kicks_total"


def _every_path(host: Host) -> LinuxGuest:
    return host.start(
        LinuxGuest(
            VM,
            disks=(
                Disk("fast"),
                Disk("slow", ioeventfd=False),
                Disk("old", options=",disable-modern=on,disable-legacy=off"),
                Disk("ide", bus="ide"),
            ),
            nics=(host.tap("kernel"), host.tap("qemu", vhost=False), UserNic("user")),
            balloon=True,
        )
    )


@pytest.fixture
def guest(session_exporter: Exporter, module_host: Host) -> LinuxGuest:
    """Disks and NICs of every path; its kernel has placed them, and QEMU has been asked since."""
    guest = module_host.keep(_every_path)
    # What runs over vhost is known for sure once its doorbells are counted there.
    deadline = time.monotonic() + 60
    while not session_exporter.scrape().samples(KICKS, vm=VM, device="kernel", queue="1"):
        assert time.monotonic() < deadline, f"not known in time:\n{session_exporter.log()}"
        guest.run(f"ping -c 3 -i 0.05 {guest.nics[0].peer} >/dev/null")
    return guest


def read(device: str) -> str:
    """Read READS blocks one by one, past the page cache."""
    return f"dd if=/dev/{device} of=/dev/null bs=4096 count={READS} iflag=direct 2>/dev/null"


def on(window: Window, device: str) -> dict[tuple[str, ...], int]:
    """(path, access, direction, handler) → accesses of one device."""
    return dict(
        window.moved(
            "kvm_vm_io_exits_total", "path", "access", "direction", "handler", vm=VM, device=device
        )
    )


def kicks(window: Window, device: str) -> dict[tuple[str, ...], int]:
    """(queue,) → doorbells of one device; other NICs of a Linux guest talk when they like."""
    return dict(window.moved(KICKS, "queue", vm=VM, device=device))


def test_a_virtio_disk(session_exporter: Exporter, guest: LinuxGuest) -> None:
    """With ioeventfd, each request is one doorbell that the kernel passes on."""
    window = observe(session_exporter, guest, lambda: guest.run(read("vda")))
    assert on(window, "fast") == {("virtio", "mmio", "write", "kernel"): READS}
    assert kicks(window, "fast") == {("0",): READS}


def test_a_virtio_disk_without_ioeventfd(session_exporter: Exporter, guest: LinuxGuest) -> None:
    """Without, each doorbell is an exit to QEMU."""
    window = observe(session_exporter, guest, lambda: guest.run(read("vdb")))
    assert on(window, "slow") == {("virtio", "mmio", "write", "userspace"): READS}
    assert kicks(window, "slow") == {("0",): READS}


def test_a_virtio_disk_of_old(session_exporter: Exporter, guest: LinuxGuest) -> None:
    """One before virtio 1.0 has a port for the doorbells of all its queues."""
    window = observe(session_exporter, guest, lambda: guest.run(read("vdc")))
    assert on(window, "old")["virtio", "pio", "write", "kernel"] == READS
    assert kicks(window, "old") == {("unknown",): READS}


def test_an_ide_disk_costs_more(session_exporter: Exporter, guest: LinuxGuest) -> None:
    """The same bytes through an emulated controller take many exits to QEMU for each request."""
    window = observe(session_exporter, guest, lambda: guest.run(read("sda")))
    ide = {
        labels: count
        for labels, count in window.moved(
            "kvm_vm_io_exits_total", "driver", "path", "handler", vm=VM
        ).items()
        if labels[0] == "piix3-ide"
    }
    assert ide.keys() == {("piix3-ide", "emulated", "userspace")}
    # Seven registers for each request, where virtio has one doorbell that is no exit to QEMU.
    virtio = observe(session_exporter, guest, lambda: guest.run(read("vda")))
    assert sum(ide.values()) >= 7 * sum(on(virtio, "fast").values()) == 7 * READS
    to_qemu = virtio.moved("kvm_vm_io_exits_total", "handler", vm=VM, path="virtio")
    assert to_qemu.keys() == {("kernel",)}
    assert not kicks(window, "fast")
    assert not kicks(window, "slow")


@pytest.mark.parametrize(
    ("number", "device", "path"), [(0, "kernel", "vhost"), (1, "qemu", "virtio")]
)
def test_network(
    session_exporter: Exporter, guest: LinuxGuest, number: int, device: str, path: str
) -> None:
    """A packet sent is a doorbell of the transmit queue, of the NIC that it left by alone."""
    peer = guest.nics[number].peer
    window = observe(
        session_exporter, guest, lambda: guest.run(f"ping -c 29 -i 0.05 -W 5 {peer} >/dev/null")
    )
    accesses = on(window, device)
    sent = kicks(window, device)
    assert sent["1",] >= 29
    assert accesses[path, "mmio", "write", "kernel"] == sum(sent.values())
    if path == "vhost":  # nothing of the data path comes to QEMU
        assert [key for key in accesses if key[0] == path] == [(path, "mmio", "write", "kernel")]


def test_almost_nothing_is_unknown(session_exporter: Exporter, guest: LinuxGuest) -> None:
    """Of a booted guest's accesses, fewer than one in a thousand belong to nobody."""
    work = "; ".join([read("vda"), read("vdb"), read("sda"), "cat /proc/interrupts >/dev/null"])
    window = observe(session_exporter, guest, lambda: guest.run(work))
    by_device = window.moved("kvm_vm_io_exits_total", "device", vm=VM)
    assert sum(by_device.values()) > 10 * READS
    assert by_device.get(("unknown",), 0) <= sum(by_device.values()) / 1000
