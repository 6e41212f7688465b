# SPDX-License-Identifier: Apache-2.0
"""What a guest loses is told turn by turn, nothing at all having its turns among the others."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.bench.contenders import BPFTRACE, HARDWARE, NOTHING, OURS, Contender, Running
from tests.bench.losses import INTERVAL_SECONDS, Loss, take_turns

SCRAPE_SECONDS = 0.03


class Bench:
    """A guest whose rate is known with each contender, and drifts."""

    def __init__(self, rates: dict[str, float], drift: float = 0.0) -> None:
        self.rates = rates
        self.seen: list[str] = []
        self.fails: set[str] = set()
        self._attached = ""
        self._drift = drift

    @contextmanager
    def attach(self, one: Contender) -> Iterator[Running]:
        if one.name in self.fails:
            raise OSError(f"{one.name} ends at once")
        self._attached = one.name
        yield Running(0) if one == NOTHING else Running(os.getpid(), self._scrape)
        self._attached = ""

    def rate(self) -> float:
        self.seen.append(self._attached)
        return self.rates.get(self._attached, 100.0) + self._drift * len(self.seen)

    def _scrape(self) -> None:
        until = os.times().user + SCRAPE_SECONDS
        while os.times().user < until:
            pass


def test_everybody_has_a_turn_in_each_round() -> None:
    """With nothing before and after each: the guest against itself among them."""
    bench = Bench({})
    take_turns([NOTHING, OURS, HARDWARE], 2, bench.rate, bench.attach)
    nothing, ours, hardware = NOTHING.name, OURS.name, HARDWARE.name
    a_round = [nothing, "", ours, "", hardware, ""]
    assert bench.seen == ["", *a_round, *a_round]


def test_a_loss_is_against_the_neighbours() -> None:
    """What drifts evenly does not count, not even for the guest against itself."""
    bench = Bench({}, drift=1.0)
    found = take_turns([NOTHING, OURS], 5, bench.rate, bench.attach)
    assert found[NOTHING.name].loss == pytest.approx(0.0)
    assert found[NOTHING.name].is_noise
    assert found[OURS.name].loss == pytest.approx(0.0)
    bench = Bench({OURS.name: 98.0})
    found = take_turns([NOTHING, OURS], 5, bench.rate, bench.attach)
    assert found[OURS.name].loss == pytest.approx(0.02)
    assert found[OURS.name].interval == pytest.approx((0.02, 0.02))
    assert found[OURS.name].rate == 98.0


def test_one_that_fails_has_no_more_turns() -> None:
    """It says why, and the others are measured all the same."""
    bench = Bench({HARDWARE.name: 97.0})
    bench.fails.add(OURS.name)
    found = take_turns([OURS, HARDWARE], 3, bench.rate, bench.attach)
    assert found[OURS.name] == Loss(OURS.name, trouble="kvmexporter ends at once")
    assert found[HARDWARE.name].loss == pytest.approx(0.03)
    assert bench.seen.count(HARDWARE.name) == 3


def test_a_start_that_was_not_seen_has_no_time() -> None:
    """Only who tells when it is attached has one."""
    bench = Bench({})
    found = take_turns([OURS, BPFTRACE], 2, bench.rate, bench.attach)
    assert found[BPFTRACE.name].start_seconds is None
    assert (found[OURS.name].start_seconds or 0) > 0


def test_a_share_has_a_scrape_every_15_seconds() -> None:
    """What a scrape takes is part of it, spread over the interval."""
    bench = Bench({})
    found = take_turns([OURS], 3, bench.rate, bench.attach)
    # Ticks of the processor's time are 10 ms.
    assert found[OURS.name].share >= (SCRAPE_SECONDS - 0.02) / INTERVAL_SECONDS
    assert take_turns([NOTHING], 3, bench.rate, bench.attach)[NOTHING.name].share == 0


@pytest.mark.parametrize(
    ("interval", "is_noise"),
    [((-0.01, 0.01), True), ((0.0, 0.01), True), ((0.009, 0.029), False), ((-0.02, -0.01), False)],
)
def test_noise_has_zero_in_it(interval: tuple[float, float], is_noise: bool) -> None:
    assert Loss(NOTHING.name, interval=interval).is_noise is is_noise
