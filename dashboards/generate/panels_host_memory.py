# SPDX-License-Identifier: Apache-2.0
"""Panels on the host's memory: what it has, what it promised, and what KSM and balloons save."""

from dashboards.generate.panel import VM_LEGEND, Panel, Query

_NO_KSM = "the host's kernel has no KSM"
_NO_HOST = "no chosen instance is a KVM host"

PANELS = (
    Panel(
        title="Host memory",
        about="What the host has, can still give, and has promised to VMs. Promised above it is "
        "overcommitment: "
        "fine while available stays well above zero.",
        queries=(
            Query("kvm_host_memory_bytes{@host}", "{{instance}} has"),
            Query("kvm_host_memory_available_bytes{@host}", "{{instance}} can give"),
            Query("kvm_host_memory_promised_bytes{@host}", "{{instance}} promised"),
        ),
        unit="bytes",
        empty=_NO_HOST,
        width=8,
    ),
    Panel(
        title="Memory saved",
        about="What VMs do not take from the host, and why: balloons hold it, or KSM merged it.",
        queries=(Query("kvm_host_memory_saved_bytes{@host}", "{{instance}} by {{by}}"),),
        unit="bytes",
        stacked=True,
        empty="nothing saves memory here",
        width=8,
    ),
    Panel(
        title="VM processes by kind of memory",
        about="Where VMs' memory is. swapped growing: the host is short and guests stall; take "
        "memory back by "
        "balloon or move VMs away.",
        queries=(Query("sum by (kind) (kvm_vm_process_memory_bytes{@vm})", "{{kind}}"),),
        unit="bytes",
        stacked=True,
        empty="no VM runs on the chosen hosts",
        width=8,
    ),
    Panel(
        title="KSM runs",
        kind="state",
        about="Whether KSM looks for equal pages. It trades CPU time, and isolation between "
        "tenants, for memory.",
        queries=(Query("max by (job, instance) (kvm_host_ksm_running{@host})", "{{instance}}"),),
        texts={"0": ("no", "text"), "1": ("yes", "green")},
        empty=_NO_KSM,
        width=6,
    ),
    Panel(
        title="KSM memory",
        about="What KSM has looked at. sharing is the gain; much volatile or unshared for little "
        "sharing: it works in "
        "vain, stop it.",
        queries=(Query("sum by (state) (kvm_host_ksm_memory_bytes{@host})", "{{state}}"),),
        unit="bytes",
        empty=_NO_KSM,
        width=6,
    ),
    Panel(
        title="KSM by VM",
        about="Memory of each VM that is merged with equal pages; it comes back as page faults "
        "when written.",
        queries=(Query("topk(10, kvm_vm_ksm_merged_bytes{@vm})", VM_LEGEND),),
        unit="bytes",
        empty="KSM has merged nothing",
        width=6,
    ),
    Panel(
        title="KSM full scans",
        about="Times in the last hour that KSM has looked at all it may merge. None: it never "
        "gets through, and its "
        "numbers are not final.",
        queries=(Query("increase(kvm_host_ksm_full_scans_total{@host}[1h])", "{{instance}}"),),
        empty=_NO_KSM,
        width=6,
    ),
)
