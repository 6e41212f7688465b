# SPDX-License-Identifier: Apache-2.0
"""How recorded QEMUs say their VMs are built."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from kvmexporter.model.posture import Posture
from tests.unit.model.recorded import NAMES, RELEASES, load
from tests.unit.sources.qmp_server import QmpServer, instead, replayed, visit, with_value

# Of this subject: three at once, the CPU's type, and up to three a disk.
MOST_COMMANDS = 5 + 3 * 6


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """Where a server may be."""
    return tmp_path / "qmp.sock"


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_recordings(socket: Path, release: str, configuration: str) -> None:
    """The same as from the replies alone, and which disks have an I/O thread."""
    recording = load(release, configuration)
    with QmpServer(socket, recording) as server:
        posture = visit(socket).posture
    assert posture.cpu_model == "qemu64"
    expected = {device.name for device in recording.posture().devices}
    assert {device.name for device in posture.devices} == expected
    asked = [
        key
        for key in server.asked
        if key in ("info qtree", "info network", "query-block", "query-cpus-fast")
        or '"property":"iothread"' in key
    ]
    assert 4 <= len(asked) <= MOST_COMMANDS


@pytest.mark.parametrize("release", RELEASES)
def test_iothreads(tmp_path: Path, release: str) -> None:
    """A disk's own, and a SCSI controller's; no other."""
    for configuration, threaded in (
        ("pc", {"virtio-blk-pci@00:04.0"}),
        ("q35", {"disk1", "scsi0", "scsi-hd@scsi-node"}),
        ("microvm", set()),
    ):
        posture = replayed(tmp_path / configuration, load(release, configuration)).posture
        found = {one.name for one in posture.devices if one.backend == "iothread"}
        assert found == threaded, configuration


def test_a_qemu_that_refuses(socket: Path) -> None:
    """What it does say is told all the same."""
    recording = load("10.0", "pc")
    kept = {key: reply for key, reply in recording.replies.items() if "qtree" not in key}
    object.__setattr__(recording, "replies", kept)
    try:
        posture = replayed(socket, recording).posture
    finally:
        load.cache_clear()
    assert posture == Posture("qemu64")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("query-cpus-fast", []),
        ("query-cpus-fast", [{"cpu-index": 0, "qom-path": "/machine/nowhere"}]),
        ("query-block", [{"device": "d", "qdev": "/nowhere", "inserted": None}]),
        ("info qtree", ""),
        ("info network", "\\ : index=,type=\n" * 1000),
    ],
)
def test_strange_answers(socket: Path, key: str, value: object) -> None:
    """Bounded, and no end of the visit."""
    with QmpServer(socket, load("10.0", "pc"), instead(key, value)):
        assert visit(socket).windows


def test_many_disks(socket: Path) -> None:
    """A VMM that names thousands is asked about 64."""
    block = {"device": "d", "qdev": "/machine/peripheral/d", "inserted": None}

    def many(key: str, line: bytes) -> Iterable[bytes]:
        yield with_value(line, [block] * 5000) if key == "query-block" else line

    with QmpServer(socket, load("10.0", "pc"), many) as server:
        visit(socket)
    asked = [key for key in server.asked if '"/machine/peripheral/d"' in key]
    assert len(asked) <= 2 * 64
