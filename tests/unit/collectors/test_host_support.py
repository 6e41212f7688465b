# SPDX-License-Identifier: Apache-2.0
"""What a host has for VMs, in trees of files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.collectors.host_support import HostSupportCollector
from kvmexporter.errors import Unavailable
from kvmexporter.model.role import Role
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.system import System
from tests.unit.clock_tree import ClockTree
from tests.unit.host import Host

HOST = Role(host=True, guest=False, because="of this test")
GUEST = Role(host=False, guest=True, because="of this test")

Look = Callable[[], tuple[dict[str, int], dict[str, str], list[str]]]


@pytest.fixture
def clocks(tmp_path: Path) -> ClockTree:
    """An AMD host with everything."""
    clocks = ClockTree(tmp_path)
    clocks.cpuinfo("fpu lm svm")
    for device in ("kvm", "vhost-net"):
        (clocks.dev / device).touch()
    for module in ("kvm", "kvm_amd", "vhost_net", "tun"):
        clocks.attribute(f"module/{module}/initstate", "live")
    clocks.attribute("module/kvm_amd/parameters/npt", "Y")
    clocks.attribute("module/kvm_amd/parameters/nested", "1")
    clocks.attribute("module/virtio_pci/parameters/force_legacy", "N")
    release = clocks.proc / "sys/kernel/osrelease"
    release.parent.mkdir(parents=True)
    release.write_text("6.12\n")
    return clocks


@pytest.fixture
def look(host: Host, clocks: ClockTree, tmp_path: Path) -> Look:
    """Feature → value, driver → state, the rules of the findings."""
    system = System(role=HOST, sysfs=clocks.sysfs, devices=clocks.dev, boot=tmp_path)
    sources = replace(host.sources(), procfs=Procfs(clocks.proc), system=system)

    def looked() -> tuple[dict[str, int], dict[str, str], list[str]]:
        collector = HostSupportCollector(sources)
        sample = collector.sample(host.cycle())
        features, drivers = collector.families(sample)
        return (
            {given.labels[0]: int(str(given.value)) for given in features.samples},
            {given.labels[0]: given.labels[1] for given in drivers.samples},
            [finding.rule for finding in collector.findings(sample)],
        )

    return looked


def test_a_guest(host: Host) -> None:
    """Is no host."""
    sources = replace(host.sources(), system=System(role=GUEST))
    with pytest.raises(Unavailable, match="no KVM host"):
        HostSupportCollector(sources).sample(host.cycle())


def test_a_host_with_everything(look: Look, tmp_path: Path) -> None:
    """Loaded, built in, there to be loaded, or not at all."""
    config = "CONFIG_KVM_INTEL=m\nCONFIG_VIRTIO=y\nCONFIG_VFIO_PCI=m\n"
    (tmp_path / "config-6.12").write_text(config)
    features, drivers, rules = look()
    assert features == {"vmx": 0, "svm": 1, "nested_paging": 1, "nested": 1}
    states = {
        **dict.fromkeys(("kvm", "kvm_amd", "vhost_net", "tun"), "module"),
        **dict.fromkeys(("virtio", "virtio_pci"), "builtin"),
        **dict.fromkeys(("kvm_intel", "vfio_pci"), "available"),
    }
    assert {driver: state for driver, state in drivers.items() if state != "absent"} == states
    assert len(drivers) == 13
    assert rules == []


def test_a_host_that_does_not_say(look: Look) -> None:
    """Without a configuration, what does not show in sysfs is unknown."""
    _, drivers, _ = look()
    assert drivers["tun"] == "module"
    assert drivers["virtio_net"] == drivers["kvm_intel"] == "unknown"


def test_a_host_that_lacks_it_all(look: Look, clocks: ClockTree) -> None:
    """Each of it is told."""
    clocks.cpuinfo("fpu lm")
    clocks.attribute("module/kvm_amd/parameters/npt", "N")
    for device in ("kvm", "vhost-net"):
        (clocks.dev / device).unlink()
    features, _, rules = look()
    assert features == {"vmx": 0, "svm": 0, "nested_paging": 0, "nested": 1}
    assert rules == [
        "host-without-virtualization",
        "host-without-nested-paging",
        "host-without-vhost-net",
    ]


def test_another_architecture(look: Look, clocks: ClockTree) -> None:
    """No word on what only x86 has."""
    clocks.cpuinfo("fp asimd")
    features, _, rules = look()
    assert "vmx" not in features
    assert rules == []
