# SPDX-License-Identifier: Apache-2.0
"""Where a metric belongs."""

import pytest

from kvmexporter import sampler
from kvmexporter.model.metrics import Kind, Metric
from kvmexporter.registry import COLLECTORS
from kvmexporter.views.topics import Subject, Topic, prefixes, subject, topic


def metric(name: str) -> Metric:
    kind = {"_total": Kind.COUNTER, "_info": Kind.INFO}
    found = [one for suffix, one in kind.items() if name.endswith(suffix)]
    return Metric(name, found[0] if found else Kind.GAUGE, "Tested.")


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("kvm_vm_exits_total", Subject.VM),
        ("kvm_host_clock_synchronized", Subject.HOST),
        ("kvm_guest_clock_synchronized", Subject.GUEST),
        ("kvmexporter_build_info", Subject.EXPORTER),
        ("process_open_fds", Subject.EXPORTER),
    ],
)
def test_subject(name: str, whose: Subject) -> None:
    """By the prefix."""
    assert subject(metric(name)) is whose


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("kvm_vm_info", Topic.MACHINE),
        ("kvm_vm_vcpus", Topic.MACHINE),
        ("kvm_vm_exits_total", Topic.EXITS),
        ("kvm_vm_kvm_stat_total", Topic.EXITS),
        ("kvm_vm_unserved_events", Topic.EXITS),
        ("kvm_vm_io_exits_total", Topic.IO),
        ("kvm_vm_clock_offset_seconds", Topic.TIME),
        ("kvm_vm_tsc_offset_writes_total", Topic.TIME),
        ("kvm_vm_pvclock_updates_total", Topic.TIME),
        ("kvm_vm_master_clock_enabled", Topic.TIME),
        ("kvm_vm_run_delay_seconds_total", Topic.TIME),
        ("kvm_guest_steal_seconds_total", Topic.TIME),
        ("kvm_guest_vmclock_info", Topic.TIME),
        ("kvm_guest_cpus", Topic.MACHINE),
        ("kvm_vm_cpu_feature", Topic.TIME),
        ("kvm_vm_balloon_actual_bytes", Topic.MEMORY),
        ("kvm_vm_balloon_feature", Topic.MEMORY),
        ("kvm_vm_swap_in_bytes_total", Topic.MEMORY),
        ("kvm_host_ksm_pages_shared", Topic.MEMORY),
        ("kvm_vm_device_info", Topic.DEVICES),
        ("kvm_vm_vhost_cpu_seconds_total", Topic.DEVICES),
        ("kvm_host_nic_offload_enabled", Topic.DEVICES),
        ("kvm_host_module_parameter", Topic.OTHER),
    ],
)
def test_topic(name: str, about: Topic) -> None:
    """By the words of the name, of metrics to come as well."""
    assert topic(metric(name)) is about


def test_every_metric_of_a_vm_is_about_something() -> None:
    """None ends among the others."""
    declared = [one for kind in COLLECTORS for one in kind.metrics] + list(sampler.METRICS)
    lost = [
        one.name for one in declared if subject(one) is Subject.VM and topic(one) is Topic.OTHER
    ]
    assert lost == []


def test_prefixes() -> None:
    """Those that say whose a metric is."""
    assert "kvm_vm_" in prefixes()
    assert "process_" not in prefixes()
