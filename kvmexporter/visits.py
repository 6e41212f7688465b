# SPDX-License-Identifier: Apache-2.0
"""When each VM is to be visited: at once, soon, slowly, or less and less often.

What most likely is as it was may cost a small share of a processor in all: with many VMs the
intervals are stretched. A VM that does not answer is left alone for longer and longer.
"""

import math
from dataclasses import dataclass, field

from kvmexporter.bpf.request import IO_SLOTS, KICK_SLOTS
from kvmexporter.model.devices import Window
from kvmexporter.model.regiontable import Slots
from kvmexporter.model.vm import Vm
from kvmexporter.sources.qemu import QemuFacts
from kvmexporter.sources.regions import Epoch

_SOON_SECONDS = 1.0
_REFRESH_SECONDS = 60.0
# A balloon at rest, and one that is on its way.
_GLANCE_SECONDS = 15.0
_MOVING_SECONDS = 5.0
_MOVING_FOR_SECONDS = 60.0
_GLANCE_WEIGHT = 0.33  # of a visit to a VM whose machine is as it was
_FIRST_WEIGHT = 4.0
_STALE_SECONDS = 300.0
_MAX_SHARE = 0.004  # of a processor
_MAX_BACKOFF_SECONDS = 300.0
_MAX_DOUBLINGS = 16
_MANY_UNKNOWN = 100
_HURRY_SECONDS = 5.0  # between two visits for what nobody knows; longer while that does not help
_REMEMBERED = 1000.0  # visits whose cost is remembered in full


@dataclass(slots=True)
class VisitedVm:
    """One VM, what it said last, and when it is to be visited next.

    Attributes:
        vm: the VM.
        slots: what the numbers in its region table stand for.
        facts: what its VMM said last, None if it never has.
        visited: when that was, CLOCK_MONOTONIC seconds; None if never.
        glanced: when it was asked last for what moves from second to second (the balloon).
        trouble: why the last visit failed, "" if it did not.
        failures: visits that failed, one after another.
        legacy_at: where its guest was when the legacy addresses were written, None if never.
        told: the windows that BPF was told of, None if there was no room for all.
        crowded_at: where its guest was when its table found no room, None if it has.
        slow: whether it took long to answer.
        busy: whether it is being asked.
    """

    vm: Vm
    slots: Slots = field(default_factory=lambda: Slots(IO_SLOTS, KICK_SLOTS))
    facts: QemuFacts | None = None
    visited: float | None = None
    glanced: float | None = None
    trouble: str = ""
    failures: int = 0
    legacy_at: Epoch | None = None
    told: tuple[Window, ...] | None = None
    crowded_at: Epoch | None = None
    slow: bool = False
    busy: bool = False
    _due: float = 0.0
    _noted: float = math.inf  # the interval counts from here, as it is by then
    _rests_until: float = 0.0
    _unknown: int = 0
    _hurried: float = -math.inf
    _hurry_seconds: float = _HURRY_SECONDS

    @property
    def waits(self) -> bool:
        """Whether its first visit is still to come, or one is under way."""
        return self._due == 0.0 or self.busy

    def due(self, interval: float) -> float:
        """Return when it is to be visited, where those at rest are so often."""
        return min(self._due, math.inf if self.failures else self._noted + interval)

    def rests(self, now: float) -> bool:
        """Return whether it was asked just now, does not answer, or never has."""
        return self.facts is None or self.failures > 0 or now < self._rests_until

    def came(self, facts: QemuFacts | None, now: float) -> None:
        """Take what it said, None where there is nobody to ask."""
        self.trouble, self.failures = "", 0
        self._due, self._noted = math.inf, now
        self._rests_until = now + _SOON_SECONDS
        if facts:
            self.facts = facts.after(self.facts, now)
            self.visited = self.glanced = now

    def came_again(self, facts: QemuFacts, now: float) -> None:
        """Take what it said of what moves."""
        self.facts, self.glanced = facts.after(self.facts, now), now

    def boots(self, now: float) -> None:
        """Come again soon: its guest is not settled."""
        self._due, self._noted = now + _SOON_SECONDS, math.inf
        self._rests_until = self._due

    def failed(self, trouble: str, now: float, *, for_long: bool = False) -> None:
        """Leave it alone, for twice as long as after the failure before or as long as may be."""
        self.trouble = trouble
        self.failures += 1
        seconds = _SOON_SECONDS * 2.0 ** min(self.failures, _MAX_DOUBLINGS)
        self._due = now + (_MAX_BACKOFF_SECONDS if for_long else min(seconds, _MAX_BACKOFF_SECONDS))

    def touched_unknown(self, accesses: int, now: float) -> None:
        """Come at once if many more accesses than before went where nobody knows a device.

        Where a visit does not help, the next comes later and later: a guest can go on for ever.
        """
        many, self._unknown = accesses > self._unknown + _MANY_UNKNOWN, accesses
        since = now - self._hurried
        if not many:
            if since >= self._hurry_seconds:
                self._hurry_seconds = _HURRY_SECONDS
        elif not self.failures and since >= self._hurry_seconds:
            self._due, self._hurried = min(self._due, now), now
            self._hurry_seconds = min(2 * self._hurry_seconds, _MAX_BACKOFF_SECONDS)


class Pace:
    """How often those at rest are asked, by what asking costs.

    Args:
        glance_seconds: how often for what moves, while nothing does; None: as often as costs
            next to nothing.
    """

    def __init__(self, glance_seconds: float | None) -> None:
        self._glance_seconds = glance_seconds
        self._asked = 0.0  # visits; a first one is some of them, a glance a part of one
        self._seconds = 0.0  # what they took
        self._stretch = 1.0

    @property
    def interval_seconds(self) -> float:
        """How long after a visit a VM is visited again."""
        return _REFRESH_SECONDS * self._stretch

    @property
    def stale_seconds(self) -> float:
        """From what age on what moves is of the past: five minutes, and two looks at least."""
        return max(_STALE_SECONDS, 2 * self._at_rest_seconds)

    @property
    def _at_rest_seconds(self) -> float:
        """How long after a look at what moves the next one is due, while nothing does."""
        return self._glance_seconds or _GLANCE_SECONDS * self._stretch

    def visits(self, *, first: bool = False) -> None:
        """Count a visit; the first one to a VM takes longer, and does not come again."""
        self._asked += _FIRST_WEIGHT if first else 1.0

    def glances(self) -> None:
        """Count a look at what moves."""
        self._asked += _GLANCE_WEIGHT

    def adapt(self, vms: int, seconds: float) -> None:
        """Wait longer than wanted where so many would cost more than their share.

        Args:
            vms: that can be asked.
            seconds: of a processor that asking took since this was called last.
        """
        self._seconds += seconds
        if not self._asked:
            return
        seconds_each = self._seconds / self._asked
        a_second = 1 / _REFRESH_SECONDS + _GLANCE_WEIGHT / _GLANCE_SECONDS
        self._stretch = max(1.0, vms * seconds_each * a_second / _MAX_SHARE)
        if self._asked > 2 * _REMEMBERED:
            self._seconds /= 2
            self._asked /= 2

    def glance_due(self, state: VisitedVm) -> float:
        """Return when a VM is to be asked for what moves; never without a balloon."""
        balloon = state.facts.balloon if state.facts else None
        if balloon is None or state.glanced is None or state.failures:
            return math.inf
        since = balloon.history.short_since
        seconds = self._at_rest_seconds
        if since is not None and balloon.history.seen - since < _MOVING_FOR_SECONDS:
            seconds = min(_MOVING_SECONDS, seconds)
        return state.glanced + seconds
