# SPDX-License-Identifier: Apache-2.0
"""What libvirt says of a running domain: its identity, and how its devices were asked for.

Pure functions from libvirt's status file of a domain (`<domstatus>` around the domain's XML) to
frozen data. Source: libvirt's docs/formatdomain.rst, src/conf/domain_conf.c and
src/qemu/qemu_domain.c (the monitor and the libraries' directory), 9.0.

A domain's name, its aliases and its metadata are its owner's words, so all of it is untrusted: no
entities, no document type, a bounded number of devices, and every text bounded and printable.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmexporter.model.vm import bounded_name

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_DEVICES = 256
_MAX_OPTIONS = 32
_MAX_NUMBER = 1 << 62

_NUMBER = re.compile(r"[0-9]{1,18}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX = re.compile(r"0x([0-9a-f]{1,4})")
# libvirt writes KiB; its other units, for what others wrote.
_UNITS = {
    "b": 1, "bytes": 1, "KB": 1000, "k": 1 << 10, "KiB": 1 << 10, "MB": 10**6, "M": 1 << 20,
    "MiB": 1 << 20, "GB": 10**9, "G": 1 << 30, "GiB": 1 << 30, "TB": 10**12, "T": 1 << 40,
    "TiB": 1 << 40,
}  # fmt: skip

# Kind and model of a device → QEMU's driver. A virtio device is told below.
_DRIVERS = {
    ("controller", "ide"): "piix3-ide", ("controller", "sata"): "ich9-ahci",
    ("controller", "piix3-uhci"): "piix3-usb-uhci", ("controller", "qemu-xhci"): "qemu-xhci",
    ("controller", "nec-xhci"): "nec-usb-xhci", ("controller", "lsilogic"): "lsi",
    ("watchdog", "i6300esb"): "i6300esb", ("video", "cirrus"): "cirrus-vga",
    ("video", "vga"): "VGA", ("video", "qxl"): "qxl-vga", ("video", "bochs"): "bochs-display",
    ("sound", "ich6"): "intel-hda", ("sound", "ich9"): "ich9-intel-hda",
    ("sound", "ac97"): "AC97", ("serial", "isa-serial"): "isa-serial",
    ("panic", "isa"): "pvpanic", ("hostdev", "pci"): "vfio-pci",
    ("interface", "hostdev"): "vfio-pci",
}  # fmt: skip
_VIRTIO_DRIVERS = {
    "disk": "virtio-blk-pci", "interface": "virtio-net-pci", "memballoon": "virtio-balloon-pci",
    "rng": "virtio-rng-pci", "video": "virtio-gpu-pci", "filesystem": "vhost-user-fs-pci",
    "vsock": "vhost-vsock-pci", "crypto": "virtio-crypto-pci", "memory": "virtio-mem-pci",
    "sound": "virtio-sound-pci",
}  # fmt: skip
_VIRTIO_CONTROLLERS = {"scsi": "virtio-scsi-pci", "virtio-serial": "virtio-serial-pci"}
_VIRTIO_MODELS = ("virtio", "virtio-transitional", "virtio-non-transitional")


class NotADomainError(ValueError):
    """A text is no status of a libvirt domain; the message says why."""


@dataclass(frozen=True, slots=True)
class LibvirtDevice:
    """A device as libvirt's XML has it.

    Attributes:
        kind: the element: `disk`, `interface`, `controller`, `memballoon`, `rng`, `hostdev` …
        alias: QEMU's id of it, the user's own if it begins with `ua-`; "" if it has none.
        model: the bus of a disk, the model of anything else (`virtio`, `e1000`, `ide`); "" if
            the XML says none.
        pci: its PCI address as QEMU writes it, `00:03.0`; "" if it has none.
        isa: whether it is at the ISA bus.
        target: what the user or libvirt calls it in host or guest: `vda`, `vnet3`.
        source: where its data comes from: `file`, `block`, `network`, `bridge`, `ethernet` …
        driver: the attributes of `<driver>` as libvirt writes them: `name` (`vhost`, `qemu`),
            `queues`, `cache`, `io`, `ioeventfd`, `event_idx`, `iothread`, `packed` … Those that
            the user has left to QEMU are not in it.
        options: the other attributes of the element itself: `autodeflate` and
            `freePageReporting` of a balloon, `type` of a controller.
        stats_period: how often the guest's balloon driver is asked, seconds; None if never.
    """

    kind: str
    alias: str
    model: str = ""
    pci: str = ""
    isa: bool = False
    target: str = ""
    source: str = ""
    driver: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    stats_period: int | None = None

    @property
    def is_virtio(self) -> bool:
        """Whether it speaks virtio with its guest."""
        return self.model in _VIRTIO_MODELS

    @property
    def is_vhost(self) -> bool:
        """Whether the kernel or a process of its own serves its queues.

        libvirt tries vhost for a virtio NIC on a tap and falls back in silence, unless the user
        chose; then `<driver name=…>` says which.
        """
        if self.kind == "vsock" or self.source == "vhostuser":
            return True
        return self.kind == "interface" and self.driver.get("name") == "vhost"

    @property
    def qemu_driver(self) -> str:
        """QEMU's name of the device model; the XML's where that is not known."""
        if self.is_virtio:
            if self.kind == "controller":
                kind = self.options.get("type", "")
                return _VIRTIO_CONTROLLERS.get(kind, f"virtio-{kind}-pci")
            if self.kind == "disk" and self.source == "vhostuser":
                return "vhost-user-blk-pci"
            return _VIRTIO_DRIVERS.get(self.kind, f"virtio-{self.kind}-pci")
        kind = self.options.get("type", "")
        for model in (self.model, self.source, kind):
            if (driver := _DRIVERS.get((self.kind, model))) is not None:
                return driver
        return self.model or kind or self.kind

    @property
    def path(self) -> str:
        """The path of its data: `vhost`, `virtio`, `passthrough` or `emulated`."""
        if self.is_virtio or self.kind == "vsock":
            return "vhost" if self.is_vhost else "virtio"
        return "passthrough" if self.qemu_driver == "vfio-pci" else "emulated"


@dataclass(frozen=True, slots=True)
class LibvirtDomain:
    """A running domain.

    Attributes:
        name: the domain's, bounded and printable.
        uuid: lower case, with dashes.
        pid: of its VMM.
        state: `running`, `paused` …
        system: whether the system's libvirt runs it; else it is a user's own.
        machine: QEMU's machine type.
        cpu_mode: `host-passthrough`, `host-model`, `custom`, `maximum`; "" if not said.
        vcpus: that it has now.
        memory_max_bytes: its RAM.
        current_memory_bytes: what the balloon leaves the guest, as QEMU told libvirt last.
        iothreads: how many there are.
        monitor: the path of libvirt's own monitor socket, which nobody else may connect to.
        devices: in the XML's order; what a guest cannot see (consoles, inputs) included.
    """

    name: str
    uuid: str
    pid: int
    state: str = ""
    system: bool = True
    machine: str = ""
    cpu_mode: str = ""
    vcpus: int | None = None
    memory_max_bytes: int | None = None
    current_memory_bytes: int | None = None
    iothreads: int = 0
    monitor: str = ""
    devices: tuple[LibvirtDevice, ...] = ()

    @property
    def balloon(self) -> LibvirtDevice | None:
        """Its balloon; None if it has none."""
        return next((one for one in self.of_kind("memballoon") if one.is_virtio), None)

    def of_kind(self, kind: str) -> Iterator[LibvirtDevice]:
        """Its devices of one kind, `disk` or `interface`."""
        return (device for device in self.devices if device.kind == kind)

    def at_a_bus(self) -> Iterator[LibvirtDevice]:
        """The devices that guests talk to: those on a PCI or ISA bus, without its bridges."""
        for device in self.devices:
            is_bridge = device.kind == "controller" and device.options.get("type") == "pci"
            if device.alias and (device.pci or device.isa) and not is_bridge:
                yield device

    def by_alias(self) -> Mapping[str, LibvirtDevice]:
        """QEMU's id → device."""
        return {device.alias: device for device in self.devices if device.alias}


