# SPDX-License-Identifier: Apache-2.0
"""Panels on balloons, and on what guests say of their memory through them."""

from dashboards.generate import thresholds
from dashboards.generate.panel import VM_LEGEND, Column, Panel, Query
from dashboards.generate.recording import VM

_NO_DETAILS = "not served (--collector.balloon.details; kvmexporter dump shows it anyway)"
_NO_BALLOON = "no VM has a balloon that can be asked"
_NO_STATS = "no guest gives statistics: nobody asks it to (--balloon.set-polling)"
_R = "[$__rate_interval]"

PANELS = (
    Panel(
        title="Balloon",
        about="What guests have, what they should have, and what they have with an empty "
        "balloon. Have above "
        "should for long: the guest cannot give what is asked of it.",
        queries=(
            Query("kvm_vm_balloon_actual_bytes{@vm}", VM_LEGEND + " has"),
            Query("kvm_vm_balloon_target_bytes{@vm}", VM_LEGEND + " should have"),
            Query("kvm_vm_balloon_max_bytes{@vm}", VM_LEGEND + " at most"),
        ),
        unit="bytes",
        empty=_NO_BALLOON,
        width=8,
    ),
    Panel(
        title="Short of target for",
        about="For how long each guest has had more memory than it should. Above the dashes it "
        "is stuck: its "
        "memory is in use, or the driver does not run.",
        queries=(Query("topk(10, kvm_vm_balloon_short_seconds{@vm})", VM_LEGEND),),
        unit="s",
        warn=thresholds.BALLOON_SHORT_SECONDS,
        empty=_NO_BALLOON,
        width=8,
    ),
    Panel(
        title="Memory moved by balloons",
        about="Memory into balloons (inflate) and back (deflate). Both at once for long: two "
        "parties fight over "
        "the target.",
        queries=(
            Query(
                f"sum by (direction) (rate(kvm_vm_balloon_moved_bytes_total{{@vm}}{_R}))",
                "{{direction}}",
            ),
        ),
        unit="Bps",
        empty=_NO_BALLOON,
        width=8,
    ),
    Panel(
        title="Available in guests",
        about="Share of its memory that a guest can still have without swapping, the ten "
        "poorest. Under the "
        "dashes the OOM killer is near: deflate the balloon.",
        queries=(Query("bottomk(10, vm:kvm_vm_balloon_available:ratio{@vm})", VM_LEGEND),),
        unit="percentunit",
        warn=thresholds.AVAILABLE,
        warn_below=True,
        empty=_NO_STATS,
        width=8,
    ),
    Panel(
        title="Guests swapping",
        about="What guests read from and write to their swap. Above the dashes under an inflated "
        "balloon, the "
        "balloon costs more than it gives.",
        queries=(Query("topk(10, vm:kvm_vm_balloon_swap_bytes:rate5m{@vm})", VM_LEGEND),),
        unit="Bps",
        warn=thresholds.SWAP_BYTES,
        empty=_NO_STATS,
        width=8,
    ),
    Panel(
        title="OOM kills in guests",
        about="Processes that guests killed for want of memory, in the last quarter of an hour. "
        "Any is too many.",
        queries=(Query("increase(kvm_vm_balloon_oom_kills_total{@vm}[15m])", VM_LEGEND),),
        warn=1,
        empty="no guest tells of OOM kills (newer QEMUs and guests do)",
        width=8,
    ),
    Panel(
        title="Page faults in guests",
        about="Faults that guests say they had; major ones waited for a disk. Major ones in "
        "numbers: the guest "
        "reads its programs back, memory is short.",
        queries=(
            Query(
                f"sum by (severity) (rate(kvm_vm_balloon_faults_total{{@vm}}{_R}))", "{{severity}}"
            ),
        ),
        unit="cps",
        empty=_NO_STATS,
        width=8,
    ),
    Panel(
        title="Second-level page faults",
        about="Faults in the tables that map guest memory: high after a start or a "
        "balloon's deflation, "
        "then low. High for long: the host swaps, merges or migrates the guest's "
        "pages. pf_fixed, those that made an entry, are a part of pf_taken.",
        queries=(
            Query(
                f"sum by ({VM}, stat) (rate(kvm_vm_kvm_stat_total"
                f'{{@vm, stat=~"pf_taken|pf_fixed"}}{_R}))',
                VM_LEGEND + " · {{stat}}",
            ),
            Query(
                f'sum by ({VM}) (rate(kvm_vm_exits_total{{@vm, class="page_fault"}}{_R}))',
                VM_LEGEND + " · exits",
            ),
        ),
        unit="cps",
        width=8,
        empty="nothing counts page faults here",
    ),
    Panel(
        title="Memory by use in guests",
        about="What guests say of their memory, added up: free, cached, what could be had. Free "
        "may be small; "
        "available should not.",
        queries=(Query("sum by (stat) (kvm_vm_balloon_stat_bytes{@vm})", "{{stat}}"),),
        unit="bytes",
        empty=_NO_STATS,
        width=8,
    ),
)

DETAILS = (
    Panel(
        title="Age of guests' statistics",
        about="How old the guests' own numbers are. Above the dashes they say nothing about now: "
        "the guest hangs, "
        "or nobody asks it.",
        queries=(
            Query("kvm_vm_balloon_stats_age_seconds{@vm}", VM_LEGEND + " · guest's"),
            Query("kvm_vm_balloon_age_seconds{@vm}", VM_LEGEND + " · VMM's"),
        ),
        unit="s",
        warn=thresholds.STATS_AGE_SECONDS,
        empty=_NO_STATS,
        width=8,
    ),
    Panel(
        title="Balloon movements",
        about="Only with --collector.balloon.details: how often balloons were found larger or "
        "smaller than before, in the last hour.",
        queries=(
            Query("increase(kvm_vm_balloon_changes_total{@vm}[1h])", VM_LEGEND + " {{direction}}"),
        ),
        empty=_NO_DETAILS,
        width=8,
    ),
    Panel(
        title="Huge pages in guests",
        about="Huge pages that guests allocated from their pools, and failed to.",
        queries=(
            Query(
                f"sum by (outcome) (rate(kvm_vm_balloon_hugetlb_allocations_total{{@vm}}{_R}))",
                "{{outcome}}",
            ),
        ),
        unit="cps",
        empty="no guest uses a pool of huge pages",
        width=8,
    ),
    Panel(
        title="Balloon features",
        kind="table",
        about="Only with --collector.balloon.details: what balloon devices "
        "offer. deflate-on-oom off: a full balloon can cost the guest "
        "a process; "
        "free-page-reporting off: freed memory stays with the VM.",
        queries=(Query("kvm_vm_balloon_feature{@vm}", column=Column("Offered", "bool_yes_no")),),
        hidden=("job",),
        empty=_NO_DETAILS,
    ),
    Panel(
        title="Statistics interval",
        kind="table",
        about="Only with --collector.balloon.details: how often each guest is asked "
        "for its numbers; 0: never. Ten seconds are a good "
        "value.",
        queries=(Query("kvm_vm_balloon_stats_interval_seconds{@vm}", column=Column("Every", "s")),),
        hidden=("job",),
        empty=_NO_DETAILS,
    ),
)
