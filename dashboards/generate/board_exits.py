# SPDX-License-Identifier: Apache-2.0
"""One VM's exits and I/O paths."""

from dashboards.generate import panels_devices, thresholds
from dashboards.generate.panel import VM_LEGEND, Board, Panel, Query, Section
from dashboards.generate.recording import VM

_NO_BPF = "no exits are counted: does the host have BPF? See KVM / Exporter health"
_NO_INTERRUPT = "no interrupt was injected in software"
_R = "[$__rate_interval]"

_OVERVIEW = (
    Panel(
        title="Exits per vCPU",
        about="How often each vCPU leaves guest mode, idle exits left out, and (dotted name) "
        "what is usual for the VM, its median of a day. Above the dashes *and* several times the "
        "usual is an exit storm: look for the reason to the right, for the device below.",
        queries=(
            Query("vm:kvm_vm_exits_per_vcpu:rate5m{@vm}", VM_LEGEND),
            Query("vm:kvm_vm_exits_per_vcpu:median1d{@vm}", VM_LEGEND + " · usual"),
        ),
        unit="cps",
        warn=thresholds.EXITS,
        empty=_NO_BPF,
        width=8,
    ),
    Panel(
        title="Exits by class",
        about="What kinds of exits there are. hlt is idle time and harmless; io and mmio are "
        "devices, msr mostly "
        "timers, page_fault memory, interrupt the host's own.",
        queries=(
            Query(
                f'sum by (class) (rate(kvm_vm_exits_total{{@vm, class=~"$class"}}{_R}))',
                "{{class}}",
            ),
        ),
        unit="cps",
        stacked=True,
        empty=_NO_BPF,
        width=8,
    ),
    Panel(
        title="Exits by reason",
        about="The ten most frequent reasons, by the processor's own names.",
        queries=(
            Query(
                f'topk(10, sum by (reason) (rate(kvm_vm_exits_total{{@vm, class=~"$class"}}{_R})))',
                "{{reason}}",
            ),
        ),
        unit="cps",
        empty=_NO_BPF,
        width=8,
    ),
    Panel(
        title="I/O exits by path",
        about="Accesses to devices by how they are served. emulated: a device model, register by "
        "register; "
        "virtio: queues in the VMM; vhost: queues in the kernel; irqchip: in KVM. Much emulated "
        "traffic "
        "calls for virtio.",
        queries=(
            Query(
                f'sum by (path) (rate(kvm_vm_io_exits_total{{@vm, path=~"$path"}}{_R}))', "{{path}}"
            ),
        ),
        unit="cps",
        stacked=True,
        empty="no access to a device",
        width=8,
    ),
    Panel(
        title="Busiest devices",
        about="Exits per vCPU of the ten busiest devices. One above the dashes is a storm from "
        "that device.",
        queries=(
            Query(
                'topk(10, vm_device:kvm_vm_io_exits_per_vcpu:rate5m{@vm, path=~"$path"})',
                "{{device}} · " + VM_LEGEND,
            ),
        ),
        unit="cps",
        warn=thresholds.DEVICE_EXITS,
        empty="no access to a device",
        width=8,
    ),
    Panel(
        title="Who handles I/O",
        about="Whether KVM handled an access by itself (kernel, about 1 µs) or woke the VMM "
        "(userspace, about "
        "10 µs). virtio doorbells in userspace mean that ioeventfd is off.",
        queries=(
            Query(
                f'sum by (handler) (rate(kvm_vm_io_exits_total{{@vm, path=~"$path"}}{_R}))',
                "{{handler}}",
            ),
        ),
        unit="cps",
        stacked=True,
        empty="no access to a device",
        width=8,
    ),
    Panel(
        title="Exits to the VMM",
        about="Exits that KVM passed to the VMM, per vCPU; above the dashes the VMM's lock "
        "limits the whole VM.",
        queries=(Query("vm:kvm_vm_userspace_exits_per_vcpu:rate5m{@vm}", VM_LEGEND),),
        unit="cps",
        warn=thresholds.USERSPACE_EXITS,
        empty="no exit to a VMM",
        width=8,
    ),
    Panel(
        title="Exits to the VMM by reason",
        about="Why the VMM was woken. IO and MMIO are devices; restart is a signal and not "
        "counted in the alert.",
        queries=(
            Query(f"sum by (reason) (rate(kvm_vm_userspace_exits_total{{@vm}}{_R}))", "{{reason}}"),
        ),
        unit="cps",
        stacked=True,
        empty="no exit to a VMM",
        width=8,
    ),
    Panel(
        title="Kicks by queue",
        about="Doorbells of virtqueues, the ten busiest. One queue far ahead of its siblings: "
        "the guest does not "
        "spread its load (multiqueue, RSS). Many kicks for few bytes: no event index.",
        queries=(
            Query(
                f"topk(10, sum by ({VM}, device, queue) "
                f"(rate(kvm_vm_virtqueue_kicks_total{{@vm}}{_R})))",
                "{{device}} queue {{queue}} · " + VM_LEGEND,
            ),
        ),
        unit="cps",
        empty="no doorbell was rung, or the VMM cannot be asked for its devices",
        width=8,
    ),
    Panel(
        title="Handling time",
        kind="heatmap",
        about="From an exit to the next entry, idle exits left out. A band that climbs over the "
        "milliseconds is "
        "time taken from the guest.",
        queries=(
            Query(f"sum by (le) (rate(kvm_vm_exit_stall_seconds_bucket{{@vm}}{_R}))", "{{le}}"),
        ),
        unit="s",
        empty=_NO_BPF,
        width=8,
    ),
    Panel(
        title="Handling time by class",
        about="Means by class, and the 99th percentile of all: which kind of exit is slow. Above "
        "the dashes: page_fault: host memory is short; io, mmio: the VMM waits; all: the host is "
        "short of CPU. Distributions by class: --collector.exits.buckets.",
        queries=(
            Query(
                "sum by (class) (rate(kvm_vm_exit_handling_seconds_sum"
                f'{{@vm, class=~"$class", class!="hlt"}}{_R})) / '
                "sum by (class) (rate(kvm_vm_exit_handling_seconds_count"
                f'{{@vm, class=~"$class", class!="hlt"}}{_R}))',
                "{{class}}",
            ),
            Query("vm:kvm_vm_exit_stall_seconds:p99_5m{@vm}", VM_LEGEND + " · 99th percentile"),
        ),
        unit="s",
        warn=thresholds.EXIT_HANDLING_SECONDS,
        empty=_NO_BPF,
        width=8,
    ),
    Panel(
        title="I/O handling time by device",
        about="How long a vCPU stands still for an access to a device, means; the ten slowest. A "
        "slow device in the VMM wants an I/O thread or vhost. Distributions: "
        "--collector.io.buckets.",
        queries=(
            Query(
                "topk(10, sum by (device, path) (rate("
                f'kvm_vm_io_handling_seconds_sum{{@vm, path=~"$path"}}{_R})) / '
                "sum by (device, path) (rate("
                f'kvm_vm_io_handling_seconds_count{{@vm, path=~"$path"}}{_R})))',
                "{{device}} ({{path}})",
            ),
        ),
        unit="s",
        empty="no access to a device",
        width=8,
    ),
)

