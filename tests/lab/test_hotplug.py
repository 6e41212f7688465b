# SPDX-License-Identifier: Apache-2.0
"""Devices that come, go and move: no access is ever counted on another device.

What each device was accessed is told by the kernel's own histogram of kvm_mmio by address, and by
where the guest's kernel says that its BARs are. A device's count may start late, so it is at most
the witness's; and equal once the device is known. Together they are all there was.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from tests.lab.devices import Disk, UserNic
from tests.lab.exporter import Exporter
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.window import Window, observe
from tests.lab.witness import EventCount

pytestmark = [pytest.mark.on_kernel("6.12"), pytest.mark.long]

VM = "hotplug"
EXITS = "kvm_vm_io_exits_total"
KICKS = "kvm_vm_virtqueue_kicks_total"
_KNOWN_SECONDS = 60.0
# kvm_mmio's type: a read that was satisfied, a write. A read that QEMU has to answer shows as
# type 0 before.
_READ, _WRITE = 1, 2
_IS_MEMORY = 0x200  # IORESOURCE_MEM

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """What both saw of one window, in accesses to memory.

    Attributes:
        window: the exporter's.
        witness: device → accesses to its BARs.
        total: to anything.
    """

    window: Window
    witness: Mapping[str, int]
    total: int

    def exporter(self, device: str) -> int:
        return self.window.moved(EXITS, vm=VM, device=device, access="mmio")[()]

    def kicks(self, device: str) -> int:
        return self.window.moved(KICKS, vm=VM, device=device)[()]

    def check(self) -> None:
        """Nobody is given what is another's, and nothing is lost."""
        for device, accesses in self.witness.items():
            assert self.exporter(device) <= accesses, f"{device} lies: {self}"
        everything = self.window.moved(EXITS, vm=VM, access="mmio")[()]
        assert everything == self.total, self

    def is_exact(self, *devices: str) -> bool:
        """Whether these have been known all the time."""
        return all(self.exporter(device) == self.witness[device] for device in devices)

    def __str__(self) -> str:
        ours = {device: self.exporter(device) for device in self.witness}
        return f"exporter {ours}, witness {dict(self.witness)}, of {self.total}"


