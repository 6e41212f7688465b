# SPDX-License-Identifier: Apache-2.0
"""Alerts on balloons and on guests that run out of memory."""

from dashboards.generate import thresholds
from dashboards.generate.alert import COUNT, Alert

_BOARD = "kvmexporter-memory"
_VM = "job, instance, vm"

ALERTS = (
    Alert(
        name="KvmVmBalloonStuck",
        severity="warning",
        value=f"max by ({_VM}) (kvm_vm_balloon_short_seconds)",
        above=thresholds.BALLOON_SHORT_SECONDS,
        hold="5m",
        summary="The balloon of VM {{ $labels.vm }} on {{ $labels.instance }} has been short of "
        "its target for "
        "{{ $value | humanizeDuration }}",
        meaning="The guest was asked to give memory back and has not: its memory is in use or "
        "locked, its driver is "
        "not loaded, or it hangs. The host counts on memory that it will not get.",
        check="`kvmexporter dump` shows what the guest has and should have, what it says is "
        "available, and whether it "
        "answers at all.",
        mend="Ask for less (`virsh setmem`, `balloon N` in the monitor), or free memory in the "
        "guest. Without a driver: "
        "`modprobe virtio_balloon`. Where the host needs the memory now, migrate a VM away.",
        panel=(_BOARD, "Short of target for"),
    ),
    Alert(
        name="KvmVmSwappingUnderBalloon",
        severity="warning",
        value="vm:kvm_vm_balloon_swap_bytes:rate5m",
        above=thresholds.SWAP_BYTES,
        guard=f"max by ({_VM}) (kvm_vm_balloon_actual_bytes) < {thresholds.BALLOON_INFLATED} * "
        f"max by ({_VM}) (kvm_vm_balloon_max_bytes)",
        hold="10m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} swaps {{ $value | humanize1024 "
        "}}B a second under an "
        "inflated balloon",
        meaning="The balloon took more than the guest could spare: it swaps, through a virtual "
        "disk, what would have "
        "been memory. Both guest and host pay for that.",
        check="`kvmexporter dump` shows the balloon, and what the guest says of swap, faults and "
        "available memory. Guests are asked for their memory as often as libvirt or "
        "`--balloon.set-polling SECONDS` of the exporter says, and by default not at all.",
        mend="Deflate the balloon: `virsh setmem VM SIZE`, or `balloon N` in the monitor. Set "
        "targets from what guests say "
        "is available, and leave them a margin.",
        panel=(_BOARD, "Guests swapping"),
    ),
    Alert(
        name="KvmVmOomRisk",
        severity="critical",
        value="vm:kvm_vm_balloon_available:ratio",
        below=thresholds.AVAILABLE,
        guard=f"max by ({_VM}) (kvm_vm_balloon_stats_age_seconds) < {thresholds.STATS_AGE_SECONDS}",
        hold="5m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} has {{ $value | "
        "humanizePercentage }} of its memory left",
        meaning="Hardly any memory can be had in the guest without swapping. The next burst ends "
        "with the OOM killer, and a "
        "balloon without deflate-on-oom will not help it.",
        check="`kvmexporter dump` shows what is available and whether the balloon gives memory "
        "back when it runs out. Guests are asked for their memory as often as libvirt or "
        "`--balloon.set-polling SECONDS` of the exporter says, and by default not at all.",
        mend="Deflate the balloon, or give the VM more memory. Start VMs with "
        "`deflate-on-oom=on`, which lets the guest take "
        "pages back from the balloon in need.",
        panel=(_BOARD, "Available in guests"),
    ),
    Alert(
        name="KvmVmOomKilled",
        severity="critical",
        value=f"sum by ({_VM}) (increase(kvm_vm_balloon_oom_kills_total[15m]))",
        above=0,
        hold="0m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} killed "
        f"{COUNT} processes for want of memory",
        meaning="The guest ran out of memory within the last quarter of an hour and its kernel "
        "ended processes.",
        check="`kvmexporter dump` shows the balloon and the guest's memory; the guest's own log "
        "names the processes. Guests are asked for their memory as often as libvirt or "
        "`--balloon.set-polling SECONDS` of the exporter says, and by default not at all.",
        mend="As for [KvmVmOomRisk](KvmVmOomRisk.md); then restart what was killed.",
        panel=(_BOARD, "OOM kills in guests"),
    ),
)