def parse_status(text: bytes, *, system: bool = True) -> LibvirtDomain:
    """Read a domain's status file.

    Args:
        text: `<domstatus>`, of a size that the caller has bounded.
        system: whether the system's libvirt wrote it.

    Raises:
        NotADomainError: it is none.
    """
    # A host without libvirt does without their memory.
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(text, forbid_dtd=True)
    except DefusedXmlException as err:
        raise NotADomainError(f"{type(err).__name__} in a domain's status") from err
    except (ParseError, ValueError, LookupError) as err:  # the latter: of its encoding
        raise NotADomainError(f"no XML ({bounded_name(str(err))})") from err
    domain = root.find("domain")
    pid = _number(root.get("pid"))
    if root.tag != "domstatus" or domain is None or not pid:
        raise NotADomainError("no status of a running domain")
    uuid = (domain.findtext("uuid") or "").strip().lower()
    monitor = root.find("monitor")
    cpu = domain.find("cpu")
    vcpu = domain.find("vcpu")
    return LibvirtDomain(
        name=bounded_name(domain.findtext("name") or ""),
        uuid=uuid if _UUID.fullmatch(uuid) else "",
        pid=pid,
        state=_attribute(root, "state"),
        system=system,
        machine=_attribute(domain.find("os/type"), "machine"),
        cpu_mode=_attribute(cpu, "mode"),
        vcpus=None if vcpu is None else _number(vcpu.get("current") or vcpu.text),
        memory_max_bytes=_size(domain.find("memory")),
        current_memory_bytes=_size(domain.find("currentMemory")),
        iothreads=_number(domain.findtext("iothreads")) or 0,
        monitor="" if monitor is None else monitor.get("path", ""),
        devices=tuple(_devices(domain)),
    )