_CPU = (
    Panel(
        title="Steal",
        about="Share of their time that vCPUs were ready and waited for a CPU. Above the dashes "
        "the guest "
        "notices: move something away from the host.",
        queries=(Query("vm:kvm_vm_run_delay_per_vcpu:rate5m{@vm}", VM_LEGEND),),
        unit="percentunit",
        warn=thresholds.STEAL,
        empty="no VM runs",
        width=8,
    ),
    Panel(
        title="CPU time",
        about="CPUs that the vCPU threads use, in the guest and in handling its exits.",
        queries=(
            Query(f"sum by ({VM}) (rate(kvm_vm_vcpu_cpu_seconds_total{{@vm}}{_R}))", VM_LEGEND),
        ),
        empty="no VM runs",
        width=8,
    ),
    Panel(
        title="vhost workers",
        about="How busy the kernel's workers for this VM's queues are. At 100 % packets wait: "
        "more queue pairs.",
        queries=(Query("vm:kvm_vm_vhost_cpu_per_worker:rate5m{@vm}", VM_LEGEND),),
        unit="percentunit",
        warn=thresholds.VHOST_WORKER,
        empty="no device is on vhost",
        width=8,
    ),
    Panel(
        title="Halts by outcome",
        about="How halts ended. poll: an event came while KVM polled, the cheap case; wait: the "
        "thread slept; "
        "invalid: woken for nothing.",
        queries=(
            Query(f"sum by (outcome) (rate(kvm_vm_halt_polls_total{{@vm}}{_R}))", "{{outcome}}"),
        ),
        unit="cps",
        stacked=True,
        empty="no vCPU halts",
        width=8,
    ),
    Panel(
        title="Halt duration",
        about="How long vCPUs with nothing to do waited, means. Much below 65 µs: the guest wakes "
        "too often for sleep to pay; polling in the guest may do better. Distributions: "
        "--collector.exits.buckets.",
        queries=(
            Query(
                f"sum by ({VM}) (rate(kvm_vm_halt_seconds_sum{{@vm}}{_R})) / "
                f"sum by ({VM}) (rate(kvm_vm_halt_seconds_count{{@vm}}{_R}))",
                VM_LEGEND,
            ),
        ),
        unit="s",
        empty="no vCPU halts",
        width=8,
    ),
    Panel(
        title="CPU time lost to halt polling",
        about="Share of each vCPU that polls in vain take; before Linux 5.8, at most. Above the "
        "dashes, lower halt_poll_ns.",
        queries=(Query("vm:kvm_vm_halt_polling_per_vcpu:rate5m{@vm}", VM_LEGEND),),
        unit="percentunit",
        warn=thresholds.HALT_POLLING,
        empty="KVM's own counters are not to be had here",
        width=8,
    ),
)

