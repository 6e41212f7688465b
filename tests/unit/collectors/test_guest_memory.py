# SPDX-License-Identifier: Apache-2.0
"""A guest's own memory as metrics."""

from dataclasses import replace

import pytest

from kvmexporter.collectors.guest_memory import GuestMemoryCollector
from kvmexporter.errors import Unavailable
from kvmexporter.model.role import Role
from kvmexporter.sources.system import System
from tests.unit.host import Host
from tests.unit.model.test_guest_memory import BUDDYINFO, PSI, VMSTAT


def collector(host: Host, guest: bool = True) -> GuestMemoryCollector:
    system = System(Role(False, guest, "a test"))
    return GuestMemoryCollector(replace(host.sources(), system=system))


def series(host: Host, made: GuestMemoryCollector) -> dict[tuple[str, ...], object]:
    families = made.families(made.sample(host.cycle()))
    return {
        (family.metric.name.removeprefix("kvm_guest_"), *one.labels): one.value
        for family in families
        for one in family.samples
    }


def test_everything(host: Host) -> None:
    """One series of each."""
    (host.tree.root / "vmstat").write_text(VMSTAT)
    (host.tree.root / "buddyinfo").write_text(BUDDYINFO)
    (host.tree.root / "pressure").mkdir()
    (host.tree.root / "pressure/memory").write_text(PSI)
    found = series(host, collector(host))
    page = host.tree.procfs.page_size
    ratio = found.pop(("memory_fragmentation_ratio",))
    assert ratio == pytest.approx(1425 / (1425 + 18944))
    assert found == {
        ("balloon_pages_total", "inflate"): 200,
        ("balloon_pages_total", "deflate"): 72,
        ("balloon_pages_total", "migrate"): 3,
        ("swap_in_bytes_total",): 7 * page,
        ("swap_out_bytes_total",): 11 * page,
        ("oom_kills_total",): 13,
        ("memory_pressure_seconds_total", "some"): 9.396637,
        ("memory_pressure_seconds_total", "full"): 6.449249,
    }


def test_a_kernel_that_tells_nothing(host: Host) -> None:
    """Nothing is made up."""
    assert series(host, collector(host)) == {}


def test_findings(host: Host) -> None:
    """Tasks wait while the balloon holds memory."""
    (host.tree.root / "vmstat").write_text(VMSTAT)
    (host.tree.root / "pressure").mkdir()
    (host.tree.root / "pressure/memory").write_text(PSI)
    made = collector(host)
    found = made.findings(made.sample(host.cycle()))
    assert [one.rule for one in found] == ["guest-memory-pressure"]


def test_no_guest(host: Host) -> None:
    """Said with the reason."""
    with pytest.raises(Unavailable, match="no KVM guest"):
        collector(host, guest=False).sample(host.cycle())
