# SPDX-License-Identifier: Apache-2.0
"""Alerts on exits, I/O paths and the CPU time they cost."""

from dashboards.generate import thresholds
from dashboards.generate.alert import Alert

_BOARD = "kvmexporter-exits"
_VM = "job, instance, vm"

ALERTS = (
    Alert(
        name="KvmVmExitStorm",
        severity="warning",
        value="vm:kvm_vm_exits_per_vcpu:rate5m",
        above=thresholds.EXITS,
        guard=f"vm:kvm_vm_exits_per_vcpu:rate5m > {thresholds.EXITS_TIMES_USUAL} * "
        "vm:kvm_vm_exits_per_vcpu:median1d and "
        # Its age, whatever was not scraped an hour ago.
        "last_over_time(vm:kvm_vm_exits_per_vcpu:rate5m[30m] offset 1h)",
        hold="5m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} leaves guest mode {{ $value | "
        "humanize }} times "
        "a second and vCPU, far more than is usual for it",
        meaning="Exits per vCPU, idle ones left out, are both high and several times what is "
        "usual for this VM: its median of the last day, the last quarter of an hour left out. A "
        "large share of its CPU time goes into the host's exit handling. A VM that is merely "
        "busy has a median to match and does not fire this; a VM younger than an hour is not "
        "judged at all. What lasts for more than half of the day, or of the life of a VM that is "
        "younger than a day, is its usual, and the alert resolves. The rate is a mean over all "
        "vCPUs of the VM: a storm on one vCPU of a large VM stays below the bound, and shows by "
        "vCPU with `--collector.exits.per-vcpu`.",
        check="`kvmexporter dump` ranks the exit reasons and the devices of the VM. One device "
        "on top: "
        "see [KvmVmDeviceExitStorm](KvmVmDeviceExitStorm.md). `msr` with `tsc_deadline`: timers. "
        "`io` on the "
        "PIT or the ACPI timer: the guest's clocksource. `page_fault`: memory is being populated "
        "or "
        "reclaimed.",
        mend="Follow the top reason: virtio for emulated devices, kvm-clock for timer reads, "
        "huge pages for "
        "faults. If nothing inside the VM explains it, treat it as a hostile or broken guest and "
        "limit its "
        "CPU (`schedinfo`, cgroup `cpu.max`).",
        panel=(_BOARD, "Exits per vCPU"),
    ),
    Alert(
        name="KvmVmDeviceExitStorm",
        severity="warning",
        value="vm_device:kvm_vm_io_exits_per_vcpu:rate5m",
        above=thresholds.DEVICE_EXITS,
        hold="5m",
        summary="Device {{ $labels.device }} ({{ $labels.path }}) of VM {{ $labels.vm }} on "
        "{{ $labels.instance }} causes {{ $value | humanize }} exits a second and vCPU",
        meaning="One device alone makes the VM leave guest mode at a rate that costs a large "
        "part of its CPU time. The usual causes are a driver that polls a register, an interrupt "
        "that is not acknowledged, and an emulated timer as clocksource. The rate is a mean over "
        "all vCPUs of the VM: a storm on one vCPU of a large VM stays below the bound, and shows "
        "by vCPU with `--collector.exits.per-vcpu`.",
        check="`kvmexporter dump` shows the device's accesses by direction and by who handled "
        "them, and "
        "which other devices are quiet.",
        mend="`path` emulated: replace the device by its virtio counterpart. virtio: turn on "
        "ioeventfd and "
        "vhost, and event index in the guest. irqchip: the guest's interrupt or timer set-up. "
        "`device` hpet or acpi-pm: give the guest kvm-clock.",
        panel=(_BOARD, "Busiest devices"),
    ),
    Alert(
        name="KvmVmUserspaceExitStorm",
        severity="warning",
        value="vm:kvm_vm_userspace_exits_per_vcpu:rate5m",
        above=thresholds.USERSPACE_EXITS,
        hold="5m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} exits to its VMM {{ $value | "
        "humanize }} times a "
        "second and vCPU",
        meaning="KVM cannot handle these exits and wakes the VMM for each: the slow path, with "
        "the VMM's big lock held for device emulation. All vCPUs of the VM suffer. The rate is a "
        "mean over all vCPUs of the VM: a storm on one vCPU of a large VM stays below the bound, "
        "and shows by vCPU with `--collector.exits.per-vcpu`.",
        check="`kvmexporter dump` ranks the reasons (IO, MMIO, …) and the devices whose accesses "
        "are "
        "handled by userspace.",
        mend="virtio with ioeventfd and vhost in place of emulated devices; in-kernel irqchip "
        "(`kernel-irqchip=on`); a clocksource that takes no exits.",
        panel=(_BOARD, "Exits to the VMM"),
    ),
    Alert(
        name="KvmVmInterruptStorm",
        severity="warning",
        value="vm:kvm_vm_interrupts_injected_per_vcpu:rate5m",
        above=thresholds.INTERRUPTS,
        hold="5m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} takes {{ $value | humanize }} "
        "injected interrupts a "
        "second and vCPU",
        meaning="Interrupts are injected in software at a rate at which the guest does little "
        "else. With APICv or AVIC most would not be seen here at all. The rate is a mean over "
        "all vCPUs of the VM: a storm on one vCPU of a large VM stays below the bound, and its "
        "exits show by vCPU with `--collector.exits.per-vcpu`.",
        check="`kvmexporter dump` shows interrupts by kind and the devices with the most "
        "traffic; in the "
        "guest, `/proc/interrupts` names the line.",
        mend="Interrupt moderation and multiqueue for NICs, event index for virtio, MSI-X "
        "instead of a shared "
        "level-triggered line; a line that nobody acknowledges is a driver bug in the guest.",
        panel=(_BOARD, "Interrupts injected"),
    ),
    Alert(
        name="KvmVmExitHandlingSlow",
        severity="warning",
        value="vm:kvm_vm_exit_stall_seconds:p99_5m",
        above=thresholds.EXIT_HANDLING_SECONDS,
        guard=f"sum by ({_VM}) (rate(kvm_vm_exit_stall_seconds_count[5m])) > "
        f"{thresholds.EXIT_HANDLING_LEAST}",
        hold="10m",
        # Not the value: beyond a bucket's bound it is interpolated.
        summary="More than 1 % of the exits of VM {{ $labels.vm }} on {{ $labels.instance }} take "
        f"longer than {thresholds.EXIT_HANDLING_SECONDS * 1000:.0f} ms",
        meaning="The host needs milliseconds to bring vCPUs back from exits other than idle "
        "ones. To the "
        "guest that is a CPU that stands still: lost ticks, soft lock-ups, late packets.",
        check="`kvmexporter dump` shows the time by exit class: `page_fault`: the host swaps or "
        "compacts; `io` and `mmio`: the VMM waits for its lock or for a disk; all classes alike: "
        "the host is short of CPU, see [KvmVmStealHigh](KvmVmStealHigh.md).",
        mend="Keep guest memory resident (huge pages, no host swap), give devices an I/O thread "
        "of their own, "
        "and leave the host CPUs to spare.",
        panel=(_BOARD, "Handling time by class"),
    ),
    Alert(
        name="KvmVmVhostSaturated",
        severity="warning",
        value="vm:kvm_vm_vhost_cpu_per_worker:rate5m",
        above=thresholds.VHOST_WORKER,
        hold="10m",
        summary="The vhost workers of VM {{ $labels.vm }} on {{ $labels.instance }} are busy "
        "{{ $value | humanizePercentage }} of the time",
        meaning="A vhost worker is one kernel thread and can use one CPU; each queue pair of a NIC "
        "has one. This VM's workers have none of it left: packets queue or drop, although vCPUs "
        "may be idle. The number is the workers' mean: one that is busy among others that are not "
        "does not show.",
        check="`kvmexporter dump` shows the vhost CPU time and the kicks by queue; `top -H` on "
        "the host finds "
        "the `vhost-PID` thread.",
        mend="More queue pairs (`queues=N`, `mq=on`): each brings a worker; the guest has to use "
        "them (`ethtool -L`). Turn segmentation "
        "offload on from "
        "guest to uplink, so that packets are larger. Pin the worker away from the vCPUs.",
        panel=(_BOARD, "vhost workers"),
    ),
    Alert(
        name="KvmVmHaltPollingWaste",
        severity="info",
        value="vm:kvm_vm_halt_polling_per_vcpu:rate5m",
        above=thresholds.HALT_POLLING,
        hold="30m",
        summary="Polling for events that do not come takes {{ $value | humanizePercentage }} of "
        "each vCPU of VM {{ $labels.vm }} on {{ $labels.instance }}",
        meaning="Before a halted vCPU sleeps, KVM polls for its next event for up to "
        "`halt_poll_ns`. For this VM "
        "the polls mostly fail: the host burns CPU that no guest uses. Before Linux 5.8 KVM "
        "does not say how long they last: the number is an upper bound there.",
        check="`kvmexporter dump` shows halts by outcome and the module's `halt_poll_ns`.",
        mend="Lower `/sys/module/kvm/parameters/halt_poll_ns` (0 turns it off), or per VM with "
        "KVM_CAP_HALT_POLL; or move the polling into the guest with the `haltpoll` cpuidle "
        "governor.",
        panel=(_BOARD, "CPU time lost to halt polling"),
    ),
    Alert(
        name="KvmVmStealHigh",
        severity="warning",
        value="vm:kvm_vm_run_delay_per_vcpu:rate5m",
        above=thresholds.STEAL,
        hold="15m",
        summary="The vCPUs of VM {{ $labels.vm }} on {{ $labels.instance }} wait for a CPU "
        "{{ $value | humanizePercentage }} of the time",
        meaning="The VM's vCPUs were ready and the host ran something else. The guest sees it as "
        "steal time; "
        "its timers are late and its spinlocks spin.",
        check="`kvmexporter dump` shows run delay for each VM: the neighbours with much CPU time "
        "and little "
        "delay are those that take it.",
        mend="Move a VM away, lower the overcommit, pin vCPUs, or weigh VMs by cgroup "
        "(`cpu.weight`). Look also "
        "for host jobs and vhost workers on the same CPUs.",
        panel=(_BOARD, "Steal"),
    ),
    Alert(
        name="KvmVmEmulatedDeviceInUse",
        severity="info",
        value=f"sum by ({_VM}, device, driver) (rate(kvm_vm_io_exits_total{{"
        f'path="emulated", handler="userspace", driver=~"{thresholds.EMULATED_DRIVERS}"}}[5m]))',
        above=thresholds.EMULATED_ACCESSES,
        hold="15m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} works through the emulated {{ "
        "$labels.driver }} "
        "({{ $labels.device }}): {{ $value | humanize }} exits a second",
        meaning="A disk or NIC is emulated register by register, in the VMM, where a paravirtual "
        "one would "
        "take a fraction of the exits and CPU time.",
        check="`kvmexporter dump` lists the VM's devices with the path their data takes, and the "
        "exits of each.",
        mend="virtio-net, virtio-blk or virtio-scsi instead, once the guest has the drivers "
        "(Windows: "
        "virtio-win).",
        panel=(_BOARD, "Emulated devices"),
    ),
)
