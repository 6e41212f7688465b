# SPDX-License-Identifier: Apache-2.0
"""Rounds, whether anybody asks or not."""

import gc
import time
import weakref

import pytest

from kvmexporter.housekeeping import Housekeeping
from kvmexporter.sampler import Sampler
from tests.unit.host import without_bpf
from tests.unit.procfs_tree import ProcfsTree
from tests.waiting import eventually


def test_housekeeping_samples_and_refreshes(
    tree: ProcfsTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round after round, also after one that failed, until it is closed."""
    monkeypatch.setattr("kvmexporter.housekeeping._MAX_SHARE", 1e9)
    refreshed = []

    def refresh() -> None:
        refreshed.append(1)
        if len(refreshed) == 2:
            raise OSError("procfs is gone")

    sampler = Sampler(without_bpf(tree), [])
    housekeeping = Housekeeping(sampler, refresh, 0.001)
    housekeeping.start()
    eventually(lambda: len(refreshed) >= 5)
    housekeeping.close()
    rounds = len(refreshed)
    assert sampler.samplings == rounds, "what was counted is read in each"
    time.sleep(0.01)
    assert len(refreshed) == rounds


def test_to_look_takes_its_share_alone(tree: ProcfsTree) -> None:
    """Where it takes long it is not done in each round; sampling is."""
    looked = []

    def refresh() -> None:
        looked.append(time.monotonic())
        end = time.thread_time() + 0.001
        while time.thread_time() < end:
            pass

    sampler = Sampler(without_bpf(tree), [])
    housekeeping = Housekeeping(sampler, refresh, 0.01)
    housekeeping.start()
    eventually(lambda: len(looked) == 3)
    housekeeping.close()
    assert looked[2] - looked[0] >= 2 * (0.001 / 0.0025 - 0.005)
    assert sampler.samplings > 10


def test_it_looks_once_a_minute_at_least(tree: ProcfsTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever that takes: where there is no BPF, nobody else tells of new VMs."""
    monkeypatch.setattr("kvmexporter.housekeeping._MAX_SHARE", 1e-9)
    monkeypatch.setattr("kvmexporter.housekeeping._MAX_REST_SECONDS", 0.05)
    looked: list[float] = []
    housekeeping = Housekeeping(
        Sampler(without_bpf(tree), []), lambda: looked.append(time.monotonic()), 0.01
    )
    housekeeping.start()
    eventually(lambda: len(looked) == 3)
    housekeeping.close()
    assert looked[2] - looked[0] >= 0.1


class Cyclic:
    """Holds itself."""

    def __init__(self) -> None:
        self.own = self


def test_housekeeping_clears_away(tree: ProcfsTree) -> None:
    """Cycles that a sampling met are gone after a round, old as they count since."""
    sampler = Sampler(without_bpf(tree), [])
    gone = weakref.ref(Cyclic())
    sampler.snapshot()
    gc.collect(1)
    assert gone() is not None
    housekeeping = Housekeeping(sampler, lambda: None, 0.001)
    housekeeping.start()
    eventually(lambda: gone() is None)
    housekeeping.close()


def test_closing_does_not_wait_for_the_interval(tree: ProcfsTree) -> None:
    """An exporter that ends, ends."""
    housekeeping = Housekeeping(Sampler(without_bpf(tree), []), lambda: None, 3600)
    housekeeping.start()
    began = time.monotonic()
    housekeeping.close()
    assert time.monotonic() - began < 5
