# SPDX-License-Identifier: Apache-2.0
"""Everything that a visit to a QEMU asks.

A subject is a module `qemu_*.py` with a coroutine that asks a `Monitor`, one line in `_ask` or
`_ask_new` and one field of `QemuFacts`.

Each visit asks for what moves: the machine (`qemu_machine.py`), the state of virtio devices, KVM's
counters, the balloon, the RTC. The rest is asked again only if the machine or a virtio device is
not as it was: address ranges and whose they are, processor features, posture, what the balloon
offers. What can change without that showing (queues of other sizes under a driver that was taken
away and came back the same, a disk that was unplugged and came back the same but for its I/O
thread) is found by a visit that takes nothing for known: the tenth, or the first after ten
minutes, whichever is later. A guest that migrates gets another QEMU, of which nothing is known.
"""

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from kvmexporter.model.balloon import Balloon, BalloonDevice
from kvmexporter.model.devices import Virtio, Window
from kvmexporter.model.posture import Posture
from kvmexporter.model.vm_clocks import Rtc
from kvmexporter.sources import virsh
from kvmexporter.sources.qemu_balloon import balloon, moving
from kvmexporter.sources.qemu_cpu import cpu_features, real_time_clock
from kvmexporter.sources.qemu_devices import VirtioState, devices, virtio_devices
from kvmexporter.sources.qemu_machine import Machine, machine
from kvmexporter.sources.qemu_posture import posture
from kvmexporter.sources.qemu_stats import stats
from kvmexporter.sources.qmp import DomainMonitor, Door, Monitor, QmpSockets, Together

