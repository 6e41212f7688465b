# SPDX-License-Identifier: Apache-2.0
"""The list of collectors."""

from kvmexporter.registry import COLLECTORS
from tests.unit.host import without_bpf
from tests.unit.procfs_tree import ProcfsTree


def test_every_collector_can_be_built(tree: ProcfsTree) -> None:
    """From the sources alone, before anything was read."""
    sources = without_bpf(tree)
    assert [kind(sources).name for kind in COLLECTORS] == [kind.name for kind in COLLECTORS]


def test_the_vms_come_first() -> None:
    """Whoever reads a scrape from the top learns first what it is about."""
    assert COLLECTORS[0].name == "vms"