_PROCESSOR = (
    Panel(
        title="MSR accesses",
        about="Accesses to model-specific registers, the ten most frequent. tsc_deadline and "
        "x2APIC registers are "
        "timers and interrupts; others in numbers are a guest that pokes.",
        queries=(
            Query(
                f"topk(10, sum by (msr, direction) (rate(kvm_vm_msr_accesses_total{{@vm}}{_R})))",
                "{{msr}} {{direction}}",
            ),
        ),
        unit="cps",
        empty="no MSR was accessed",
        width=8,
    ),
    Panel(
        title="Interrupts injected",
        about="Interrupts per vCPU that KVM injects in software; with APICv or AVIC most are not "
        "seen. Above the "
        "dashes is a storm.",
        queries=(Query("vm:kvm_vm_interrupts_injected_per_vcpu:rate5m{@vm}", VM_LEGEND),),
        unit="cps",
        warn=thresholds.INTERRUPTS,
        empty=_NO_INTERRUPT,
        width=8,
    ),
    Panel(
        title="Interrupts by kind",
        about="All chosen VMs' together. external: of devices and timers; software: the guest's "
        "own; reinjected: cut short by an exit and given again; exception: raised by KVM.",
        queries=(
            Query(f"sum by (kind) (rate(kvm_vm_interrupts_injected_total{{@vm}}{_R}))", "{{kind}}"),
        ),
        unit="cps",
        stacked=True,
        empty=_NO_INTERRUPT,
        width=8,
    ),
    Panel(
        title="Hypercalls",
        about="Calls of the guest to KVM. kick_cpu and sched_yield in numbers: vCPUs fight over "
        "locks on too few "
        "CPUs.",
        queries=(
            Query(
                f"sum by (hypercall) (rate(kvm_vm_hypercalls_total{{@vm}}{_R}))", "{{hypercall}}"
            ),
        ),
        unit="cps",
        empty="no hypercall",
    ),
    Panel(
        title="Exits by vCPU",
        about="Only with --collector.exits.per-vcpu: whether one vCPU does all the exits, as "
        "with one queue's "
        "interrupt on one CPU.",
        queries=(
            Query(
                f"sum by ({VM}, vcpu) (rate(kvm_vm_vcpu_exits_total{{@vm}}{_R}))",
                VM_LEGEND + " · vCPU {{vcpu}}",
            ),
        ),
        unit="cps",
        empty="not counted by vCPU (--collector.exits.per-vcpu)",
    ),
    Panel(
        title="KVM's own counters",
        about="The ten that grow fastest. tlb_flush: page tables change; insn_emulation: KVM "
        "decodes instructions itself; preemption_reported: vCPUs lose their CPU. More of them: "
        "--collector.kvm_stats.all.",
        queries=(
            Query(f"topk(10, sum by (stat) (rate(kvm_vm_kvm_stat_total{{@vm}}{_R})))", "{{stat}}"),
        ),
        unit="cps",
        empty="KVM's own counters are not to be had here",
        width=24,
    ),
)

BOARD = Board(
    uid="kvmexporter-exits",
    title="KVM / VM: exits and I/O paths",
    about="Why VMs leave guest mode, through which device and path, and how long the host takes.",
    variables=("job", "instance", "vm", "path", "class"),
    sections=(
        Section("", _OVERVIEW),
        Section("CPU, steal and halts", _CPU),
        Section("Processor", _PROCESSOR),
        Section("Devices", (*panels_devices.PATHS, *panels_devices.BACKENDS)),
        Section("Inside guests", panels_devices.GUESTS),
    ),
)
