# SPDX-License-Identifier: Apache-2.0
"""What a dashboard or alert computes more than once, computed by Prometheus ahead of time.

Named level:metric:operation. `per_vcpu` makes VMs of different sizes comparable.
"""

from dashboards.generate import thresholds
from dashboards.generate.alert import Recording

VM = "job, instance, vm"
_VCPUS = f"clamp_min(max by ({VM}) (kvm_vm_vcpus), 1)"


def per_vcpu(expr: str) -> str:
    """A VM's rate by the number of its vCPUs."""
    return f"{expr} / on ({VM}) group_left () {_VCPUS}"


def changes(metric: str, by: str) -> str:
    """How a counter without a zero grew in a quarter of an hour.

    `increase` alone does not see a counter that is born with its first event: one that is there
    and was not a quarter of an hour ago, when its exporter was scraped.
    """
    return (
        f"sum by ({by}) (increase({metric}[15m])) > 0 "
        f"or sum by ({by}) ({metric} unless {metric} offset 15m "
        "and on (job, instance) kvmexporter_build_info offset 15m)"
    )


RECORDINGS = (
    Recording(
        "vm:kvm_vm_exits_per_vcpu:rate5m",
        per_vcpu(f'sum by ({VM}) (rate(kvm_vm_exits_total{{class!="hlt"}}[5m]))'),
    ),
    Recording(
        # The median: what lasts for less than half of the day does not become what is usual.
        "vm:kvm_vm_exits_per_vcpu:median1d",
        "quantile_over_time(0.5, vm:kvm_vm_exits_per_vcpu:rate5m[1d:5m] offset 15m)",
    ),
    Recording(
        "vm:kvm_vm_userspace_exits_per_vcpu:rate5m",
        per_vcpu(f'sum by ({VM}) (rate(kvm_vm_userspace_exits_total{{reason!="restart"}}[5m]))'),
    ),
    Recording(
        "vm_device:kvm_vm_io_exits_per_vcpu:rate5m",
        per_vcpu(f"sum by ({VM}, device, driver, path) (rate(kvm_vm_io_exits_total[5m]))"),
    ),
    Recording(
        "vm:kvm_vm_interrupts_injected_per_vcpu:rate5m",
        per_vcpu(f"sum by ({VM}) (rate(kvm_vm_interrupts_injected_total[5m]))"),
    ),
    Recording(
        "vm:kvm_vm_exit_stall_seconds:p99_5m",
        f"histogram_quantile(0.99, sum by ({VM}, le) (rate(kvm_vm_exit_stall_seconds_bucket[5m])))",
    ),
    Recording(
        "vm:kvm_vm_run_delay_per_vcpu:rate5m",
        per_vcpu(f"sum by ({VM}) (rate(kvm_vm_run_delay_seconds_total[5m]))"),
    ),
    Recording(
        "vm:kvm_vm_vhost_cpu_per_worker:rate5m",
        f"sum by ({VM}) (rate(kvm_vm_vhost_cpu_seconds_total[5m])) / "
        f"max by ({VM}) (kvm_vm_vhost_workers)",
    ),
    Recording(
        # Before Linux 5.8: polls without success, each as long as the module allows at most.
        "vm:kvm_vm_halt_polling_per_vcpu:rate5m",
        per_vcpu(
            f"(sum by ({VM}) (rate(kvm_vm_halt_poll_fail_seconds_total[5m])) or "
            f'(sum by ({VM}) (rate(kvm_vm_kvm_stat_total{{stat="halt_attempted_poll"}}[5m])) - '
            f'(sum by ({VM}) (rate(kvm_vm_kvm_stat_total{{stat="halt_successful_poll"}}[5m])) '
            f"or max by ({VM}) (kvm_vm_vcpus) * 0))"
            " * on (job, instance) group_left () "
            'kvm_host_module_parameter{module="kvm", parameter="halt_poll_ns"} * 1e-9)'
        ),
    ),
    Recording(
        "vm:kvm_vm_timer_lateness_seconds:p99_5m",
        f"histogram_quantile(0.99, sum by ({VM}, le) "
        "(rate(kvm_vm_timer_lateness_seconds_bucket[5m])))",
    ),
    Recording(
        "vm:kvm_vm_clock_drift:ratio30m",
        # The median of slopes: a clock that is set once jumps, it does not drift.
        f"max by ({VM}, source) "
        "(quantile_over_time(0.5, deriv(kvm_vm_clock_offset_seconds[10m])[30m:1m]))",
    ),
    Recording(
        "vm:kvm_vm_tsc_offset_writes_per_vcpu:increase1h",
        per_vcpu(f"sum by ({VM}) (increase(kvm_vm_tsc_offset_writes_total[1h]))"),
    ),
    Recording(
        "vm:kvm_vm_balloon_swap_bytes:rate5m",
        f"sum by ({VM}) (rate(kvm_vm_balloon_swap_in_bytes_total[5m])) + "
        f"sum by ({VM}) (rate(kvm_vm_balloon_swap_out_bytes_total[5m]))",
    ),
    Recording(
        "vm:kvm_vm_balloon_available:ratio",
        f'max by ({VM}) (kvm_vm_balloon_stat_bytes{{stat="available"}}) / '
        f"max by ({VM}) (kvm_vm_balloon_actual_bytes)",
    ),
    Recording(
        "instance:kvm_host_clocksource_changes:increase15m",
        changes("kvm_host_clocksource_changes_total", "job, instance, from, to"),
    ),
    Recording(
        "instance:kvm_guest_clocksource_changes:increase15m",
        changes("kvm_guest_clocksource_changes_total", "job, instance, from, to"),
    ),
    Recording(
        # Remembers itself for as long as the target is down; Prometheus may be away for six hours.
        "instance:kvmexporter_build_info:known",
        "max by (job, instance) (kvmexporter_build_info) "
        "or last_over_time(instance:kvmexporter_build_info:known[6h]) "
        "and on (job, instance) (up == 0)",
    ),
    Recording(
        "vm:kvm_vm_series:budget_ratio",
        f'count by ({VM}) ({{__name__=~"kvm_vm_.+"}}) / '
        f"({thresholds.SERIES_OF_A_VM} + {thresholds.SERIES_OF_A_DEVICE} * "
        f"(count by ({VM}) (kvm_vm_device_info) or max by ({VM}) (kvm_vm_vcpus) * 0 + 5))",
    ),
)
