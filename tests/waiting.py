# SPDX-License-Identifier: Apache-2.0
"""Wait for what another thread, process or machine brings about."""

import time
from collections.abc import Callable


def eventually(
    holds: Callable[[], object],
    what: object = "it",
    seconds: float = 20.0,
    every: float = 0.005,
) -> None:
    """Wait until something holds.

    Args:
        holds: is asked again and again.
        what: does not come about otherwise; or a function that says so when it is too late.
        seconds: how long to wait for it.
        every: seconds between two looks.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"{what() if callable(what) else what} did not come about in {seconds} s"
            )
        time.sleep(every)
