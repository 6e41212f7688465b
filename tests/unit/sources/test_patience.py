# SPDX-License-Identifier: Apache-2.0
"""Calls that come back late, or never: nobody waits for them longer than he wants to."""

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

import pytest

from kvmexporter.sources.patience import Patience, StuckError

SECONDS = 20.0


def fail() -> int:
    raise OSError(5, "a reason")


def test_a_result_and_an_error() -> None:
    """Both come to who waits, and the key is free again."""
    patience = Patience()
    for _ in range(3):
        assert patience.begin("key", lambda: 7).result(SECONDS) == 7
        with pytest.raises(OSError, match="a reason"):
            patience.begin("key", fail).result(SECONDS)


def test_one_that_is_stuck() -> None:
    """Costs one thread: nothing more is begun for its key, and other keys do not notice."""
    patience, let_go, undone = Patience(), threading.Event(), threading.Event()

    def call() -> int:
        let_go.wait(SECONDS)
        return 17

    stuck: Future[int] = patience.begin("a", call, undo=lambda _: undone.set())
    with pytest.raises(FutureTimeoutError):
        stuck.result(0.01)
    threads = threading.active_count()
    for _ in range(3):
        with pytest.raises(StuckError):
            patience.begin("a", call)
    assert threading.active_count() == threads
    assert patience.begin("b", lambda: 19).result(SECONDS) == 19
    assert stuck.cancel()
    let_go.set()
    assert undone.wait(SECONDS), "what came too late is closed"
    assert patience.begin("a", lambda: 23).result(SECONDS) == 23


def test_what_is_waited_for_is_not_undone() -> None:
    """It is the caller's."""
    undone: list[int] = []
    assert Patience().begin("a", lambda: 29, undo=undone.append).result(SECONDS) == 29
    assert undone == []
