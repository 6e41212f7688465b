# SPDX-License-Identifier: Apache-2.0
"""What a visit finds at recorded QEMUs."""

from pathlib import Path

import pytest

from kvmexporter.sources.qmp import QmpError
from tests.unit.model.record import command_key
from tests.unit.model.recorded import NAMES, load
from tests.unit.sources.changing_qemu import LINUX, ChangingQemu
from tests.unit.sources.qmp_server import replayed


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_recordings(tmp_path: Path, release: str, configuration: str) -> None:
    """Version, windows, virtio devices and KVM's counters of each."""
    recording = load(release, configuration)
    facts = replayed(tmp_path / "qmp.sock", recording)
    assert facts.version.startswith(f"{release}.")
    assert facts.windows == recording.windows()
    assert {one.path for one in facts.virtio} == {one.path for one in recording.virtio()}
    assert facts.stats


@pytest.mark.parametrize(("seconds", "stale"), [(60.0, 9), (200.0, 9), (20.0, 29), (0.0, None)])
def test_what_does_not_show(tmp_path: Path, seconds: float, stale: int | None) -> None:
    """Is found by the tenth visit, or by the first after ten minutes, whichever is later."""
    disk = "/machine/peripheral/disk0/virtio-backend"
    thread = command_key("qom-get", {"path": disk, "property": "iothread"})
    qemu = ChangingQemu(tmp_path / "qmp.sock", LINUX)
    with qemu.server:
        known, all_asked = qemu.visit()
        # As of a disk that was unplugged and came back with an I/O thread.
        qemu.replies[thread] = {"return": "/objects/io"}
        backends, whole = [], []
        for _ in range(35):
            qemu.now += seconds
            known, asked = qemu.visit(known)
            backends += [one.backend for one in known.posture.devices if one.name == "disk0"]
            whole.append(len(asked) > len(all_asked) / 2)
    assert backends[:stale] == ["qemu"] * len(backends[:stale])
    if stale is None:
        assert not any(whole)
        return
    assert backends[stale:] == ["iothread"] * (35 - stale)
    assert [number for number, one in enumerate(whole) if one] == list(range(stale, 35, stale + 1))


def test_a_failed_visit_changes_nothing_that_is_known(tmp_path: Path) -> None:
    """The next builds on what the last good one found."""
    qemu = ChangingQemu(tmp_path / "qmp.sock", LINUX)
    with qemu.server:
        known, _ = qemu.visit()
        del qemu.replies["query-pci"]
        with pytest.raises(QmpError):
            qemu.visit(known)
        qemu.becomes(LINUX)
        again, asked = qemu.visit(known)
    assert again.windows == known.windows
    assert "query-pci" in asked
    assert len(asked) < 40
