# SPDX-License-Identifier: Apache-2.0
"""KVM's own counters as recorded QEMUs tell them."""

from pathlib import Path

import pytest

from kvmexporter.sources.qemu_stats import MAX_STATS
from tests.unit.model.recorded import NAMES, load
from tests.unit.sources.qmp_server import replayed


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_recordings(tmp_path: Path, release: str, configuration: str) -> None:
    """The VM's, and those of its vCPUs where one has run; none without bound."""
    facts = replayed(tmp_path / "qmp.sock", load(release, configuration))
    assert facts.stats
    assert (facts.vcpu_stats["exits"] > 0) == (configuration != "pc-unmapped")
    assert len(facts.vcpu_stats) < MAX_STATS