class Machine:
    """A guest whose devices come and go, and both who count its accesses."""

    def __init__(self, exporter: Exporter, guest: LinuxGuest) -> None:
        self._exporter = exporter
        self.guest = guest
        self.slots: dict[str, int] = {}
        for number, device in enumerate(self.pci_ids()):
            if device:
                self.slots[device] = number

    def pci_ids(self) -> list[str]:
        """Slot → id of the device that is plugged in, by the tests' own monitor."""
        ids = [""] * 32
        for device in self.guest.qmp("query-pci")[0]["devices"]:
            ids[device["slot"]] = ids[device["slot"]] or device["qdev_id"]
        return ids

    def bars(self) -> dict[str, tuple[Range, ...]]:
        """Device → where its memory BARs are, by the guest's kernel."""
        slots = " ".join(f"{device}={slot:02x}" for device, slot in self.slots.items())
        lines = self.guest.run(
            f"for one in {slots}; do echo ${{one%=*}};"
            " cat /sys/bus/pci/devices/0000:00:${one#*=}.0/resource 2>/dev/null; done; true"
        ).splitlines()
        found: dict[str, tuple[Range, ...]] = {}
        device = ""
        for words in map(str.split, lines):
            if len(words) == 1:
                device = words[0]
                found[device] = ()
                continue
            first, last, flags = (int(word, 16) for word in words)
            if flags & _IS_MEMORY:
                found[device] += ((first, last),)
        return found

    def window(self, work: Callable[[], object]) -> Seen:
        """Let it work, and check what was counted; its BARs are the same at both ends, if any."""
        before = self.bars()
        (vcpu,) = self.guest.vcpu_tids
        mmio = EventCount("kvm_mmio", "type", "gpa", condition=f"common_pid == {vcpu}")
        window = observe(self._exporter, self.guest, work, mmio)
        places = {}
        after = self.bars()
        for device in before.keys() | after.keys():
            places[device] = {*before.get(device, ()), *after.get(device, ())}
        witness: Counter[str] = Counter(dict.fromkeys(places, 0))
        total = 0
        for (kind, gpa), count in mmio.read().items():
            if kind not in (_READ, _WRITE):
                continue
            total += count
            for device, ranges in places.items():
                witness[device] += count * any(first <= gpa <= last for first, last in ranges)
        seen = Seen(window, witness, total)
        print(seen, flush=True)
        seen.check()
        return seen

    def read(self, device: str, count: int) -> None:
        """Read so many blocks from a disk of the guest, one by one, past the page cache."""
        self.guest.run(
            f"dd if=/dev/{device} of=/dev/null bs=4096 count={count} iflag=direct 2>/dev/null"
        )

    def send(self, interface: str, peer: str, count: int) -> None:
        """Send so many packets over a NIC."""
        self.guest.run(f"ping -c {count} -i 0.02 -W 5 -I {interface} {peer} >/dev/null")

    def until_exact(self, work: Callable[[], object], *devices: str) -> Seen:
        """Repeat until these devices are known all the time; what comes before is checked too."""
        deadline = time.monotonic() + _KNOWN_SECONDS
        while not (seen := self.window(work)).is_exact(*devices):
            assert time.monotonic() < deadline, f"{devices} never known: {seen}"
        return seen

    def use(self, *others: str, **disks: str) -> Seen:
        """Work with these devices until they are known, and see that they are counted exactly."""

        def work() -> None:
            self.read("vda", 103)
            for name in disks.values():
                self.read(name, 89)
            self.send("eth1", "10.0.9.2", 17)

        seen = self.until_exact(work, *others, *disks)
        assert seen.witness["hotnic"] >= 17
        assert seen.kicks("fixed") == 103
        assert {seen.kicks(device) for device in disks} == {89}
        return seen

    def plug(self, driver: str, device: str, slot: int, **options: object) -> None:
        """Plug a device in, as an administrator does."""
        self.guest.qmp("device_add", driver=driver, id=device, addr=f"{slot:x}", **options)
        self.slots[device] = slot

    def unplug(self, device: str) -> None:
        """Ask the guest to let it go and wait until QEMU says that it is gone."""
        self.guest.qmp("device_del", id=device)
        deadline = time.monotonic() + 60
        while device in self.pci_ids():
            assert time.monotonic() < deadline, f"{device} stays"
            time.sleep(0.2)
        del self.slots[device]

    def disk(self, name: str) -> None:
        """Give QEMU what a disk reads from; `Disk` of `devices.py` is for those at start."""
        image = self.guest.directory / f"{name}.raw"
        image.write_bytes(bytes(4 << 20))
        self.guest.qmp(
            "blockdev-add", driver="raw", node_name=f"{name}-node",
            file={"driver": "file", "filename": str(image), "locking": "off"},
        )  # fmt: skip

    def block_device(self, device: str) -> str:
        """Wait until the guest has a disk there and return its name of it."""
        place = f"/sys/bus/pci/devices/0000:00:{self.slots[device]:02x}.0/virtio*/block"
        self.wait_in_guest(f"[ -b /dev/$(ls {place} 2>/dev/null | grep . || echo null.) ]")
        return self.guest.run(f"ls {place}").strip()

    def wait_in_guest(self, condition: str) -> None:
        """Wait until a condition of the guest's shell holds."""
        self.guest.run(f"n=0; until {condition}; do n=$((n+1)); [ $n -lt 300 ]; sleep 0.1; done")


def _start(host: Host) -> LinuxGuest:
    return host.start(LinuxGuest(VM, disks=(Disk("fixed"),), nics=(UserNic("nic"),)))


