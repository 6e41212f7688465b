# SPDX-License-Identifier: Apache-2.0
"""Courses of events for the alerts on exits, I/O and CPU time."""

from typing import Final

from dashboards.generate.promtool import Case

_VM = {"vm": "web"}
_VCPUS = 'kvm_vm_vcpus{vm="web"}'
_EXITS = 'kvm_vm_exits_total{vm="web",reason="IO_INSTRUCTION",class="io"}'
_IDLE = 'kvm_vm_exits_total{vm="web",reason="HLT",class="hlt"}'
_NIC = 'vm="web",device="net0",driver="e1000",path="emulated",access="mmio",direction="read"'
_VIRTIO = 'vm="web",device="net0",driver="virtio-net-pci",path="virtio",access="mmio"'
_TIMES = 'kvm_vm_exit_stall_seconds_bucket{vm="web",le='
_IDLE_TIMES = 'kvm_vm_exit_handling_seconds_bucket{vm="web",class="hlt",le='
_VHOST = 'vm="web",driver="virtio-net-pci",path="vhost"'
_VHOST_CPU = 'kvm_vm_vhost_cpu_seconds_total{vm="web"}'
_VHOST_WORKERS = 'kvm_vm_vhost_workers{vm="web"}'
_POLLS = 'kvm_vm_kvm_stat_total{vm="web",stat="halt_attempted_poll"}'
_POLLED = 'kvm_vm_kvm_stat_total{vm="web",stat="halt_successful_poll"}'
_FAILED_POLLS = 'kvm_vm_halt_poll_fail_seconds_total{vm="web"}'
_POLL_NS = 'kvm_host_module_parameter{module="kvm",parameter="halt_poll_ns"}'
_COUNT = 'kvm_vm_exit_stall_seconds_count{vm="web"}'
_STORM = (
    "VM web on host-1 leaves guest mode 120k times a second and vCPU, far more than is usual for it"
)
_SLOW = "More than 1 % of the exits of VM web on host-1 take longer than 2 ms"

