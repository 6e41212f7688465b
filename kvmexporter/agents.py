# SPDX-License-Identifier: Apache-2.0
"""Asks the guests' agents for their time, in the background and seldom.

A thread of its own asks each VM every 30 seconds, in four short messages; one whose agent does not
answer is left alone for longer and longer. Every conversation has a deadline, and none delays
another or a scrape. libvirt's own channels are left to libvirt.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import socket as Socket  # noqa: N812 - as in guestagent.py

from kvmexporter.errors import KvmExporterError
from kvmexporter.inventory import Inventory
from kvmexporter.model.vm import Vm, VmId
from kvmexporter.model.vm_clocks import AgentTime
from kvmexporter.rounds import Conversation, Rounds
from kvmexporter.sources.guestagent import AgentSockets, Door

_log = logging.getLogger(__name__)

INTERVAL_SECONDS = 30.0
_DEADLINE_SECONDS = 5.0
_AT_ONCE = 8
_LOOK_SECONDS = 5.0  # at every VM, whether it is still there
_MAX_BACKOFF_SECONDS = 600.0
_MAX_DOUBLINGS = 8

# A guest's clock says little about what it was this long ago.
_OUTDATED_SECONDS = 120.0

Ask = Callable[[Door, float], Awaitable[AgentTime]]


@dataclass(slots=True)
class _State:
    vm: Vm
    time: AgentTime | None = None
    asked: float = 0.0
    trouble: str = ""
    due: float = 0.0
    failures: int = 0
    busy: bool = False


class GuestAgents:
    """Asks in the background; its answers may be read from any thread.

    Args:
        inventory: which VMs there are.
        procfs: where a VM's own file system is seen (`PID/root`).
        ask: how an agent is asked.
        monotonic: the clock, in seconds.
        connect: makes the connection to the agent of a process's guest, where this process may
            not reach its socket itself.
    """

    def __init__(
        self,
        inventory: Inventory,
        procfs: Path = Path("/proc"),
        ask: Ask | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        connect: Callable[[int], Socket] | None = None,
    ) -> None:
        self._inventory = inventory
        self._procfs = procfs
        self._ask = ask or AgentSockets().ask_time
        self._monotonic = monotonic
        self._connect = connect
        self._lock = threading.Lock()
        self._states: dict[VmId, _State] = {}
        self._looked_at_vms = -math.inf
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._rounds = Rounds("agents", self._conversations)

    def start(self) -> None:
        """Begin."""
        self._rounds.start()

    def close(self) -> None:
        """End; conversations under way are given up."""
        self._rounds.close()

    def times(self) -> Mapping[VmId, AgentTime]:
        """What each guest's clock was compared with the host's, if that is not long ago."""
        oldest = self._monotonic() - _OUTDATED_SECONDS
        with self._lock:
            return {
                identity: state.time
                for identity, state in self._states.items()
                if state.time and state.asked >= oldest
            }

    def troubles(self) -> Mapping[VmId, str]:
        """Why the last question to an agent had no answer, of those where it had none."""
        with self._lock:
            return {
                identity: state.trouble for identity, state in self._states.items() if state.trouble
            }

    def settle(self, timeout: float) -> None:
        """Wait until every agent has been asked once, at most this many seconds."""
        deadline = self._monotonic() + timeout
        while self._monotonic() < deadline:
            wanted = {vm.id for vm in self._inventory.vms() if vm.agent_socket}
            with self._lock:
                asked = {one for one, state in self._states.items() if state.due and not state.busy}
            if wanted <= asked:
                return
            self._rounds.pause(0.02)

    def _conversations(self) -> Iterator[Conversation]:
        for state in self._due():
            state.busy = True
            yield self._converse(state)

    def _due(self) -> list[_State]:
        """The VMs to ask now; those that are gone are forgotten."""
        now = self._monotonic()
        look = now - self._looked_at_vms >= _LOOK_SECONDS
        if look:
            self._looked_at_vms = now
        vms = {vm.id: vm for vm in self._inventory.vms(look=look) if vm.agent_socket}
        with self._lock:
            for identity in [identity for identity in self._states if identity not in vms]:
                del self._states[identity]
            for identity, vm in vms.items():
                self._states.setdefault(identity, _State(vm))
            return [state for state in self._states.values() if not state.busy and now >= state.due]

    async def _converse(self, state: _State) -> None:
        try:
            async with self._at_once:
                told, trouble = None, ""
                try:
                    told = await self._ask(await self._door(state.vm), _DEADLINE_SECONDS)
                except KvmExporterError as err:
                    trouble = str(err)
                except Exception as err:  # noqa: BLE001 - one VM must not cost the others
                    _log.exception("asking an agent failed", extra={"vm": state.vm.name})
                    trouble = type(err).__name__
                with self._lock:
                    self._note(state, told, trouble)
        finally:
            state.busy = False

    def _note(self, state: _State, told: AgentTime | None, trouble: str) -> None:
        now = self._monotonic()
        if trouble and trouble != state.trouble:
            _log.warning("agent not asked", extra={"vm": state.vm.name, "reason": trouble})
        state.trouble = trouble
        state.failures = state.failures + 1 if trouble else 0
        wait = INTERVAL_SECONDS * 2 ** min(state.failures, _MAX_DOUBLINGS)
        state.due = now + min(wait, _MAX_BACKOFF_SECONDS)
        if told:
            state.time, state.asked = told, now

    async def _door(self, vm: Vm) -> Door:
        """The agent's socket as this process sees it, or a connection to it."""
        if self._connect:
            return await asyncio.to_thread(self._connect, vm.id.pid)
        base = "root" if vm.agent_socket.startswith("/") else "cwd"
        return self._procfs / str(vm.id.pid) / base / vm.agent_socket.lstrip("/")
