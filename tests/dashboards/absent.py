# SPDX-License-Identifier: Apache-2.0
"""What the lab gives no reason for: alerts that stay silent, queries that stay empty; and why."""

from collections.abc import Mapping
from typing import Final

_ENOUGH_CPUS = "the host has a processor for everyone with work"
_EXPORTER_FINE = "the exporter is killed, but nothing else happens to it"
_SET_NOT_SLEWED = "clocks are set there: a step is no drift"

SILENT: Final[Mapping[str, str]] = {
    "KvmHostClockReadSlow": "even the HPET, emulated in memory, is read within the bound",
    "KvmGuestClocksourceUnsuitable": "the guest leaves kvm-clock for seconds only",
    "KvmGuestClockDrift": _SET_NOT_SLEWED,
    "KvmVmClockDrift": _SET_NOT_SLEWED,
    "KvmGuestDeadlineTimerMissing": "the VM without a deadline timer has no exporter in it",
    "KvmGuestStealHigh": _ENOUGH_CPUS,
    "KvmVmStealHigh": _ENOUGH_CPUS,
    "KvmVmTimersLate": _ENOUGH_CPUS,
    "KvmVmExitHandlingSlow": _ENOUGH_CPUS,
    "KvmVmTscOffsetRewritten": "a boot writes it, a pause and a change of clocksource do not",
    "KvmVmSwappingUnderBalloon": "the guest under the balloon has no swap",
    "KvmVmOomKilled": "its balloon deflates rather than having a process killed",
    "KvmVmInterruptStorm": "the emulated disk interrupts once for ten exits",
    "KvmVmVhostSaturated": "a few packets a second",
    "KvmVmHaltPollingWaste": "no guest halts a thousand times a second",
    "KvmExporterCollectorFailed": _EXPORTER_FINE,
    "KvmExporterProbeNotAttached": _EXPORTER_FINE,
    "KvmExporterEventsDropped": _EXPORTER_FINE,
    "KvmExporterEventsMissed": _EXPORTER_FINE,
    "KvmExporterMapNearlyFull": _EXPORTER_FINE,
    "KvmExporterVmFactsStale": "VMMs answer, if slowly",
    "KvmExporterSlow": "a scrape takes a second at most, even there",
    "KvmExporterSeriesBudgetExceeded": "buckets, which would exceed it, are not asked for",
}
"""Alert → why it does not fire."""

_OLD_QEMU = "Debian 12's QEMU does not ask guests for it"
_NO_VMCLOCK = "Debian 12's QEMU has no VMClock device"

WITHOUT_SUBJECT: Final[Mapping[tuple[str, str], str]] = {
    ("memory", "kvm_vm_balloon_oom_kills_total"): _OLD_QEMU,
    ("memory", "kvm_vm_balloon_hugetlb_allocations_total"): "no guest has asked for huge pages",
    ("memory", "kvm_vm_ksm_merged_bytes"): "KSM would take a processor of the emulated host",
    ("timekeeping", "kvm_guest_vmclock_info"): _NO_VMCLOCK,
    ("timekeeping", "kvm_guest_vmclock_estimated_error_seconds"): _NO_VMCLOCK,
    ("timekeeping", "kvm_guest_vmclock_max_error_seconds"): _NO_VMCLOCK,
    ("timekeeping", "kvm_guest_vmclock_disruption_within_seconds"): _NO_VMCLOCK,
    ("timekeeping", "kvm_guest_vmclock_disruptions_total"): _NO_VMCLOCK,
    ("timekeeping", "kvm_host_ptp_device_info"): "the emulated host has no PTP clock",
}
"""(dashboard, metric that a panel asks for) → why there is nothing that it could show."""
