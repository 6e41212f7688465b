# SPDX-License-Identifier: Apache-2.0
"""Everything that a visit to a QEMU asks, one subject after the other.

A subject is a module `qemu_*.py` with a coroutine that asks a `Monitor`, one line in `_ask`
and one field of `QemuFacts`.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from kvmexporter.model.balloon import Balloon
from kvmexporter.model.devices import Virtio, Window
from kvmexporter.model.posture import Posture
from kvmexporter.model.vm import bounded_name
from kvmexporter.model.vm_clocks import Rtc
from kvmexporter.sources import virsh
from kvmexporter.sources.qemu_balloon import balloon, moving
from kvmexporter.sources.qemu_cpu import cpu_features, real_time_clock
from kvmexporter.sources.qemu_devices import devices
from kvmexporter.sources.qemu_posture import posture
from kvmexporter.sources.qemu_stats import stats
from kvmexporter.sources.qmp import DomainMonitor, Door, Monitor, QmpSockets, as_mapping

_MAX_BUILD_LENGTH = 128
_MAX_KNOWN = 8192

_T = TypeVar("_T")


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
    """

    def __init__(self, balloon_polling_seconds: int = 0) -> None:
        self._balloon_polling_seconds = balloon_polling_seconds
        self._status_is_safe: dict[str, bool] = {}
        self._sockets = QmpSockets()
        self._known: dict[str, Any] = {}

    async def visit(self, door: Door, deadline_seconds: float) -> QemuFacts:
        """Ask a QEMU everything.

        Args:
            door: where it takes QMP.
            deadline_seconds: for the whole visit.

        Raises:
            Unsettled: its guest moves devices right now.
            QmpError: there is no answer in time, or none that makes sense.
        """
        return await self._at(door, deadline_seconds, self._ask)

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

    async def _ask(self, monitor: Monitor) -> QemuFacts:
        reply = as_mapping(await monitor.execute("query-version"))
        version = _version(reply)
        build = f"{version} {reply.get('package', '')}"[:_MAX_BUILD_LENGTH]
        windows, virtio, device = await devices(monitor, build, self._status_is_safe)
        vm, vcpu = await stats(monitor)
        has = await balloon(monitor, device, virtio, self._balloon_polling_seconds)
        features = await cpu_features(monitor)
        clock = await real_time_clock(monitor)
        built = await posture(monitor)
        return QemuFacts(
            sys.intern(version),
            self._shared(windows),
            self._shared(virtio),
            _with_shared_names(vm),
            _with_shared_names(vcpu),
            has,
            features,
            clock,
            replace(built, devices=self._shared(built.devices)),
        )

    def _shared(self, found: tuple[_T, ...]) -> tuple[_T, ...]:
        """The same, each of it once in memory however many VMs have it."""
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        return tuple([self._known.setdefault(repr(one), one) for one in found])


def _with_shared_names(counts: Mapping[str, int]) -> dict[str, int]:
    return {sys.intern(name): count for name, count in counts.items()}


def _version(reply: Mapping[str, Any]) -> str:
    numbers = as_mapping(reply["qemu"])
    return bounded_name(".".join(str(int(numbers[part])) for part in ("major", "minor", "micro")))
