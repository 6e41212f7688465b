# SPDX-License-Identifier: Apache-2.0
"""What VMs were promised, what they occupy, and what the balloon does about it."""

from dashboards.generate import panels_balloon, panels_guest_memory, panels_host_memory
from dashboards.generate.panel import VM_LEGEND, Board, Panel, Query, Section

_NO_VM = "no VM runs on the chosen hosts"

BOARD = Board(
    uid="kvmexporter-memory",
    title="KVM / Memory and balloon",
    about="What VMs were promised, what they occupy, and what the balloon does about it.",
    variables=("job", "instance", "vm"),
    sections=(
        Section(
            "",
            (
                Panel(
                    title="Memory promised and occupied",
                    about="Per host: what its VMs were started with, and what their processes "
                    "occupy. The gap is what "
                    "overcommit lives on; when occupied nears the host's memory, inflate "
                    "balloons or move VMs.",
                    queries=(
                        Query(
                            "sum by (job, instance) (kvm_vm_memory_max_bytes{@vm})",
                            "{{instance}} promised",
                        ),
                        Query(
                            "sum by (job, instance) (kvm_vm_resident_memory_bytes{@vm})",
                            "{{instance}} occupied",
                        ),
                    ),
                    unit="bytes",
                    width=8,
                    empty=_NO_VM,
                ),
                Panel(
                    title="Memory occupied by VM",
                    about="The ten largest VMs by host memory, the VMM's own included. One above "
                    "its promise has a VMM "
                    "that grows: many devices, or a leak.",
                    queries=(Query("topk(10, kvm_vm_resident_memory_bytes{@vm})", VM_LEGEND),),
                    unit="bytes",
                    width=8,
                    empty=_NO_VM,
                ),
                Panel(
                    title="Share of the promise in use",
                    about="Occupied by promised. Well under 1 for long: the VM never needed it. "
                    "It falls when the "
                    "balloon inflates or free page reporting works.",
                    queries=(
                        Query(
                            "topk(10, kvm_vm_resident_memory_bytes{@vm} / "
                            "kvm_vm_memory_max_bytes{@vm})",
                            VM_LEGEND,
                        ),
                    ),
                    unit="percentunit",
                    width=8,
                    empty=_NO_VM,
                ),
                *panels_balloon.PANELS,
            ),
        ),
        Section("Host memory and KSM", panels_host_memory.PANELS),
        Section("Inside guests", panels_guest_memory.PANELS),
        Section("Balloon details", panels_balloon.DETAILS),
    ),
)
