# SPDX-License-Identifier: Apache-2.0
"""Devices as recorded QEMUs tell them, and that asking ends no VM."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from kvmexporter.model.devices import Kicks
from kvmexporter.sources.qemu import Visitor
from kvmexporter.sources.qmp import QmpError
from tests.unit.model.recorded import NAMES, RELEASES, load
from tests.unit.sources.qmp_server import QmpServer, instead, replayed, visit, with_value

PC = load("7.2", "pc")
Q35 = load("11.1", "q35")


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """Where a server may be."""
    return tmp_path / "qmp.sock"


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_no_vm_is_ended(socket: Path, release: str, configuration: str) -> None:
    """QEMU 11.1 aborts when asked for a virtio device's status; the others are asked."""
    recording = load(release, configuration)
    with QmpServer(socket, recording) as server:
        visit(socket)
    assert not server.aborted
    asked = {key.partition(" ")[0] for key in server.asked}
    assert ("x-query-virtio-status" in asked) == (release != "11.1")
    assert bool(recording.fatal) == (release == "11.1")


def test_which_builds_are_safe_is_asked_once(tmp_path: Path) -> None:
    """The schema is large; a build's answer holds for all its VMs, and for it alone."""
    visitor = Visitor()
    counts = {}
    for number, (release, configuration) in enumerate(
        [("10.0", "pc"), ("10.0", "q35"), ("11.1", "pc"), ("11.1", "q35"), ("7.2", "pc")]
    ):
        path = tmp_path / str(number)
        with QmpServer(path, load(release, configuration)) as server:
            asyncio.run(visitor.visit(path, 10.0))
        assert not server.aborted
        counts[release, configuration] = server.asked.count("query-qmp-schema")
    assert list(counts.values()) == [1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    "schema",
    [
        [],
        [{"name": "x-query-virtio-status"}],
        [{"name": "x-query-virtio-status", "ret-type": "1"}],
        [{"name": "x-query-virtio-status", "ret-type": "1"}, {"name": "1"}],
        [
            {"name": "x-query-virtio-status", "ret-type": "1"},
            {"name": "1", "members": [{"name": "vhost-dev", "type": "2"}]},
        ],
        [
            {"name": "x-query-virtio-status", "ret-type": "1"},
            {"name": "1", "members": [{"name": "vhost-dev", "type": "2"},
                                      {"name": "backend-features", "type": "3"}]},
            {"name": "2", "members": [{"name": "n", "type": "int"}]},
        ],
    ],
)  # fmt: skip
def test_a_schema_that_does_not_show_it_safe(socket: Path, schema: object) -> None:
    """Nobody asks then."""
    with QmpServer(socket, Q35, instead("query-qmp-schema", schema)) as server:
        visit(socket)
    assert not server.aborted


@pytest.mark.parametrize("release", RELEASES)
def test_virtio(tmp_path: Path, release: str) -> None:
    """Names, queues, sizes, features, and who serves the queues."""
    facts = replayed(tmp_path / "pc", load(release, "pc"))
    found = {one.path: one for one in facts.virtio}
    disk, nic = found["/machine/peripheral/disk0"], found["/machine/peripheral/nic0"]
    assert (disk.name, disk.queues, disk.vhost) == ("virtio-blk", 2, False)
    assert (nic.name, nic.queues, nic.vhost) == ("virtio-net", 3, False)
    assert set(nic.queue_sizes) == {0, 1, 2}
    assert all(0 < size <= 1024 for size in nic.queue_sizes.values())
    if release == "11.1":
        assert nic.features == ()
    else:
        assert "F_VERSION_1" in nic.features
        assert all(len(feature) < 60 and ":" not in feature for feature in nic.features)
    for configuration, device in (("pc-vhost", "nic0"), ("q35-vhost-user", "disk0")):
        facts = replayed(tmp_path / configuration, load(release, configuration))
        (one,) = facts.virtio
        assert (one.path, one.vhost) == (f"/machine/peripheral/{device}", True)


@pytest.mark.parametrize("release", RELEASES)
def test_virtio_mmio(socket: Path, release: str) -> None:
    """A device without a proxy of its own is found at its transport."""
    facts = replayed(socket, load(release, "microvm"))
    transports = {one.path: one.transport for one in facts.virtio}
    assert transports["/machine/peripheral/disk0"] == "/machine/unattached/device[29]"
    assert len(set(transports.values())) == 6
    assert {one.target.device for one in facts.windows} >= {"disk0", "nic0", "rng0"}


def test_more_queues_than_are_asked_for(socket: Path) -> None:
    """Where QEMU cannot be asked how many there are, the last counter stands for the rest."""

    def endless(key: str, line: bytes) -> Iterable[bytes]:
        if key.startswith("x-query-virtio-queue-status "):
            line = with_value(line, {"vring-num": 8})
        yield line

    with QmpServer(socket, load("11.1", "pc-vhost"), endless):
        facts = visit(socket)
    (window,) = [one for one in facts.windows if one.kicks and one.space == "memory"]
    assert window.kicks == Kicks("nic0", 16, 4, more=True)


def test_a_guest_that_moves_a_device_meanwhile(socket: Path) -> None:
    """Half of the one and half of the other is worse than nothing."""
    answers = iter([PC, load("7.2", "pc-unmapped")])

    def moving(key: str, line: bytes) -> Iterable[bytes]:
        if key == "query-pci":
            line = with_value(line, next(answers).value("query-pci"))
        yield line

    with QmpServer(socket, PC, moving), pytest.raises(QmpError, match="moves its PCI devices"):
        visit(socket)
