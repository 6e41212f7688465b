# SPDX-License-Identifier: Apache-2.0
"""Asking agents in the background: how often, and what becomes of those that do not answer."""

import time
from pathlib import Path

from kvmexporter.agents import INTERVAL_SECONDS, GuestAgents
from kvmexporter.inventory import Inventory
from kvmexporter.model.vm import VmId
from kvmexporter.model.vm_clocks import AgentTime
from kvmexporter.sources.guestagent import AgentError, Door
from tests.unit.host import Clock
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.sources.agent_server import AgentServer, agent
from tests.waiting import eventually

TOLD = AgentTime(17, 5)


def qemu(socket: str) -> list[str]:
    port = "virtserialport,chardev=agent0,name=org.qemu.guest_agent.0"
    return [
        "/usr/bin/qemu-system-x86_64",
        *("-chardev", f"socket,id=agent0,path={socket},server=on", "-device", port),
    ]


class Asked:
    """Notes who is asked, and when; those named fail."""

    def __init__(self, clock: Clock, *failing: str) -> None:
        self.times: dict[str, list[float]] = {}
        self.failing = set(failing)
        self._clock = clock

    async def __call__(self, socket: Door, deadline_seconds: float) -> AgentTime:
        assert isinstance(socket, Path)
        assert 0 < deadline_seconds <= 10
        name = socket.name
        self.times.setdefault(name, []).append(self._clock())
        if name in self.failing:
            raise AgentError("it hung up")
        return TOLD


def inventory(tree: ProcfsTree) -> Inventory:
    made = Inventory(tree.procfs)
    made.refresh()
    return made


def test_a_real_conversation(tree: ProcfsTree) -> None:
    """Through the VM's own file system, in the background."""
    tree.process(10, qemu("/run/agent"))
    (tree.root / "10" / "root" / "run").mkdir(parents=True)
    agents = GuestAgents(inventory(tree), tree.root)
    with AgentServer(tree.root / "10" / "root" / "run" / "agent", agent(5_000_000_000)) as server:
        agents.start()
        agents.settle(20)
        (told,) = agents.times().values()
        agents.close()
    assert abs(told.offset_ns - 5_000_000_000) <= told.uncertainty_ns
    assert server.connections == 1
    assert agents.troubles() == {}


def test_not_more_often_than_every_thirty_seconds(tree: ProcfsTree) -> None:
    """However much time passes, and each VM by itself."""
    clock = Clock()
    asked = Asked(clock)
    tree.process(10, qemu("/run/web"))
    tree.process(11, qemu("/run/db"))
    tree.process(12, ["/usr/bin/qemu-system-x86_64"])
    agents = GuestAgents(inventory(tree), tree.root, asked, clock)
    agents.start()
    for _ in range(3):
        eventually(lambda: all(len(asked.times.get(name, ())) > 0 for name in ("web", "db")))
        seen = len(asked.times["web"])
        clock.now += INTERVAL_SECONDS - 1
        time.sleep(0.6)
        assert len(asked.times["web"]) == seen
        clock.now += 1
        eventually(lambda seen=seen: len(asked.times["web"]) == seen + 1)  # type: ignore[misc]
    agents.close()
    assert set(asked.times) == {"web", "db"}


def test_one_that_fails_is_asked_less_and_less(tree: ProcfsTree) -> None:
    """Twice as long after each failure, and the others as often as before."""
    clock = Clock()
    asked = Asked(clock, "web")
    tree.process(10, qemu("/run/web"))
    agents = GuestAgents(inventory(tree), tree.root, asked, clock)
    agents.start()
    for expected in (60.0, 120.0, 240.0):
        seen = len(asked.times.get("web", ()))
        eventually(lambda seen=seen: len(asked.times.get("web", ())) == max(seen, 1))  # type: ignore[misc]
        eventually(lambda: list(agents.troubles().values()) == ["it hung up"])
        seen = len(asked.times["web"])
        clock.now += expected - 1
        time.sleep(0.6)
        assert len(asked.times["web"]) == seen
        clock.now += 2
        eventually(lambda seen=seen: len(asked.times["web"]) == seen + 1)  # type: ignore[misc]
    agents.close()
    assert agents.times() == {}


def test_what_is_old_is_not_told(tree: ProcfsTree) -> None:
    """A guest that fell silent has no offset any more."""
    clock = Clock()
    asked = Asked(clock)
    tree.process(10, qemu("/run/web"))
    agents = GuestAgents(inventory(tree), tree.root, asked, clock)
    agents.start()
    agents.settle(20)
    assert list(agents.times().values()) == [TOLD]
    asked.failing.add("web")
    clock.now += 121
    assert agents.times() == {}
    agents.close()


def test_a_vm_that_is_gone(tree: ProcfsTree) -> None:
    """It is forgotten."""
    clock = Clock(step=1.0)
    tree.process(10, qemu("/run/web"))
    agents = GuestAgents(inventory(tree), tree.root, Asked(clock), clock)
    agents.start()
    agents.settle(20)
    (identity,) = agents.times()
    assert isinstance(identity, VmId)
    tree.end(10)
    eventually(lambda: agents.times() == {})
    agents.close()
