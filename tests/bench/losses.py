# SPDX-License-Identifier: Apache-2.0
"""What a guest feels: operations a second with something attached, and with nothing, in turns.

A B A C A B A: each against the mean of its neighbours, so that what drifts does not count. A second
is one of the vCPU thread's processor time (schedstat), so that neither does what others take of
this machine's processors. Nothing at all takes its turns with ours, as many: what it seems to
cost is the noise of all.
"""

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.contenders import HARDWARE, NOTHING, OURS, Contender, Running, running
from tests.bench.noise import Interval, median_interval
from tests.bench.processes import cpu_seconds, resident_bytes
from tests.guest import BareMetalGuest

OPERATION = "pit_write"
INTERVAL_SECONDS = 15.0
# More than a second: what the kernel accounts to a thread that runs may move in ticks of 4 ms.
_COUNT = 200_000
_REST_SECONDS = 1.0
# What is small takes more turns to tell.
_CLOSE = (NOTHING, OURS, HARDWARE)
_MORE = 3

Attach = Callable[[Contender], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True)
class Loss:
    """What a guest loses of its port-I/O rate.

    Attributes:
        what: is attached.
        loss: median of 1 - rate with it / rate without, in neighbouring turns.
        interval: of that median, `noise.median_interval`.
        rate: operations a second of processor time with it attached.
        start_seconds: from its start to when it counts; None if it does not tell when.
        resident_bytes: of its process.
        share: of a core that its own process takes, with a scrape every 15 s if it can be scraped.
        trouble: why it could not be measured, "" if it could.
    """

    what: str
    loss: float = 0.0
    interval: Interval | None = None
    rate: float = 0.0
    start_seconds: float | None = None
    resident_bytes: int = 0
    share: float = 0.0
    trouble: str = ""

    @property
    def is_noise(self) -> bool:
        """Whether it cannot be told from nothing."""
        return self.interval is not None and self.interval[0] <= 0 <= self.interval[1]


def losses(guest: BareMetalGuest, contenders: Sequence[Contender], pairs: int) -> list[Loss]:
    """What the guest loses to each."""
    rate = functools.partial(_rate, guest)
    close = [one for one in contenders if one in _CLOSE]
    found = take_turns(close, _MORE * pairs, rate, running)
    for one in contenders:
        if one not in close:
            found |= take_turns([one], pairs, rate, running)
    return [found[one.name] for one in contenders]


def take_turns(
    contenders: Sequence[Contender], rounds: int, rate: Callable[[], float], attach: Attach
) -> dict[str, Loss]:
    """Each contender's turn in each round, with nothing before it and after it.

    Args:
        contenders: who; one that fails has no more turns.
        rounds: how many.
        rate: measures the guest's rate now.
        attach: has a contender attached.

    Returns:
        Name → what the guest loses.
    """
    taken = {one.name: _Taken(one) for one in contenders}
    without = rate()
    for _ in range(rounds):
        for one in taken.values():
            if one.trouble:
                continue
            try:
                with_it = one.turn(rate, attach)
            except OSError as err:
                one.trouble = str(err)
            before, without = without, rate()
            if not one.trouble:
                one.losses.append(1 - with_it / ((before + without) / 2))
    return {name: one.loss() for name, one in taken.items()}


@dataclass(slots=True)
class _Taken:
    """What a contender's turns have shown so far."""

    contender: Contender
    losses: list[float] = field(default_factory=list)
    trouble: str = ""
    _rates: list[float] = field(default_factory=list)
    _starts: list[float] = field(default_factory=list)
    _scrapes: list[float] = field(default_factory=list)
    _used: float = 0.0
    _seconds: float = 0.0
    _resident: int = 0

    def turn(self, rate: Callable[[], float], attach: Attach) -> float:
        """The guest's rate with it attached."""
        began = time.monotonic()
        with attach(self.contender) as here:
            self._starts.append(time.monotonic() - began)
            began, used = time.monotonic(), cpu_seconds(here.pid) if here.pid else 0.0
            with_it = rate()
            if here.pid:
                self._used += cpu_seconds(here.pid) - used
                self._seconds += time.monotonic() - began
                self._resident = max(self._resident, resident_bytes(here.pid))
            if here.scrape:
                used = cpu_seconds(here.pid)
                here.scrape()
                self._scrapes.append(cpu_seconds(here.pid) - used)
        self._rates.append(with_it)
        return with_it

    def loss(self) -> Loss:
        """All of it."""
        if self.trouble:
            return Loss(self.contender.name, trouble=self.trouble)
        share = self._used / self._seconds if self._seconds else 0.0
        if self._scrapes:
            share += statistics.median(self._scrapes) / INTERVAL_SECONDS
        return Loss(
            self.contender.name,
            statistics.median(self.losses),
            median_interval(self.losses),
            statistics.median(self._rates),
            statistics.median(self._starts) if self.contender.tells else None,
            self._resident,
            share,
        )


def _rate(guest: BareMetalGuest) -> float:
    # What has just started or ended leaves the processor another speed and other caches.
    time.sleep(_REST_SECONDS)
    before = _on_processor_ns(guest)
    guest.run(**{OPERATION: _COUNT})
    return _COUNT / ((_on_processor_ns(guest) - before) / 1e9)


def _on_processor_ns(guest: BareMetalGuest) -> int:
    (tid,) = guest.vcpu_tids
    return int(Path(f"/proc/{guest.pid}/task/{tid}/schedstat").read_text().split()[0])
