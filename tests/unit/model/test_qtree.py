# SPDX-License-Identifier: Apache-2.0
"""QEMU's device tree."""

import pytest

from kvmexporter.model.qtree import MAX_DEVICES, flag, number, parse
from tests.unit.model.recorded import NAMES, load

TREE = """\
bus: main-system-bus\r
  type System\r
  dev: i440FX-pcihost, id ""\r
    pci-hole64-size = 2147483648 (2 GiB)\r
    bus: pci.0\r
      type PCI\r
      dev: virtio-blk-pci, id "disk0"\r
        gpio-out "" 1\r
        ioeventfd = true\r
        vectors = 3 (0x3)\r
        class SCSI controller, addr 00:02.0, pci id 1af4:1001 (sub 1af4:0002)\r
        bar 0: i/o at 0xc000 [0xc07f]\r
        bus: virtio-bus\r
          type virtio-pci-bus\r
          dev: virtio-blk-device, id ""\r
            drive = "d, \\"0\\""\r
            iothread-vq-mapping = <null>\r
      dev: e1000, id ""\r
        netdev = ""\r
"""


def test_a_tree() -> None:
    """Who carries whom, on which bus; only properties that somebody asks for."""
    host, proxy, function, nic = parse(TREE)
    assert (host.driver, host.id, host.parent, host.bus) == ("i440FX-pcihost", "", None, "System")
    assert host.properties == {}
    assert (proxy.id, proxy.parent, proxy.bus, proxy.address) == ("disk0", host, "PCI", "00:02.0")
    assert proxy.properties == {"ioeventfd": "true", "vectors": "3"}
    assert (function.parent, function.bus) == (proxy, "virtio-pci-bus")
    assert function.properties == {"drive": 'd, \\"0\\"', "iothread-vq-mapping": ""}
    assert list(function.ancestors()) == [proxy, host]
    assert (nic.parent, nic.get("mac", "netdev"), nic.get("mac")) == (host, "", "")


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_recordings(release: str, configuration: str) -> None:
    """Every device of the tree is found, and each but the bridge to all of them has a carrier."""
    text = load(release, configuration).human("info qtree")
    found = parse(text)
    assert len(found) == text.count("dev: ")
    assert {one.bus for one in found if one.parent is None} == {"System"}
    assert all(one.bus for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        'dev: orphan, id "x"',
        '      dev: deep, id ""\n  a = b',
        "bus: x\nbus: y\n  type",
        'bus: x\n  dev: , id ""\n  dev: a, id',
        "\0\x1b[31m\n \u202e = 1",
        " " * 100_000 + "bus: far",
    ],
)
def test_what_is_no_tree(text: str) -> None:
    """Nothing is made up, and nothing fails."""
    assert [one.driver for one in parse(text)] in ([], ["orphan"], ["deep"])


def test_a_hostile_tree() -> None:
    """Bounded in number, in names and in values."""
    device = '  dev: x, id "{}"\n    drive = "{}"\n    bus: b\n'.format("i" * 5000, "v" * 5000)
    found = parse("bus: b\n" + device * (MAX_DEVICES + 7))
    assert len(found) == MAX_DEVICES
    assert len(found[0].id) == len(found[0].properties["drive"]) == 128
    assert len(parse("bus: b\n" * 100_000 + device)) == 0


def test_values() -> None:
    """On, off, and small numbers; anything else is not known."""
    properties = {"a": "true", "b": "on", "c": "off", "d": "auto"}
    assert [flag(properties, name) for name in "abcde"] == [True, True, False, False, None]
    numbers = [number(text) for text in ("0", "17", "-1", "", "x", "9" * 10, "٣")]
    assert numbers == [0, 17, None, None, None, None, None]
