# SPDX-License-Identifier: Apache-2.0
"""Keeps what is known of each VM's devices fresh, and its region table in BPF right.

A thread of its own visits each VM: when it appears, when its guest has moved a PCI device
or started a virtio device, when it touches many addresses that nobody knows, and slowly
otherwise. In between, one that has a balloon is asked again for that alone, which is quick.
Every visit has a deadline, a VM that does not answer is left alone for longer
and longer, and none delays another or a scrape. A VM without a monitor of ours, or whose
monitor does not answer, gets the well-known legacy addresses.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from socket import socket as Socket  # noqa: N812 - a class, named like one

from kvmexporter.errors import KvmExporterError
from kvmexporter.inventory import Inventory
from kvmexporter.model.devices import Window
from kvmexporter.model.io import IoTarget
from kvmexporter.model.legacy import legacy_windows
from kvmexporter.model.regiontable import entries
from kvmexporter.model.vm import Vm, VmId
from kvmexporter.rounds import TICK_SECONDS, Conversation, Rounds
from kvmexporter.sources.qemu import QemuFacts, Visitor
from kvmexporter.sources.qemu_devices import Unsettled
from kvmexporter.sources.qmp import DomainMonitor, Door
from kvmexporter.sources.regions import Epoch, RegionTables
from kvmexporter.visits import Pace, VisitedVm

_log = logging.getLogger(__name__)

# Of a VMM that answers, however slowly; one that does not is left after a quarter of that.
_DEADLINE_SECONDS = 20.0
_SLOW_SECONDS = 5.0
_AT_ONCE = 8
_GIVEN_UP_AFTER = 3
_LOOK_SECONDS, _LOOK_SECONDS_EACH = 5.0, 0.03  # whichever is longer, for all VMs
_UNKNOWN_SECONDS = 5.0
_LOOKS_AT_ONCE = 64  # a tick
_SECONDS_EACH = 0.002  # between two times that all VMs are gone through

Visit = Callable[[Door, float, QemuFacts | None], Awaitable[QemuFacts]]
Glance = Callable[[Door, float, QemuFacts], Awaitable[QemuFacts]]


@dataclass(frozen=True, slots=True)
class VmAddressing:
    """What is known of one VM at one moment.

    Attributes:
        targets: I/O slot → what it stands for.
        kick_labels: doorbell counter → (device, queue).
        facts: what its VMM said last, None if it never has.
        visited: when that was, CLOCK_MONOTONIC seconds; None if never.
        trouble: why the last visit failed, "" if it did not.
        glanced: when it was asked last for what moves from second to second (the balloon).
    """

    targets: tuple[IoTarget, ...]
    kick_labels: tuple[tuple[str, str], ...]
    facts: QemuFacts | None
    visited: float | None
    trouble: str
    glanced: float | None = None


class Addressing:
    """Visits VMs in the background; its answers may be read from any thread.

    Args:
        inventory: which VMs there are.
        tables: the region tables in BPF, None without BPF.
        procfs: where a VM's own file system is seen (`PID/root`).
        visit: how a VMM is asked, given what it said last.
        glance: how it is asked again for what moves.
        glance_seconds: how often, while nothing does; None: as often as costs next to nothing.
        monotonic: the clock, in seconds.
        connect: makes the connection to a process's QMP socket of that number, where this
            process may not.
        through_libvirt: whether libvirt's domains are asked through libvirt's monitor.
    """

    def __init__(
        self,
        inventory: Inventory,
        tables: RegionTables | None,
        procfs: Path = Path("/proc"),
        visit: Visit | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        glance: Glance | None = None,
        glance_seconds: float | None = None,
        connect: Callable[[int, int], Socket] | None = None,
        through_libvirt: bool = False,
    ) -> None:
        self._connect = connect
        self._inventory = inventory
        self._tables = tables
        self._procfs = procfs
        visitor = Visitor()
        self._visit = visit or visitor.visit
        self._glance = glance or visitor.glance
        self._monotonic = monotonic
        self._through_libvirt = through_libvirt
        self._lock = threading.Lock()
        self._pace = Pace(glance_seconds)
        self._states: dict[VmId, VisitedVm] = {}
        self._looked_at_unknown = 0.0
        self._looked_at_vms = 0.0
        self._went_through = 0.0
        self._turn = 0
        self._ticked: float | None = None  # this thread's time when a round was over
        self._asking = 0.0  # what it has taken since, for asking
        # Those that did not answer last time, or slowly, queue up behind one another only.
        self._lanes = {late: asyncio.Semaphore(_AT_ONCE) for late in (False, True)}
        self._rounds = Rounds("addressing", self._conversations)

    def start(self) -> None:
        """Begin."""
        self._rounds.start()

    def close(self) -> None:
        """End; visits under way are given up."""
        self._rounds.close()

    def known(self) -> Mapping[VmId, VmAddressing]:
        """What is known of each VM."""
        with self._lock:
            return {
                identity: VmAddressing(
                    state.slots.targets(),
                    state.slots.kick_labels(),
                    state.facts,
                    state.visited,
                    state.trouble,
                    state.glanced,
                )
                for identity, state in self._states.items()
            }

    def unknown_addresses(self) -> Mapping[int, Mapping[tuple[str, int], int]]:
        """Process → (space, address) → accesses that belong to no known device: a sample."""
        with self._lock:
            return self._tables.unknown_addresses() if self._tables else {}

    def region_entries(self) -> int:
        """Entries in the region tables of all VMs."""
        with self._lock:
            return self._tables.entries() if self._tables else 0

    def settle(self, timeout: float) -> None:
        """Wait until every VM has been visited once, at most this many seconds."""
        deadline = self._monotonic() + timeout
        while self._monotonic() < deadline:
            with self._lock:
                waiting = any(state.waits for state in self._states.values())
                known = len(self._states)
            if not waiting and known >= len(self._inventory.vms()):
                return
            self._rounds.pause(0.02)

    def _conversations(self) -> Iterator[Conversation]:
        begun = time.thread_time()
        self._asking += begun - (begun if self._ticked is None else self._ticked)
        try:
            yield from self._to_begin()
        finally:
            self._ticked = time.thread_time()

    def _to_begin(self) -> Iterator[Conversation]:
        # A VM that was just met may not live for long; the others can wait for one another.
        for pid in self._tables.met() if self._tables else ():
            self._inventory.meet(pid)
        now = self._monotonic()
        elapsed = now - self._went_through
        if elapsed < len(self._states) * _SECONDS_EACH:
            return
        self._went_through = now
        for state in self._due(now, elapsed):
            state.busy = True
            yield self._refresh(state, self._lanes[state.slow or state.failures > 0])
        for state in self._moving(now):
            state.busy = True
            yield self._look_again(state, self._lanes[state.slow])

    def _due(self, now: float, elapsed: float) -> list[VisitedVm]:
        """The VMs to visit now, so long after the last; those that are gone are forgotten."""
        pause = max(_LOOK_SECONDS, len(self._states) * _LOOK_SECONDS_EACH)
        look = now - self._looked_at_vms >= pause
        if look:
            self._looked_at_vms = now
        vms = {vm.id: vm for vm in self._inventory.vms(look=look)}
        with self._lock:
            for identity in [identity for identity in self._states if identity not in vms]:
                del self._states[identity]
                if self._tables:
                    self._tables.remove(identity.pid)
            for identity, vm in vms.items():
                if identity in self._states:
                    self._states[identity].vm = vm
                    continue
                self._states[identity] = VisitedVm(vm)
                if self._tables:
                    self._tables.add(identity.pid)
            self._hurry_where_unknown(now)
            can_be_asked = sum(self._can_be_asked(state.vm) for state in self._states.values())
            self._pace.adapt(can_be_asked, self._asking)
            self._asking = 0.0
            interval = self._pace.interval_seconds
            moved = self._moved(now, elapsed)
            return [
                state
                for identity, state in self._states.items()
                if not state.busy and (now >= state.due(interval) or identity in moved)
            ]

    def _moved(self, now: float, elapsed: float) -> set[VmId]:
        """VMs whose guests moved their devices; they take turns to be looked at."""
        if self._tables is None:
            return set()
        looks = _LOOKS_AT_ONCE * max(1, round(min(elapsed, _LOOK_SECONDS) / TICK_SECONDS))
        first, self._turn = self._turn, self._turn + looks
        if self._turn >= len(self._states):
            self._turn = 0
        return {
            identity
            for identity, state in islice(self._states.items(), first, first + looks)
            if not (
                state.rests(now)
                or self._tables.is_confirmed(identity.pid)
                # It had no room; or has no table, and None is None.
                or state.crowded_at == self._tables.epoch(identity.pid)
            )
        }

    def _moving(self, now: float) -> list[VisitedVm]:
        """The VMs to ask now for what moves."""
        with self._lock:
            return [
                state
                for state in self._states.values()
                if not state.busy and now >= self._pace.glance_due(state)
            ]

    @property
    def interval_seconds(self) -> float:
        """How long after a visit each VM is visited again; those that do not answer, later."""
        return self._pace.interval_seconds

    @property
    def stale_seconds(self) -> float:
        """From what age on a VM's balloon is of the past."""
        return self._pace.stale_seconds

    def _hurry_where_unknown(self, now: float) -> None:
        """Visit soon those whose guests touch many addresses that nobody knows, if they answer."""
        if self._tables is None or now - self._looked_at_unknown < _UNKNOWN_SECONDS:
            return
        self._looked_at_unknown = now
        by_pid = self._tables.unknown_addresses()
        for identity, state in self._states.items():
            if self._can_be_asked(state.vm):
                state.touched_unknown(sum(by_pid.get(identity.pid, {}).values()), now)

    @asynccontextmanager
    async def _turn_of(self, state: VisitedVm, at_once: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for its turn and have it; whatever goes wrong is its own trouble."""
        try:
            async with at_once:
                yield
        except Exception as err:  # noqa: BLE001 - one VM must not cost the others
            _log.exception("visiting a VM failed", extra={"vm": state.vm.name})
            trouble = f"visiting it failed: {type(err).__name__}"
            state.failed(trouble, self._monotonic(), for_long=True)
        finally:
            state.busy = False

    async def _refresh(self, state: VisitedVm, at_once: asyncio.Semaphore) -> None:
        """Visit one VM and write what came of it."""
        async with self._turn_of(state, at_once):
            pid = state.vm.id.pid
            epoch = self._tables.epoch(pid) if self._tables else None
            facts, trouble = None, ""
            if self._can_be_asked(state.vm):
                begun = self._monotonic()
                first = state.facts is None and not state.failures
                try:
                    door = await self._door(state.vm)
                    facts = await self._visit(door, _DEADLINE_SECONDS, state.facts)
                    state.slow = self._monotonic() - begun > _SLOW_SECONDS
                except Unsettled:  # a guest that boots; it will come to rest
                    state.boots(self._monotonic())
                    return
                except KvmExporterError as err:
                    trouble = str(err)
                finally:
                    # Not when it begins: what it costs is not known before it is over.
                    self._pace.visits(first=first)
            with self._lock:
                if state.vm.id not in self._states:
                    return
                before = state.trouble
                if trouble:
                    self._leave(state, trouble)
                else:
                    state.came(facts, self._monotonic())
                if facts:
                    self._inventory.learn_version(state.vm.id, facts.version)
                if epoch is None:
                    return
                if facts:
                    self._write(state, facts.windows, epoch, before)
                elif not state.facts and self._is_mute(state) and state.legacy_at != epoch:
                    self._write(state, legacy_windows(), epoch, before)
                    state.legacy_at = epoch

    async def _look_again(self, state: VisitedVm, at_once: asyncio.Semaphore) -> None:
        """Ask one VM for what moves; what is known of its addresses stays."""
        async with self._turn_of(state, at_once):
            if state.facts is None or not self._can_be_asked(state.vm):
                return
            try:
                door = await self._door(state.vm)
                facts = await self._glance(door, _DEADLINE_SECONDS, state.facts)
            except KvmExporterError as err:
                with self._lock:
                    if state.vm.id in self._states:
                        self._leave(state, str(err))
                return
            finally:
                self._pace.glances()
            with self._lock:
                state.came_again(facts, self._monotonic())

    def _write(
        self, state: VisitedVm, windows: tuple[Window, ...], epoch: Epoch, before: str
    ) -> None:
        """Write a VM's table; with the map full, what did not fit is not known, and that is all."""
        pid = state.vm.id.pid
        if self._tables is None or (windows is state.told and self._tables.is_confirmed(pid)):
            return
        state.told, state.crowded_at = windows, None
        try:
            self._tables.write(pid, entries(windows, state.slots), epoch)
        except KvmExporterError as err:
            state.told, state.crowded_at = None, epoch
            state.trouble = str(err)
            if state.trouble != before:
                _log.warning(
                    "devices of a VM not told to BPF",
                    extra={"vm": state.vm.name, "reason": state.trouble},
                )

    def _leave(self, state: VisitedVm, trouble: str) -> None:
        """Leave alone one that cannot be asked, and say why once."""
        if trouble != state.trouble:
            _log.warning("VM not visited", extra={"vm": state.vm.name, "reason": trouble})
        state.failed(trouble, self._monotonic())

    def _is_mute(self, state: VisitedVm) -> bool:
        """Whether nobody will say what a VM has: then the legacy addresses have to do."""
        return not self._can_be_asked(state.vm) or state.failures >= _GIVEN_UP_AFTER

    def _can_be_asked(self, vm: Vm) -> bool:
        """Whether it has a door."""
        return bool(vm.qmp_sockets) or self._domain(vm) is not None

    def _domain(self, vm: Vm) -> DomainMonitor | None:
        """Where libvirt can be asked about the VM, if it may be."""
        domain = vm.libvirt if self._through_libvirt else None
        if domain is None or not (domain.system and domain.uuid):
            return None
        return DomainMonitor(domain.uuid)

    async def _door(self, vm: Vm) -> Door:
        """The VM's QMP socket as this process sees it, a connection to it, or libvirt."""
        if not vm.qmp_sockets and (domain := self._domain(vm)):
            return domain
        if self._connect:
            return await asyncio.to_thread(self._connect, vm.id.pid, 0)
        path = vm.qmp_sockets[0]
        base = "root" if path.startswith("/") else "cwd"
        return self._procfs / str(vm.id.pid) / base / path.lstrip("/")
