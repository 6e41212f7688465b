# SPDX-License-Identifier: Apache-2.0
"""What VMs can tell the time with as metrics: from recorded QEMUs and from agents."""

from dataclasses import replace

import pytest

from kvmexporter.addressing import VmAddressing
from kvmexporter.agents import GuestAgents
from kvmexporter.collector import Cycle
from kvmexporter.collectors.vm_time import VmTimeCollector
from kvmexporter.model.metrics import Value
from kvmexporter.model.vm_clocks import Rtc
from kvmexporter.sources.qemu import QemuFacts
from tests.unit.host import Host
from tests.unit.sources.agent_server import YEAR_NS, AgentServer, agent, instead
from tests.unit.test_agents import qemu

SECOND = 1_000_000_000
FEATURES = {"tsc-deadline": False, "invtsc": True, "hv-time": True}


class Watched:
    """A host with one VM, and the collector that looks at it."""

    def __init__(self, host: Host, agents: GuestAgents | None = None) -> None:
        self._sources = replace(host.sources(), agents=agents)
        self._collector = VmTimeCollector(self._sources)

    def look(self, facts: QemuFacts | None) -> tuple[dict[tuple[str, ...], Value], list[str]]:
        """(metric, labels...) → value, and the rules of the findings."""
        cycle = Cycle(self._sources)
        cycle.addressing = {vm.id: VmAddressing((), (), facts, None, "") for vm in cycle.vms}
        sample = self._collector.sample(cycle)
        series = {
            (family.metric.name.removeprefix("kvm_vm_"), *one.labels): one.value
            for family in self._collector.families(sample)
            for one in family.samples
        }
        return series, [finding.rule for finding in self._collector.findings(sample)]


def facts(rtc: Rtc | None = None) -> QemuFacts:
    return QemuFacts("10.0", (), (), cpu_features=FEATURES, rtc=rtc)


def test_a_vm_of_which_nothing_is_known(host: Host) -> None:
    """No series, no advice."""
    host.tree.process(10, ["/usr/bin/qemu-system-x86_64", "-name", "web"])
    assert Watched(host).look(None) == ({}, [])


def test_features(host: Host) -> None:
    """One series each, and advice on what is hidden."""
    host.tree.process(10, ["/usr/bin/qemu-system-x86_64", "-name", "web"])
    series, rules = Watched(host).look(facts())
    assert series == {
        ("cpu_feature", "web", "tsc-deadline"): 0,
        ("cpu_feature", "web", "invtsc"): 1,
        ("cpu_feature", "web", "hv-time"): 1,
    }
    assert rules == ["vm-tsc-deadline-hidden"]


def test_the_rtc_is_set(host: Host) -> None:
    """A change is counted once, whatever is scraped meanwhile, and the reading's error is none."""
    host.tree.process(10, ["/usr/bin/qemu-system-x86_64", "-name", "web"])
    watched = Watched(host)
    half = SECOND // 2
    seen = []
    for offset in (0, 0, 9 * half // 10, 3600 * SECOND, 3600 * SECOND, 3600 * SECOND, -SECOND):
        series, _ = watched.look(facts(Rtc(offset, half)))
        assert series["rtc_offset_seconds", "web"] == offset / SECOND
        seen.append(series["rtc_changes_total", "web"])
    assert seen == [0, 0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize("offset", [5 * SECOND, -YEAR_NS])
def test_agents(host: Host, offset: int) -> None:
    """An agent's word is shown with its uncertainty; one that is a year off, too."""
    host.tree.process(10, [*qemu("/agent"), "-name", "web"])
    (host.tree.root / "10" / "root").mkdir()
    sources = host.sources()
    agents = GuestAgents(sources.inventory, host.tree.root)
    with AgentServer(host.tree.root / "10" / "root" / "agent", agent(offset)):
        agents.start()
        agents.settle(20)
        series, rules = Watched(host, agents).look(None)
        agents.close()
    uncertainty = series["clock_offset_uncertainty_seconds", "web", "guest-agent"]
    assert isinstance(uncertainty, float)
    assert 0 < uncertainty < 1
    shown = series["clock_offset_seconds", "web", "guest-agent"]
    assert shown == pytest.approx(offset / SECOND, abs=uncertainty + 1e-6)
    assert series["guest_agent_answers", "web"] == 1
    assert rules == ["vm-clock-offset"]


def test_an_agent_that_says_nonsense(host: Host) -> None:
    """No offset, and the state is clear."""
    host.tree.process(10, [*qemu("/agent"), "-name", "web"])
    (host.tree.root / "10" / "root").mkdir()
    agents = GuestAgents(host.sources().inventory, host.tree.root)
    path = host.tree.root / "10" / "root" / "agent"
    with AgentServer(path, instead("guest-get-time", b'{"return": 9999999999999999999}\n')):
        agents.start()
        agents.settle(20)
        watched = Watched(host, agents)
        assert watched.look(None) == ({("guest_agent_answers", "web"): 0}, [])
        agents.close()
