# SPDX-License-Identifier: Apache-2.0
"""What a visit finds at recorded QEMUs."""

from pathlib import Path

import pytest

from tests.unit.model.recorded import NAMES, load
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
