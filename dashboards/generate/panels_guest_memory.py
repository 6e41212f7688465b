# SPDX-License-Identifier: Apache-2.0
"""Panels on the memory of guests that run an exporter of their own."""

from dashboards.generate import thresholds
from dashboards.generate.panel import Panel, Query

_NO_GUEST = "no exporter runs inside a guest here"
_R = "[$__rate_interval]"

PANELS = (
    Panel(
        title="Balloon pages in guests",
        about="Pages that guests' balloon drivers give to the host (inflate), take back "
        "(deflate) and move (migrate). "
        "Inflating without end: the target is out of reach.",
        queries=(
            Query(
                "sum by (job, instance, operation) "
                f"(rate(kvm_guest_balloon_pages_total{{@host}}{_R}))",
                "{{instance}} {{operation}}",
            ),
        ),
        unit="cps",
        empty=_NO_GUEST,
        width=8,
    ),
    Panel(
        title="Swap in guests",
        about="What guests read back from their swap and write to it. Above the dashes for long: "
        "they need memory.",
        queries=(
            Query(f"rate(kvm_guest_swap_in_bytes_total{{@host}}{_R})", "{{instance}} in"),
            Query(f"rate(kvm_guest_swap_out_bytes_total{{@host}}{_R})", "{{instance}} out"),
        ),
        unit="Bps",
        warn=thresholds.SWAP_BYTES,
        empty=_NO_GUEST,
        width=8,
    ),
    Panel(
        title="OOM kills as guests count them",
        about="Processes that guests' kernels killed in the last quarter of an hour. Any is too "
        "many.",
        queries=(Query("increase(kvm_guest_oom_kills_total{@host}[15m])", "{{instance}}"),),
        warn=1,
        empty=_NO_GUEST,
        width=8,
    ),
    Panel(
        title="Waiting for memory in guests",
        about="Share of time that some, or all, tasks of a guest waited for memory. full above a "
        "few percent: the "
        "guest stands still for want of it.",
        queries=(
            Query(
                f"rate(kvm_guest_memory_pressure_seconds_total{{@host}}{_R})",
                "{{instance}} {{severity}}",
            ),
        ),
        unit="percentunit",
        empty=_NO_GUEST,
    ),
    Panel(
        title="Fragmentation of guests' memory",
        about="Share of free memory in pieces smaller than a huge page. Ballooning back and "
        "forth raises it; near 1 "
        "the guest gets no huge pages and runs slower.",
        queries=(Query("kvm_guest_memory_fragmentation_ratio{@host}", "{{instance}}"),),
        unit="percentunit",
        empty=_NO_GUEST,
    ),
)