CASES: Final[dict[str, tuple[Case, ...]]] = {
    "KvmVmExitStorm": (
        Case(
            about="two quiet hours, then 120,000 exits a second and vCPU",
            series={_VCPUS: "2x300", _EXITS: "0+30000x240 14400000+7200000x40"},
            at="135m",
            fires=((_VM, _STORM),),
        ),
        Case(
            about="the same, two hours into it",
            series={_VCPUS: "2x600", _EXITS: "0+30000x240 14400000+7200000x300"},
            at="4h",
            fires=((_VM, _STORM),),
        ),
        Case(
            about="eight quiet hours, and six of a storm",
            series={_VCPUS: "2x1700", _EXITS: "0+30000x960 36000000+7200000x740"},
            at="14h",
            fires=((_VM, _STORM),),
        ),
        Case(
            about="a storm with twenty minutes an hour ago of which nothing is known",
            series={
                _VCPUS: "2x300 _x40 2x200",
                _EXITS: "0+30000x240 14400000+7200000x59 _x40 1000000000+7200000x200",
            },
            at="225m",
            fires=((_VM, _STORM),),
        ),
        Case(
            about="days that are three times as busy as nights",
            series={_VCPUS: "2x300", _EXITS: "0+2400000x240 583200000+7200000x60"},
            at="140m",
        ),
        Case(
            about="the same, for some minutes yet",
            series={_VCPUS: "2x300", _EXITS: "0+30000x240 14400000+7200000x40"},
            at="126m",
        ),
        Case(
            about="twenty times the usual, which is next to nothing",
            series={_VCPUS: "2x300", _EXITS: "0+30000x240 7200000+600000x40"},
            at="135m",
        ),
        Case(
            about="a guest that is merely busy, for hours",
            series={_VCPUS: "2x300", _EXITS: "0+7200000x300"},
            at="135m",
        ),
        Case(
            about="a guest that has nothing to do, and says so often",
            series={_VCPUS: "2x300", _IDLE: "0+30000x240 14400000+7200000x40"},
            at="135m",
        ),
        Case(
            about="a VM's boot",
            series={_VCPUS: "2x80", _EXITS: "0+7200000x20 144030000+30000x60"},
            at="9m",
        ),
        Case(
            about="a live migration: the VM arrives, busy",
            series={
                'kvm_vm_vcpus{instance="host-2",vm="web"}': "2x280",
                f'{_EXITS[:-1]},instance="host-2"}}': "0+7200000x240",
                _VCPUS: "_x240 2x60",
                _EXITS: "_x240 0+7200000x60",
            },
            at="140m",
        ),
        Case(
            about="a counter that starts anew",
            series={_VCPUS: "2x300", _EXITS: "900000000000+30000x240 0+30000x60"},
            at="130m",
        ),
    ),
    "KvmVmDeviceExitStorm": (
        Case(
            about="a driver that polls a register",
            series={
                _VCPUS: "1x60",
                f'kvm_vm_io_exits_total{{{_VIRTIO},handler="userspace"}}': "0+900000x60",
            },
            fires=(
                (
                    _VM | {"device": "net0", "driver": "virtio-net-pci", "path": "virtio"},
                    "Device net0 (virtio) of VM web on host-1 causes 30k exits a second and vCPU",
                ),
            ),
        ),
        Case(
            about="the same on four vCPUs, and a restart of the VMM",
            series={
                _VCPUS: "4x60",
                f"kvm_vm_io_exits_total{{{_VIRTIO}}}": "90000000+900000x20 0+900000x40",
            },
        ),
    ),
    "KvmVmUserspaceExitStorm": (
        Case(
            about="15,000 a second",
            series={
                _VCPUS: "1x60",
                'kvm_vm_userspace_exits_total{vm="web",reason="IO"}': "0+450000x60",
            },
            fires=((_VM, "VM web on host-1 exits to its VMM 15k times a second and vCPU"),),
        ),
        Case(
            about="signals that restart KVM_RUN",
            series={
                _VCPUS: "1x60",
                'kvm_vm_userspace_exits_total{vm="web",reason="restart"}': "0+450000x60",
            },
        ),
        Case(
            about="a boot: two minutes of firmware",
            series={
                _VCPUS: "1x60",
                'kvm_vm_userspace_exits_total{vm="web",reason="IO"}': "0+600000x4 2400000x55",
            },
            at="4m",
        ),
    ),
    "KvmVmInterruptStorm": (
        Case(
            about="a line that nobody acknowledges",
            series={
                _VCPUS: "1x60",
                'kvm_vm_interrupts_injected_total{vm="web",kind="external"}': "0+1200000x60",
            },
            fires=((_VM, "VM web on host-1 takes 40k injected interrupts a second and vCPU"),),
        ),
        Case(
            about="a busy NIC with moderation",
            series={
                _VCPUS: "1x60",
                'kvm_vm_interrupts_injected_total{vm="web",kind="external"}': "0+600000x60",
            },
        ),
    ),
    "KvmVmExitHandlingSlow": (
        Case(
            about="5 % of exits take some 20 ms",
            series={
                f'{_TIMES}"0.000131072"}}': "0+9500x80",
                f'{_TIMES}"0.002097152"}}': "0+9500x80",
                f'{_TIMES}"0.033554432"}}': "0+10000x80",
                f'{_TIMES}"+Inf"}}': "0+10000x80",
                _COUNT: "0+10000x80",
            },
            at="30m",
            fires=((_VM, _SLOW),),
        ),
        Case(
            about="1.2 % take just over 2 ms",
            series={
                f'{_TIMES}"0.002097152"}}': "0+9880x80",
                f'{_TIMES}"0.033554432"}}': "0+10000x80",
                f'{_TIMES}"+Inf"}}': "0+10000x80",
                _COUNT: "0+10000x80",
            },
            at="30m",
            fires=((_VM, _SLOW),),
        ),
        Case(
            about="99.1 % take less than 2 ms, and the others half a second",
            series={
                f'{_TIMES}"0.000131072"}}': "0x80",
                f'{_TIMES}"0.002097152"}}': "0+9910x80",
                f'{_TIMES}"0.033554432"}}': "0+9910x80",
                f'{_TIMES}"+Inf"}}': "0+10000x80",
                _COUNT: "0+10000x80",
            },
            at="30m",
        ),
        Case(
            about="slow, but two exits a second",
            series={
                f'{_TIMES}"0.002097152"}}': "0x80",
                f'{_TIMES}"0.033554432"}}': "0+60x80",
                f'{_TIMES}"+Inf"}}': "0+60x80",
                _COUNT: "0+60x80",
            },
            at="30m",
        ),
        Case(
            about="idle exits last",
            series={
                f'{_IDLE_TIMES}"0.002097152"}}': "0x80",
                f'{_IDLE_TIMES}"+Inf"}}': "0+10000x80",
                'kvm_vm_exit_handling_seconds_count{vm="web",class="hlt"}': "0+10000x80",
            },
            at="30m",
        ),
    ),
    "KvmVmVhostSaturated": (
        Case(
            about="one worker, all of a CPU, and two devices on vhost-user, which have none",
            series={
                _VHOST_CPU: "0+28.5x80",
                _VHOST_WORKERS: "1x80",
                f'kvm_vm_device_info{{{_VHOST},device="net0"}}': "1x80",
                f'kvm_vm_device_info{{{_VHOST},device="net1"}}': "1x80",
                f'kvm_vm_device_info{{{_VHOST},device="net2"}}': "1x80",
            },
            at="30m",
            fires=((_VM, "The vhost workers of VM web on host-1 are busy 95% of the time"),),
        ),
        Case(
            about="a NIC with four queue pairs, all of four CPUs",
            series={
                _VHOST_CPU: "0+114x80",
                _VHOST_WORKERS: "4x80",
                f'kvm_vm_device_info{{{_VHOST},device="net0"}}': "1x80",
            },
            at="30m",
            fires=((_VM, "The vhost workers of VM web on host-1 are busy 95% of the time"),),
        ),
        Case(
            about="a NIC with four queue pairs, whose workers have much to spare",
            series={
                _VHOST_CPU: "0+36x80",
                _VHOST_WORKERS: "4x80",
                f'kvm_vm_device_info{{{_VHOST},device="net0"}}': "1x80",
            },
            at="30m",
        ),
        Case(
            about="the NIC was unplugged",
            series={_VHOST_CPU: "0+29.1x30 873x50", _VHOST_WORKERS: "1x30 _x50"},
            at="30m",
        ),
    ),
    "KvmVmHaltPollingWaste": (
        Case(
            about="polls in vain, 12 seconds in half a minute",
            series={_VCPUS: "1x120", _FAILED_POLLS: "0+12x120"},
            at="50m",
            fires=(
                (
                    _VM,
                    "Polling for events that do not come takes 40% of each vCPU of VM web on "
                    "host-1",
                ),
            ),
        ),
        Case(
            about="2,000 polls a second in vain, most of them short",
            series={
                _VCPUS: "1x120",
                _POLLS: "0+75000x120",
                _POLLED: "0+15000x120",
                _POLL_NS: "200000x120",
                _FAILED_POLLS: "0+0.6x120",
            },
            at="50m",
        ),
        Case(
            about="2,000 polls a second in vain, of 200 µs, before Linux 5.8",
            series={
                _VCPUS: "1x120",
                _POLLS: "0+75000x120",
                _POLLED: "0+15000x120",
                _POLL_NS: "200000x120",
            },
            at="50m",
            fires=(
                (
                    _VM,
                    "Polling for events that do not come takes 40% of each vCPU of VM web on "
                    "host-1",
                ),
            ),
        ),
        Case(
            about="as many polls, and most succeed",
            series={
                _VCPUS: "1x120",
                _POLLS: "0+75000x120",
                _POLLED: "0+60000x120",
                _POLL_NS: "200000x120",
            },
            at="50m",
        ),
    ),
    "KvmVmStealHigh": (
        Case(
            about="a quarter of each vCPU",
            series={_VCPUS: "2x80", 'kvm_vm_run_delay_seconds_total{vm="web"}': "0+15x80"},
            at="30m",
            fires=((_VM, "The vCPUs of VM web on host-1 wait for a CPU 25% of the time"),),
        ),
        Case(
            about="a boot storm of ten minutes",
            series={_VCPUS: "2x80", 'kvm_vm_run_delay_seconds_total{vm="web"}': "0+15x20 300+1x60"},
            at="15m",
        ),
    ),
    "KvmVmEmulatedDeviceInUse": (
        Case(
            about="an e1000 at work",
            series={
                _VCPUS: "1x80",
                f'kvm_vm_io_exits_total{{{_NIC},handler="userspace"}}': "0+60000x80",
            },
            at="30m",
            fires=(
                (
                    _VM | {"device": "net0", "driver": "e1000"},
                    "VM web on host-1 works through the emulated e1000 (net0): 2k exits a second",
                ),
            ),
        ),
        Case(
            about="an e1000 that only the firmware looked at",
            series={
                _VCPUS: "1x80",
                f'kvm_vm_io_exits_total{{{_NIC},handler="userspace"}}': "0+60000x4 240000x76",
            },
            at="30m",
        ),
        Case(
            about="virtio at work",
            series={
                _VCPUS: "1x80",
                f'kvm_vm_io_exits_total{{{_VIRTIO},handler="userspace"}}': "0+60000x80",
            },
            at="30m",
        ),
    ),
}