def _devices(domain: "Element") -> Iterator[LibvirtDevice]:
    for element in (domain.findall("devices/*"))[:MAX_DEVICES]:
        if element.tag == "emulator":
            continue
        address = element.find("address")
        kind = _attribute(address, "type")
        stats, target = element.find("stats"), element.find("target")
        yield LibvirtDevice(
            kind=bounded_name(str(element.tag)),
            alias=_attribute(element.find("alias"), "name"),
            model=_model(element),
            pci=_pci_address(address) if address is not None and kind == "pci" else "",
            isa=kind == "isa" or _attribute(target, "type") == "isa-serial",
            target=_attribute(target, "dev"),
            source=_attribute(element, "type") if element.tag != "controller" else "",
            driver=_attributes(element.find("driver")),
            options=_attributes(element),
            stats_period=None if stats is None else _number(stats.get("period")) or None,
        )


def _model(element: "Element") -> str:
    if element.tag == "disk":
        return _attribute(element.find("target"), "bus")
    if element.tag == "serial":
        return _attribute(element.find("target/model"), "name")
    if element.tag == "video":
        return _attribute(element.find("model"), "type")
    if element.tag == "controller" and element.get("type") == "virtio-serial":
        return element.get("model") or "virtio"
    if element.tag == "controller" and element.get("model") == "virtio-scsi":
        return "virtio"
    if "model" in element.keys():  # noqa: SIM118 - iterating over an element gives its children
        return _attribute(element, "model")
    return _attribute(element.find("model"), "type")


def _pci_address(address: "Element") -> str:
    """`BUS:SLOT.FUNCTION` of the buses that libvirt numbers as its controllers.

    The guest numbers the buses behind bridges itself, so only bus 0 is the same for all.
    """
    parts = [_HEX.fullmatch(address.get(part, "")) for part in ("bus", "slot", "function")]
    if None in parts:
        return ""
    bus, slot, function = (int(part[1], 16) for part in parts if part)
    return f"{bus:02x}:{slot:02x}.{function}"


def _attribute(element: "Element | None", name: str) -> str:
    return "" if element is None else bounded_name(element.get(name, ""))


def _attributes(element: "Element | None") -> Mapping[str, str]:
    if element is None:
        return {}
    items = list(element.items())[:_MAX_OPTIONS]
    return {bounded_name(name): bounded_name(value) for name, value in items}


def _number(text: str | None) -> int | None:
    found = _NUMBER.fullmatch((text or "").strip())
    return int(found[0]) if found else None


def _size(element: "Element | None") -> int | None:
    if element is None:
        return None
    number = _number(element.text)
    unit = _UNITS.get(element.get("unit", "KiB"))
    if number is None or unit is None or number * unit > _MAX_NUMBER:
        return None
    return number * unit