_MAX_KNOWN = 8192
_WHOLE_EVERY_VISITS = 10
_WHOLE_EVERY_SECONDS = 600.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a visit saw that tells the next one what it need not ask again.

    Attributes:
        machine: `Machine.fingerprint`.
        virtio: QOM path → state of the virtio devices.
        balloon: where the balloon is, None if there is none.
        asked: when everything was asked last, seconds, CLOCK_MONOTONIC.
        visits: how many there were since.
    """

    machine: int
    virtio: Mapping[str, VirtioState]
    balloon: BalloonDevice | None
    asked: float
    visits: int = 0

    def holds(self, machine: int, now: float) -> bool:
        """Whether it may be built on once more, for a machine with this fingerprint."""
        is_old = now - self.asked >= _WHOLE_EVERY_SECONDS
        return machine == self.machine and not (is_old and self.visits + 1 >= _WHOLE_EVERY_VISITS)


@dataclass(frozen=True, slots=True)
class QemuFacts:
    """What one visit found.

    Attributes:
        version: of QEMU, `7.2.0`.
        windows: what each address range stands for.
        virtio: the virtio devices.
        stats: KVM's own counters of the VM, name → value; empty before QEMU 7.1.
        vcpu_stats: those of its vCPUs, added up.
        balloon: the VM's, None if it has none.
        cpu_features: processor features that matter to clocks → whether the guest has them.
        rtc: the real time clock, None if it has none.
        posture: how the VM is built.
        seen: for the next visit; None if nobody may build on this one.
    """

    version: str
    windows: tuple[Window, ...]
    virtio: tuple[Virtio, ...]
    stats: Mapping[str, int] = field(default_factory=dict)
    vcpu_stats: Mapping[str, int] = field(default_factory=dict)
    balloon: Balloon | None = None
    cpu_features: Mapping[str, bool] = field(default_factory=dict)
    rtc: Rtc | None = None
    posture: Posture = field(default_factory=Posture)
    seen: Seen | None = field(default=None, compare=False, repr=False)

    def after(self, before: "QemuFacts | None", now: float) -> "QemuFacts":
        """The same with what only shows from one visit to the next.

        Args:
            before: what the visit before found, None if this is the first.
            now: seconds, CLOCK_MONOTONIC.
        """
        if self.balloon is None:
            return self
        was = before.balloon if before else None
        return replace(self, balloon=self.balloon.after(was, now))


class Visitor:
    """Asks QEMUs for everything; keeps nothing but which versions are safe to ask for what.

    Args:
        balloon_polling_seconds: have guests asked for their balloon statistics this often where
            nobody asks for them; 0: change nothing.
        monotonic: the clock, in seconds.
    """

    def __init__(
        self,
        balloon_polling_seconds: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._balloon_polling_seconds = balloon_polling_seconds
        self._monotonic = monotonic
        self._status_is_safe: dict[str, bool] = {}
        self._sockets = QmpSockets()
        self._known: dict[str, Any] = {}

    async def visit(
        self, door: Door, deadline_seconds: float, known: QemuFacts | None = None
    ) -> QemuFacts:
        """Ask a QEMU everything, as far as it is not known.

        Args:
            door: where it takes QMP.
            deadline_seconds: for the whole visit.
            known: what was found last; None: nothing.

        Raises:
            Unsettled: its guest moves devices right now.
            QmpError: there is no answer in time, or none that makes sense.
        """
        return await self._at(door, deadline_seconds, lambda monitor: self._ask(monitor, known))

    async def glance(self, door: Door, deadline_seconds: float, known: QemuFacts) -> QemuFacts:
        """Ask again for what moves from second to second, and nothing else.

        Args:
            door: as in `visit`.
            deadline_seconds: for the whole conversation.
            known: what was found last.

        Raises:
            QmpError: there is no answer in time, or none that makes sense.
        """

        async def again(monitor: Monitor) -> QemuFacts:
            if known.balloon is None:
                return known
            return replace(known, balloon=await moving(monitor, known.balloon))

        return await self._at(door, deadline_seconds, again)

    async def _at(
        self,
        door: Door,
        deadline_seconds: float,
        questions: Callable[[Monitor], Awaitable[QemuFacts]],
    ) -> QemuFacts:
        if isinstance(door, DomainMonitor):
            return await virsh.ask(door, deadline_seconds, questions)
        return await self._sockets.ask(door, deadline_seconds, questions)

    async def _ask(self, monitor: Monitor, known: QemuFacts | None) -> QemuFacts:
        async with Together() as asked:
            counters = asked.by(stats(monitor))
            answer = asked.by(machine(monitor))
        built = answer.result()
        now, fingerprint = self._monotonic(), built.fingerprint()
        seen = known.seen if known else None
        if seen and not seen.holds(fingerprint, now):
            seen = None
        virtio = await virtio_devices(
            monitor, built, self._status_is_safe, seen.virtio if seen else {}
        )
        offers = None
        if known and seen and _devices(virtio) == known.virtio:
            facts, offers = known, known.balloon
            kept = seen.virtio if virtio == seen.virtio else self._kept(virtio)
            seen = replace(seen, virtio=kept, visits=seen.visits + 1)
        else:
            windows, device = await devices(monitor, built, _devices(virtio))
            facts = await self._ask_new(monitor, built, windows, _devices(virtio))
            seen = Seen(fingerprint, self._kept(virtio), device, now)
        has = await balloon(
            monitor, seen.balloon, facts.virtio, self._balloon_polling_seconds, offers
        )
        # By itself: how long the answer takes is how wrong it may be.
        clock = await real_time_clock(monitor)
        vm, vcpu = counters.result()
        return replace(
            facts,
            stats=vm,
            vcpu_stats=vcpu,
            balloon=has,
            rtc=clock,
            seen=seen,
        )

    async def _ask_new(
        self,
        monitor: Monitor,
        built: Machine,
        windows: tuple[Window, ...],
        virtio: tuple[Virtio, ...],
    ) -> QemuFacts:
        """What stays as long as the machine and its virtio devices stay what they are."""
        async with Together() as asked:
            features = asked.by(cpu_features(monitor, built.cpus))
            looks = asked.by(
                posture(monitor, built.qtree, built.networks, built.blocks, built.cpus)
            )
        return QemuFacts(
            built.version,
            self._shared(windows),
            self._shared(virtio),
            cpu_features=features.result(),
            posture=replace(looks.result(), devices=self._shared(looks.result().devices)),
        )

    def _kept(self, virtio: Mapping[str, VirtioState]) -> dict[str, VirtioState]:
        shared = self._shared(_devices(virtio))
        return {
            sys.intern(path): replace(state, device=device)
            for (path, state), device in zip(virtio.items(), shared, strict=True)
        }

    def _shared(self, found: tuple[_T, ...]) -> tuple[_T, ...]:
        """The same, each of it once in memory however many VMs have it."""
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        return tuple([self._known.setdefault(repr(one), one) for one in found])


def _devices(virtio: Mapping[str, VirtioState]) -> tuple[Virtio, ...]:
    return tuple(state.device for state in virtio.values())
