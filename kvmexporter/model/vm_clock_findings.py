# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a VM's clock as seen from its host, why it matters, and what mends it."""

from collections.abc import Iterable, Mapping

from kvmexporter.model.clock_findings import OFFSET_CRITICAL_NS, OFFSET_WARNING_NS
from kvmexporter.model.findings import (
    Finding,
    Place,
    Remedy,
    Rule,
    Severity,
    qemu_and_libvirt,
)
from kvmexporter.model.vm_clocks import AgentTime, MasterClock
from kvmexporter.units import ns_to_seconds

# Less than what a scheduler or a database could notice.
_SPREAD_SECONDS = 1e-6
# The second is Hyper-V's page of it, of a host that is its guest; "": nothing has told.
_OF_TSC = ("tsc", "hvclock", "")

_HOST_TO_TSC = Remedy(
    Place.HOST,
    "bring the clocksource back to tsc: see host-clocksource-not-tsc",
    "the host's own clock is not read from the TSC",
)
_SAME_TSC = Remedy(
    Place.GUEST,
    "see that nothing writes the TSC, and that all vCPUs have the same "
    "(kvm_vm_tsc_offset_spread_seconds)",
    "the host's own clock is read from the TSC",
)
MASTER_CLOCK_OFF = Rule(
    "vm-master-clock-off",
    "KVM keeps no master clock for a VM",
    (Severity.WARNING,),
    "its vCPUs' kvm-clocks are corrected one by one: each reading is slower, for the guest has to "
    "keep them from going back, and ptp_kvm may not work",
    (_HOST_TO_TSC, _SAME_TSC),
)
OFFSETS_DIFFER = Rule(
    "vm-tsc-offsets-differ",
    "The TSCs of a VM's vCPUs differ",
    (Severity.WARNING,),
    "KVM turns the master clock off for such a VM, and a guest kernel that notices gives up on the "
    "TSC",
    (
        Remedy(Place.GUEST, "restart it"),
        Remedy(
            Place.HOST,
            "if it comes back after migrations, update QEMU and the kernel, which have to restore "
            "all TSCs at once",
        ),
    ),
)
TSC_DEADLINE_HIDDEN = Rule(
    "vm-tsc-deadline-hidden",
    "The TSC-deadline timer is not passed to the guest",
    (Severity.WARNING,),
    "the guest arms its timers by counts of an emulated bus clock: more exits for each, and less "
    "exact",
    qemu_and_libvirt(
        "-cpu host, or -cpu MODEL,+tsc-deadline",
        "<cpu mode='host-passthrough'/> or <feature policy='require' name='tsc-deadline'/>",
    ),
)
INVTSC_HIDDEN = Rule(
    "vm-invtsc-hidden",
    "The guest is not promised an invariant TSC",
    (Severity.INFO,),
    "the guest will not use the TSC as its clocksource by itself; QEMU hides the promise so that "
    "the VM can migrate to a host with another TSC frequency",
    qemu_and_libvirt(
        "-cpu host,migratable=off, or -cpu MODEL,+invtsc, if the VM never migrates",
        "<feature policy='require' name='invtsc'/>, if the VM never migrates",
    ),
)
KVMCLOCK_HIDDEN = Rule(
    "vm-kvmclock-hidden",
    "The guest is not offered kvm-clock",
    (Severity.WARNING,),
    "without it the guest's clock is not corrected when the VM is paused, or migrated to a host "
    "whose TSC runs at another rate",
    qemu_and_libvirt(
        "-cpu MODEL,+kvmclock, or hv-time for Windows",
        "<clock offset='utc'><timer name='kvmclock' present='yes'/></clock>",
    ),
)
CLOCK_OFFSET = Rule(
    "vm-clock-offset",
    "The guest's clock is off its host's, its agent says",
    (Severity.CRITICAL, Severity.WARNING),
    "time stamps of guest and host do not fit together; after a pause, a restore or a migration a "
    "guest can be minutes behind",
    (
        Remedy(Place.GUEST, "run an NTP daemon, best with ptp_kvm as its reference"),
        Remedy(Place.HOST, "once: virsh domtime DOMAIN --sync, or guest-set-time to its agent"),
    ),
)

RULES = (
    MASTER_CLOCK_OFF,
    OFFSETS_DIFFER,
    TSC_DEADLINE_HIDDEN,
    INVTSC_HIDDEN,
    KVMCLOCK_HIDDEN,
    CLOCK_OFFSET,
)


def master_clock(vm: str, clock: MasterClock) -> Iterable[Finding]:
    """A VM that has no master clock."""
    if clock.enabled is not False:
        return
    read_from = (
        f"; the host's own clock is read from {clock.host_clock}" if clock.host_clock else ""
    )
    yield MASTER_CLOCK_OFF.finding(
        "kvm-clock",
        f"KVM keeps no master clock for this VM{read_from}",
        vm=vm,
        remedies=(_SAME_TSC if clock.host_clock in _OF_TSC else _HOST_TO_TSC,),
    )


def offset_spread(vm: str, seconds: float) -> Iterable[Finding]:
    """A VM whose vCPUs have different TSCs."""
    if seconds > _SPREAD_SECONDS:
        yield OFFSETS_DIFFER.finding(
            "tsc", f"the TSCs of this VM's vCPUs are up to {seconds:.6f} s apart", vm=vm
        )


_HIDDEN = {
    "tsc-deadline": (TSC_DEADLINE_HIDDEN, "has no TSC-deadline timer"),
    "invtsc": (INVTSC_HIDDEN, "does not promise an invariant TSC"),
    "kvmclock": (KVMCLOCK_HIDDEN, "hides kvm-clock"),
}


def cpu_features(vm: str, features: Mapping[str, bool]) -> Iterable[Finding]:
    """A VM whose processor model keeps what good clocks need from the guest.

    Args:
        vm: its name.
        features: QEMU's name of a feature → whether; those not known left out.
    """
    for feature, (rule, lacks) in _HIDDEN.items():
        if features.get(feature) is False:
            yield rule.finding(feature, f"the VM's processor model {lacks}", vm=vm)


def agent_offset(vm: str, time: AgentTime) -> Iterable[Finding]:
    """A guest whose clock is off its host's, by more than the asking can explain."""
    ahead_ns = time.offset_ns
    if abs(ahead_ns) <= max(time.uncertainty_ns, OFFSET_WARNING_NS):
        return
    direction = "ahead of" if ahead_ns > 0 else "behind"
    certainly_ns = abs(ahead_ns) - time.uncertainty_ns
    yield CLOCK_OFFSET.finding(
        "guest-agent",
        f"the guest's agent says that its clock is {ns_to_seconds(abs(ahead_ns)):.6f} s "
        f"{direction} the host's, give or take {ns_to_seconds(time.uncertainty_ns):.6f} s",
        vm=vm,
        severity=Severity.CRITICAL if certainly_ns > OFFSET_CRITICAL_NS else Severity.WARNING,
    )