@pytest.fixture
def machine(session_exporter: Exporter, host: Host) -> Machine:
    """A booted guest with one disk and one NIC."""
    return Machine(session_exporter, _start(host))


def test_devices_that_come_move_and_go(machine: Machine) -> None:
    """Counts are exact before, never too high while anything moves, and exact again after."""
    guest = machine.guest
    seen = machine.until_exact(lambda: machine.read("vda", 101), "fixed", "nic")
    assert seen.kicks("fixed") == 101
    for name in ("hot", "next", "last"):
        machine.disk(name)
    guest.qmp("netdev_add", type="user", id="hotnic-net", net="10.0.9.0/24")

    # Two devices come, while a disk is read all the time.
    def plug_both() -> None:
        guest.run(
            "(dd if=/dev/vda of=/dev/null bs=4096 count=1009 iflag=direct; >/tmp/read)"
            " >/dev/null 2>&1 &"
        )
        machine.plug("virtio-blk-pci", "hot", 0x10, drive="hot-node")
        machine.read(machine.block_device("hot"), 97)
        machine.plug("virtio-net-pci", "hotnic", 0x11, netdev="hotnic-net")
        machine.wait_in_guest("[ -e /sys/class/net/eth1 ]")
        guest.run("ip address add 10.0.9.15/24 dev eth1; ip link set eth1 up")
        machine.send("eth1", "10.0.9.2", 13)
        machine.wait_in_guest("[ -e /tmp/read ]")

    seen = machine.window(plug_both)
    assert seen.witness["hot"] >= 97
    assert seen.witness["hotnic"] >= 13
    assert seen.witness["fixed"] >= 1009
    machine.use("fixed", "hotnic", hot=machine.block_device("hot"))

    # The guest lets one go that stays plugged in, and gives its addresses to one that comes.
    place = set(machine.bars()["hot"])
    path = "/sys/bus/pci/devices/0000:00:10.0"
    machine.window(
        lambda: guest.run(
            f"echo 0000:00:10.0 > {path}/driver/unbind;"
            # No longer at its addresses: bits 0 and 1 of its command register.
            f"printf '\\0\\0' | dd of={path}/config bs=2 seek=2 conv=notrunc 2>/dev/null;"
            f"echo 1 > {path}/remove"
        )
    )

    def plug_next() -> None:
        machine.plug("virtio-blk-pci", "next", 0x12, drive="next-node")
        machine.read(machine.block_device("next"), 83)

    assert machine.window(plug_next).witness["next"] >= 83
    assert place & set(machine.bars()["next"])
    names = {"next": machine.block_device("next")}
    machine.use("fixed", "hotnic", **names)

    # It comes back elsewhere.
    def find_again() -> None:
        guest.run("echo 1 > /sys/bus/pci/rescan")
        machine.read(machine.block_device("hot"), 79)

    assert machine.window(find_again).witness["hot"] >= 79
    moved = set(machine.bars()["hot"])
    assert moved - place
    machine.use("fixed", "hotnic", **names, hot=machine.block_device("hot"))

    # It goes for good, and another comes to its slot and its addresses.
    machine.window(lambda: machine.unplug("hot"))
    last = machine.window(lambda: machine.read("vda", 7)).window.after

    def plug_last() -> None:
        machine.plug("virtio-blk-pci", "last", 0x10, drive="last-node")
        machine.read(machine.block_device("last"), 73)

    assert machine.window(plug_last).witness["last"] >= 73
    assert moved & set(machine.bars()["last"])
    after = machine.use("fixed", "hotnic", **names, last=machine.block_device("last")).window.after
    for name in (EXITS, KICKS):
        before = {str(one.labels): one.value for one in last.samples(name, vm=VM, device="hot")}
        assert before
        assert before == {
            str(one.labels): one.value for one in after.samples(name, vm=VM, device="hot")
        }
