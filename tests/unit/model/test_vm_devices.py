# SPDX-License-Identifier: Apache-2.0
"""What is known of a VM's devices, brought together."""

import pytest

from kvmexporter.model.devices import Virtio, Window
from kvmexporter.model.io import IoTarget
from kvmexporter.model.posture import Backends, Device, Kind, Make, Netdev, Posture
from kvmexporter.model.vm import VmId
from kvmexporter.model.vm_devices import KnownDevices, vm_devices
from tests.unit.model.recorded import RELEASES, load

TAP = ("net0", Netdev("tap", ("tap0",)))
NIC = Device("nic0", "virtio-net-pci", Kind.NIC, Make.PARAVIRTUAL, "pci", netdev=TAP)
WINDOW = Window("memory", 0, 4095, IoTarget("nic0", "virtio-net-pci", "virtio"))
PATH = "/machine/peripheral/nic0"


@pytest.mark.parametrize("release", RELEASES)
def test_names_agree(release: str) -> None:
    """What has addresses and what is in the tree is one device, called the same."""
    for configuration in ("pc", "q35", "microvm", "pc-vhost", "q35-vhost-user"):
        recording = load(release, configuration)
        known = vm_devices(
            recording.windows(), recording.virtio(), recording.posture(), Posture(), Backends()
        )
        addressed = {window.target.device for window in recording.windows()}
        unaddressed = {name for name in known.built() if name not in addressed}
        # Disks are reached through their controllers.
        assert {known.built()[name].bus for name in unaddressed} <= {"ide", "scsi"}
        assert len({target.device for target in known.targets}) == len(known.targets)


@pytest.mark.parametrize(
    ("state", "backend", "vhost", "modern"),
    [
        (Virtio(PATH, "virtio-net", 3, False), "qemu", None, None),
        (Virtio(PATH, "virtio-net", 3, True), "vhost", True, None),
        (Virtio(PATH, "virtio-net", 3, False, ("F_VERSION_1",)), "qemu", None, None),
        (Virtio(PATH, "virtio-net", 3, False, ("NET_F_MQ",)), "qemu", None, False),
    ],
)
def test_as_its_guest_drives_it(
    state: Virtio, backend: str, vhost: bool | None, modern: bool | None
) -> None:
    """A vhost that runs, and a driver that takes no virtio 1.0."""
    known = vm_devices((WINDOW,), (state,), Posture("host", (NIC,)), Posture(), Backends())
    device = known.built()["nic0"]
    assert (device.backend, device.modern) == (backend, modern)
    assert device.netdev
    assert device.netdev[1].vhost is vhost


def test_the_monitor_before_the_command_line() -> None:
    """The latter says what is behind the devices; all of it where there is no monitor."""
    given = Posture("qemu64", (Device("old", "e1000", Kind.NIC, Make.EMULATED, "pci"),))
    backends = Backends({"net0": Netdev("tap", (), (), 2, True)})
    known = vm_devices((WINDOW,), (), Posture("host", (NIC,)), given, backends)
    assert known.posture.cpu_model == "host"
    assert list(known.built()) == ["nic0"]
    assert (known.built()["nic0"].backend, known.built()["nic0"].queues) == ("vhost", 2)
    known = vm_devices((), (), Posture(), given, backends)
    assert known.posture == given
    assert known.targets == (IoTarget("old", "e1000", "emulated"),)


def test_what_is_said_again_is_not_worked_out_again() -> None:
    """The same objects give the same answer; something new, or a VM that went, a new one."""
    known = KnownDevices()
    vm = VmId(1, 10)
    given, none, nothing = Posture(), Posture(), Backends({}, {})
    first = known.of(vm, (), (), none, given, nothing, None)
    assert known.of(vm, (), (), none, given, nothing, None) is first
    assert known.of(VmId(2, 10), (), (), none, given, nothing, None) is not first
    disk = Window("memory", 0, 4095, IoTarget("disk0", "virtio-blk-pci", "virtio"))
    more = known.of(vm, (disk,), (), none, given, nothing, None)
    assert [target.device for target in more.targets] == ["disk0"]
    known.keep_only({vm})
    windows = (disk,)
    again = known.of(vm, windows, (), none, given, nothing, None)
    assert known.of(vm, windows, (), none, given, nothing, None) is again
    known.keep_only(())
    assert known.of(vm, windows, (), none, given, nothing, None) is not again
