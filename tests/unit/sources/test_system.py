# SPDX-License-Identifier: Apache-2.0
"""The system that the exporter itself runs on."""

import time

from kvmexporter.sources.system import System


def test_nobody_has_looked() -> None:
    """Without evidence it is neither host nor guest, and no clock is claimed to be either's."""
    role = System().role
    assert (role.host, role.guest, role.because) == (False, False, "nobody has looked")


def test_the_real_clocks() -> None:
    """What is not replaced reads this system."""
    system = System()
    before = time.monotonic_ns()
    assert before <= system.read_clock(time.CLOCK_MONOTONIC) <= time.monotonic_ns()
    assert system.sysfs.clocksources().current
    assert system.adjtimex().tick > 0
