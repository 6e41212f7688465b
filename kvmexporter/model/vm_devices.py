# SPDX-License-Identifier: Apache-2.0
"""Everything known of a VM's devices, brought together: addresses, virtio state, posture."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import is_

from kvmexporter.model.devices import Virtio, Window
from kvmexporter.model.io import IoTarget
from kvmexporter.model.libvirt_domain import LibvirtDomain
from kvmexporter.model.posture import Backends, Device, Make, Posture, completed
from kvmexporter.model.vm import VmId

_PERIPHERAL = "/machine/peripheral/"
_MODERN = "F_VERSION_1"

# Where a target's path says less than that of another window of the same device.
_STRONGEST_FIRST = ("vhost", "passthrough", "virtio", "emulated")


@dataclass(frozen=True, slots=True)
class VmDevices:
    """The devices of one VM.

    Attributes:
        targets: each once, by name, with the path that its data takes; not the platform's.
        virtio: device → its state.
        posture: how the VM is built, as it is now.
    """

    targets: tuple[IoTarget, ...]
    virtio: Mapping[str, Virtio]
    posture: Posture

    def built(self) -> Mapping[str, Device]:
        """Device → how it is built."""
        return {device.name: device for device in self.posture.devices}


def vm_devices(
    windows: Sequence[Window],
    virtio: Iterable[Virtio],
    posture: Posture,
    given: Posture,
    backends: Backends,
    domain: LibvirtDomain | None = None,
) -> VmDevices:
    """Bring together what there is.

    Args:
        windows: what each range of addresses stands for.
        virtio: the state of the virtio devices.
        posture: what the monitor says; empty if there is none.
        given: what the command line says.
        backends: the same, of what is behind devices.
        domain: what libvirt says; used where the VMM says nothing.
    """
    found = {target.device: target for target in data_devices(windows)}
    built = completed(posture, backends) if posture.devices else given
    if domain and not found:
        found = {
            one.alias: IoTarget(one.alias, one.qemu_driver, one.path) for one in domain.at_a_bus()
        }
    for device in built.devices:
        found.setdefault(device.name, IoTarget(device.name, device.driver, _path(device)))
    targets = tuple(sorted(found.values(), key=lambda target: target.device))
    named = virtio_by_device(windows, virtio, built.devices)
    now = tuple(_as_driven(device, named.get(device.name)) for device in built.devices)
    return VmDevices(targets, named, Posture(built.cpu_model or given.cpu_model, now))


def _path(device: Device) -> str:
    if device.make is Make.PARAVIRTUAL:
        return "vhost" if device.backend.startswith("vhost") else "virtio"
    return device.make.value


def _as_driven(device: Device, state: Virtio | None) -> Device:
    """A virtio device with what its guest's driver has made of it."""
    if state is None:
        return device
    if state.vhost and device.backend == "qemu":
        behind = device.netdev and (device.netdev[0], replace(device.netdev[1], vhost=True))
        device = replace(device, backend="vhost", netdev=behind)
    if state.features and _MODERN not in state.features:
        device = replace(device, modern=False)
    return device


def data_devices(windows: Iterable[Window]) -> tuple[IoTarget, ...]:
    """Each device once, by name, with the path of its data."""
    strongest: dict[str, IoTarget] = {}
    for window in windows:
        target = window.target
        if target.path not in _STRONGEST_FIRST:
            continue
        known = strongest.setdefault(target.device, target)
        if _STRONGEST_FIRST.index(target.path) < _STRONGEST_FIRST.index(known.path):
            strongest[target.device] = target
    return tuple(sorted(strongest.values(), key=lambda target: target.device))


def virtio_by_device(
    windows: Iterable[Window], virtio: Iterable[Virtio], built: Iterable[Device]
) -> Mapping[str, Virtio]:
    """The name of a device → its state, of those that have a window or an id."""
    names = {f"{_PERIPHERAL}{device.name}": device.name for device in built}
    names |= {window.owner: window.target.device for window in windows if window.owner}
    named = {names[one.path]: one for one in virtio if one.path in names}
    return dict(sorted(named.items()))


class KnownDevices:
    """What `vm_devices` made of each VM, kept until somebody says something new of it.

    A scrape asks every time, and a VMM is asked once a minute: what it said is the same
    object in between.
    """

    def __init__(self) -> None:
        self._known: dict[VmId, tuple[tuple[object, ...], VmDevices]] = {}

    def of(
        self,
        identity: VmId,
        windows: Sequence[Window],
        virtio: Sequence[Virtio],
        posture: Posture,
        given: Posture,
        backends: Backends,
        domain: LibvirtDomain | None,
    ) -> VmDevices:
        """The devices of one VM, from what `vm_devices` wants."""
        said = windows, virtio, posture, given, backends, domain
        before = self._known.get(identity)
        if before and all(map(is_, before[0], said)):
            return before[1]
        made = vm_devices(windows, virtio, posture, given, backends, domain)
        self._known[identity] = said, made
        return made

    def keep_only(self, identities: Collection[VmId]) -> None:
        """Forget VMs that are gone."""
        for gone in self._known.keys() - set(identities):
            del self._known[gone]
