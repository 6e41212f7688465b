# SPDX-License-Identifier: Apache-2.0
"""Whose fault it is that a host of the lab went down."""

import pytest

from tests.lab.boot import fell_silently

READY = "lab: host ready after 11.98 s, clocksource tsc\n"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[   68.645843] kvm: kvm [196]: vcpu0, Unhandled WRMSR(0xc0010007) = 0xffff",
        "[   12.000000] clocksource: Switched to default clocksource",
    ],
)
def test_silence(line: str) -> None:
    """What the kernel says in ordinary life does not explain anything."""
    assert fell_silently(READY + line)


@pytest.mark.parametrize(
    "line",
    [
        "[   24.556148] Kernel panic - not syncing: sysrq triggered crash",
        "[   24.556148] BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "[   24.556148] Oops: 0000 [#1] PREEMPT SMP NOPTI",
        "[   24.556148] general protection fault, probably for non-canonical address 0xdead",
        "[   24.556148] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "[   24.556148] Out of memory: Killed process 196 (qemu-system-x86)",
        "[   24.556148] reboot: Power down",
    ],
)
def test_last_words(line: str) -> None:
    """A kernel that failed is not given a second chance."""
    assert not fell_silently(READY + line)
