# SPDX-License-Identifier: Apache-2.0
"""What QEMU's address maps say, as recorded of three releases and as nobody should write them."""

import random
import re
import time

import pytest

from kvmexporter.model.mtree import MAX_LINE_LENGTH, MAX_LINES, MAX_REGIONS, Region, parse
from tests.unit.model.recorded import NAMES, load

_PORTS = 'FlatView #0\n AS "I/O", root: io\n'
_SERIAL = "  00000000000003f8-00000000000003ff (prio 0, i/o): serial"


def line(text: str) -> tuple[Region, ...]:
    """What one line says, in the ports' space."""
    return parse(_PORTS + text + "\n")


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_every_exiting_line_of_a_recording_is_a_region(release: str, configuration: str) -> None:
    """Those of both spaces and no other, each as it is written."""
    expected = []
    space = ""
    for text in load(release, configuration).mtree().splitlines():
        if text.startswith("FlatView"):
            space = ""
        elif text.startswith(' AS "I/O"'):
            space = "port"
        elif text.startswith(' AS "memory"'):
            space = "memory"
        elif space and re.search(r"\(prio -?\d+, (i/o|romd)\)", text):
            first, last = text.split()[0].split("-")
            expected.append((space, int(first, 16), int(last, 16)))
    found = parse(load(release, configuration).mtree())
    assert [(one.space, one.first, one.last) for one in found] == expected
    assert {one.space for one in found} == {"port", "memory"}


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_names_are_without_what_follows_them(release: str, configuration: str) -> None:
    """Neither an offset nor an owner is part of a region's name."""
    for region in load(release, configuration).regions():
        assert region.name
        assert "{" not in region.name
        assert "@" not in region.name


@pytest.mark.parametrize(
    ("text", "name", "offset", "owner"),
    [
        (_SERIAL, "serial", 0, ""),
        (f"{_SERIAL} @0000000000000010", "serial", 16, ""),
        (f"{_SERIAL} owner:{{dev id=com2}}", "serial", 0, "/machine/peripheral/com2"),
        (f"{_SERIAL} owner:{{dev path=/machine/unattached/device[7]}}", "serial", 0,
         "/machine/unattached/device[7]"),
        (f"{_SERIAL} @0000000000000001 owner:{{obj path=/machine}}", "serial", 1, "/machine"),
        (f"{_SERIAL} parent:{{obj path=/machine/unattached}}", "serial", 0, ""),
        (f"{_SERIAL} owner:{{obj type=memory-region-portio-list}} parent:{{dev id=x}}", "serial",
         0, "/machine/peripheral/x"),
        (f"{_SERIAL} owner:{{obj type=memory-region-portio-list}}", "serial", 0, ""),
        (f"{_SERIAL} owner:{{dev id=}}", "serial", 0, ""),
        (f"{_SERIAL} KVM", "serial", 0, ""),
        (f"{_SERIAL.removesuffix('serial')}usb3 port #1 owner:{{dev id=usb}}", "usb3 port #1", 0,
         "/machine/peripheral/usb"),
        (f"{_SERIAL}\r", "serial", 0, ""),
    ],
)  # fmt: skip
def test_forms_of_a_line(text: str, name: str, offset: int, owner: str) -> None:
    """With and without an offset, an owner, a parent and an accelerator."""
    assert line(text) == (Region("port", 0x3F8, 0x3FF, name, offset, owner),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  0-",
        "\0",
        _SERIAL.lstrip(),
        _SERIAL.replace("i/o", "ram"),
        _SERIAL.replace("i/o", "rom"),
        _SERIAL.replace("i/o", "container"),
        _SERIAL.replace("00000000000003ff", "00000000000003f7"),
        _SERIAL.replace("00000000000003f8", "00000000000000003f8"),
        _SERIAL.replace("3f8", "3F8"),
        _SERIAL.replace("prio 0", "prio"),
        "  -1-1 (prio 0, i/o): serial",
        "  No rendered FlatView",
        _SERIAL + "x" * MAX_LINE_LENGTH,
    ],
)
def test_what_is_no_region(text: str) -> None:
    """RAM is not left guest mode for, and garbage is passed over."""
    assert line(text) == ()
    assert line(f"{text}\n{_SERIAL}")[-1:] == (Region("port", 0x3F8, 0x3FF, "serial", 0, ""),)


@pytest.mark.parametrize(
    "header",
    [
        "",
        'FlatView #0\n AS "e1000", root: bus master container\n',
        'FlatView #0\n AS "I/O", root: io\nFlatView #1\n AS "virtio-pci-cfg-mem-as", root: x\n',
    ],
)
def test_other_address_spaces(header: str) -> None:
    """What devices see says nothing of what guests touch."""
    assert parse(f"{header}{_SERIAL}\n") == ()


def test_sizes_are_bounded() -> None:
    """Lines, their length, and what comes of them."""
    assert len(parse(_PORTS + f"{_SERIAL}\n" * 100_000)) == MAX_REGIONS
    assert parse(_PORTS + "\n" * MAX_LINES + _SERIAL) == ()
    (region,) = line(_SERIAL + "y" * 500)
    assert len(region.name) == 128


@pytest.mark.parametrize(
    "piece",
    [
        " owner:{dev id=",
        " parent:{dev id=",
        " owner:{dev id=} parent:{dev id=",
        " @0",
        " x",
        " owner:{dev id=}",
        "  0-0 (prio 0, i/o): ",
    ],
)
@pytest.mark.parametrize("newlines", [False, True])
def test_hostile_text_costs_no_time(piece: str, newlines: bool) -> None:
    """Four MiB that nearly match, in one line or many, hold nobody up."""
    text = f"{_SERIAL}{piece * 60}" + ("\n" if newlines else "")
    text = _PORTS + text * ((4 << 20) // len(text))
    start = time.process_time()
    assert len(parse(text)) <= MAX_REGIONS
    assert time.process_time() - start < 2


def test_garbage_never_raises() -> None:
    """Recorded text with pieces of it anywhere, and bytes of no meaning."""
    text = load(*NAMES[0]).mtree()[:20_000]
    chance = random.Random(20_011)
    for _ in range(200):
        cut = [text[start : start + 40] for start in chance.choices(range(len(text)), k=50)]
        noise = "".join(map(chr, chance.choices(range(0x3000), k=50)))
        for region in parse(text[: chance.randrange(len(text))] + noise + "".join(cut)):
            assert 0 <= region.first <= region.last < 1 << 64
