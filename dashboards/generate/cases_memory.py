# SPDX-License-Identifier: Apache-2.0
"""Courses of events for the alerts on memory."""

from typing import Final

from dashboards.generate.promtool import Case

_VM = {"vm": "web"}
_ACTUAL = 'kvm_vm_balloon_actual_bytes{vm="web"}'
_MAX = 'kvm_vm_balloon_max_bytes{vm="web"}'
_AVAILABLE = 'kvm_vm_balloon_stat_bytes{vm="web",stat="available"}'
_AGE = 'kvm_vm_balloon_stats_age_seconds{vm="web"}'
_SHORT = 'kvm_vm_balloon_short_seconds{vm="web"}'
_KILLS = 'kvm_vm_balloon_oom_kills_total{vm="web"}'
_IN = 'kvm_vm_balloon_swap_in_bytes_total{vm="web"}'
_OUT = 'kvm_vm_balloon_swap_out_bytes_total{vm="web"}'

CASES: Final[dict[str, tuple[Case, ...]]] = {
    "KvmVmBalloonStuck": (
        Case(
            about="a guest that cannot give",
            series={_SHORT: "0+30x60"},
            fires=(
                (
                    _VM,
                    "The balloon of VM web on host-1 has been short of its target for 20m 0s",
                ),
            ),
        ),
        Case(
            about="one whose name is no part of an address as it is",
            series={'kvm_vm_balloon_short_seconds{vm="R&D a+b/é"}': "0+30x60"},
            fires=(
                (
                    {"vm": "R&D a+b/é"},
                    "The balloon of VM R&D a+b/é on host-1 has been short of its target for 20m 0s",
                ),
            ),
        ),
        Case(about="a guest that takes five minutes", series={_SHORT: "0+30x10 0x50"}),
        Case(about="a guest that takes twelve, so far", series={_SHORT: "0+30x60"}, at="12m"),
    ),
    "KvmVmSwappingUnderBalloon": (
        Case(
            about="4 MiB a second, and half of its memory is in the balloon",
            series={
                _IN: "0+62914560x60",
                _OUT: "0+62914560x60",
                _ACTUAL: "1073741824x60",
                _MAX: "2147483648x60",
            },
            fires=((_VM, "VM web on host-1 swaps 4MiB a second under an inflated balloon"),),
        ),
        Case(
            about="as much, and the balloon is empty",
            series={
                _IN: "0+62914560x60",
                _OUT: "0+62914560x60",
                _ACTUAL: "2147483648x60",
                _MAX: "2147483648x60",
            },
        ),
        Case(
            about="the guest boots anew and its counters start over",
            series={
                _IN: "62914560000x30 0x30",
                _OUT: "62914560000x30 0x30",
                _ACTUAL: "1073741824x60",
                _MAX: "2147483648x60",
            },
        ),
    ),
    "KvmVmOomRisk": (
        Case(
            about="32 MiB of 1 GiB",
            series={_AVAILABLE: "33554432x60", _ACTUAL: "1073741824x60", _AGE: "5x60"},
            fires=((_VM, "VM web on host-1 has 3.125% of its memory left"),),
        ),
        Case(
            about="the same, but said an hour ago",
            series={_AVAILABLE: "33554432x60", _ACTUAL: "1073741824x60", _AGE: "3600+30x60"},
        ),
        Case(
            about="a cache that fills all memory",
            series={_AVAILABLE: "536870912x60", _ACTUAL: "1073741824x60", _AGE: "5x60"},
        ),
    ),
    "KvmVmOomKilled": (
        Case(
            about="two processes",
            series={_KILLS: "0x20 2x40"},
            at="12m",
            fires=((_VM, "VM web on host-1 killed 2 processes for want of memory"),),
        ),
        Case(
            about="one process, and scrapes are missing at the window's ends",
            series={_KILLS: "3x9 _ 3x10 4x18 _ 4x20"},
            at="20m",
            fires=((_VM, "VM web on host-1 killed 1 processes for want of memory"),),
        ),
        Case(about="some time ago", series={_KILLS: "0x4 2x90"}, at="30m"),
        Case(about="the guest boots anew", series={_KILLS: "5x20 0x40"}),
    ),
}
