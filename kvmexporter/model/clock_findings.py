# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a host's or a guest's clocks, why it matters, and what mends it."""

from collections.abc import Iterable, Mapping

from kvmexporter.model.amounts import amount
from kvmexporter.model.clocks import ClocksourceHistory, Clocksources, PtpOffset, Steps, Timex
from kvmexporter.model.findings import (
    Finding,
    Place,
    Remedy,
    Rule,
    Severity,
    qemu_and_libvirt,
)
from kvmexporter.units import NS_PER_SECOND, ns_to_seconds

# Beyond the first, time stamps of two machines no longer order events; beyond the second,
# certificates, leases and logins begin to fail.
OFFSET_WARNING_NS = 1_000_000
OFFSET_CRITICAL_NS = NS_PER_SECOND

# A smaller step is a daemon's correction at its start.
STEP_WARNING_NS = 1_000_000

# What KVM bases a master clock on (gtod_is_based_on_tsc, arch/x86/kvm/x86.c); the second is the
# TSC as Hyper-V passes it to its guests.
_MASTER_CLOCKSOURCES = ("tsc", "hyperv_clocksource_tsc_page")
# Their readings cost tens of nanoseconds; the last is arm64's.
_GUEST_CLOCKSOURCES = ("kvm-clock", *_MASTER_CLOCKSOURCES, "arch_sys_counter")
_PARAVIRTUAL = ("kvm-clock", "xen", "vmware_stolen_time")

_INVARIANT_TSC = (
    "-cpu host,migratable=off, or -cpu MODEL,+invtsc",
    "<cpu mode='host-passthrough' migratable='off'/> or <feature policy='require' name='invtsc'/>",
)
_KVMCLOCK_XML = "<clock offset='utc'><timer name='kvmclock' present='yes'/></clock>"
_WHY_UNSTABLE = "dmesg | grep -i -e tsc -e clocksource tells why the kernel gave up on the TSC"
_SWITCH = "/sys/devices/system/clocksource/clocksource0/current_clocksource"

_SWITCH_HOST = Remedy(Place.HOST, f"echo tsc > {_SWITCH}", "the kernel still offers tsc")
_REPAIR_HOST = Remedy(
    Place.HOST,
    f"{_WHY_UNSTABLE}; update the firmware, and boot with tsc=reliable only if the TSCs are "
    "known to be synchronous",
    "the kernel gave up on the TSC",
)
HOST_CLOCKSOURCE_NOT_TSC = Rule(
    "host-clocksource-not-tsc",
    "The host's clocksource is not the TSC",
    (Severity.CRITICAL, Severity.WARNING),
    "KVM can only keep its guests' kvm-clock on one master clock while the host runs on the "
    "TSC: without it every guest clock is less exact and each reading of it slower, and "
    "ptp_kvm does not work",
    (_SWITCH_HOST, _REPAIR_HOST),
)
HOST_CLOCKSOURCE_CHANGED = Rule(
    "host-clocksource-changed",
    "The host's clocksource changed while it was watched",
    (Severity.WARNING,),
    "KVM switches every running guest off or on its master clock at that moment, and their "
    "clocks may step",
    (Remedy(Place.HOST, f"{_WHY_UNSTABLE}; compare the guests' clocks"),),
)
HOST_TSC_NOT_INVARIANT = Rule(
    "host-tsc-not-invariant",
    "The host's TSC changes its rate or stops",
    (Severity.WARNING,),
    "a TSC that changes with the frequency or stops in idle states cannot be passed to guests "
    "as a clock, and their kvm-clock has to be corrected for each vCPU",
    (
        Remedy(Place.HOST, "on bare metal, look for a firmware update"),
        *(
            Remedy(place, f"if this host is a VM itself: {change}")
            for place, change in zip((Place.QEMU, Place.LIBVIRT), _INVARIANT_TSC, strict=True)
        ),
    ),
)
_UNSYNCHRONIZED = {
    "host": Rule(
        "host-clock-unsynchronized",
        "Nobody disciplines the host's clock",
        (Severity.WARNING,),
        "guests take their time from the host when they start, and ptp_kvm gives them nothing "
        "better",
        (
            Remedy(
                Place.HOST,
                "start chronyd or another NTP daemon: systemctl enable --now chrony",
            ),
        ),
    ),
    "guest": Rule(
        "guest-clock-unsynchronized",
        "Nobody disciplines this guest's clock",
        (Severity.WARNING,),
        "the clock drifts freely from the host's",
        (
            Remedy(
                Place.GUEST,
                "modprobe ptp_kvm, and in chrony.conf: refclock PHC /dev/ptp0 poll 2; "
                "or any NTP daemon",
            ),
        ),
    ),
}
_STEPPED = {
    whose: Rule(
        f"{whose}-clock-stepped",
        f"The {whose}'s clock was set while it was watched",
        (Severity.WARNING,),
        "intervals measured across a step are wrong, and time that goes back breaks databases "
        "and leases",
        (
            Remedy(
                place,
                "let the clock be slewed: in chrony.conf, makestep 1 3 allows steps at the "
                "daemon's start only",
            ),
        ),
    )
    for whose, place in (("host", Place.HOST), ("guest", Place.GUEST))
}
_SWITCH_GUEST = {
    name: Remedy(Place.GUEST, f"echo {name} > {_SWITCH}", f"the kernel offers {name}")
    for name in ("kvm-clock", "tsc")
}
_OFFER_KVMCLOCK = tuple(
    Remedy(place, change, "the kernel offers neither")
    for place, change in (
        (Place.QEMU, "-cpu host (without kvmclock=off)"),
        (Place.LIBVIRT, _KVMCLOCK_XML),
    )
)
GUEST_CLOCKSOURCE = Rule(
    "guest-clocksource",
    "This guest reads its time from an emulated timer",
    (Severity.CRITICAL,),
    "every reading of the clock is an exit to the host, microseconds instead of tens of "
    "nanoseconds, and the clock is no better than the emulated timer",
    (*_SWITCH_GUEST.values(), *_OFFER_KVMCLOCK),
)
GUEST_KVMCLOCK_HIDDEN = Rule(
    "guest-kvmclock-hidden",
    "The host does not offer this guest kvm-clock",
    (Severity.WARNING, Severity.INFO),
    "without it the guest's clock is not corrected when the VM is paused, or migrated to a "
    "host whose TSC runs at another rate",
    qemu_and_libvirt("-cpu MODEL,+kvmclock", _KVMCLOCK_XML),
)
GUEST_CLOCKEVENT_NOT_DEADLINE = Rule(
    "guest-clockevent-not-deadline",
    "This guest's timer is not the TSC-deadline timer",
    (Severity.WARNING,),
    "each timer takes more exits to arm, and fires with the resolution of an emulated counter",
    qemu_and_libvirt(
        "-cpu host, or -cpu MODEL,+tsc-deadline",
        "<cpu mode='host-passthrough'/> or <feature policy='require' name='tsc-deadline'/>",
    ),
)
GUEST_CLOCK_OFFSET = Rule(
    "guest-clock-offset",
    "This guest's clock is off its host's",
    (Severity.CRITICAL, Severity.WARNING),
    "time stamps of guest and host do not fit together; after a restore or a migration a "
    "guest can be minutes behind",
    (
        Remedy(
            Place.GUEST,
            "in chrony.conf: refclock PHC /dev/ptp0 poll 2, and once: chronyc makestep",
        ),
        Remedy(Place.HOST, "or from there: virsh domtime DOMAIN --sync"),
    ),
)
_READ_HOST_CLOCK = Remedy(
    Place.GUEST, "see that the exporter may read the device", "it cannot be read"
)
_LOAD_HOST_CLOCK = Remedy(Place.GUEST, "modprobe ptp_kvm", "there is none")
_OFFER_HOST_CLOCK = Remedy(Place.HOST, "the clocksource there has to be tsc")
GUEST_WITHOUT_HOST_CLOCK = Rule(
    "guest-without-host-clock",
    "This guest cannot read its host's clock",
    (Severity.WARNING, Severity.INFO),
    "how far this guest's clock is from its host's cannot be told",
    (_READ_HOST_CLOCK, _LOAD_HOST_CLOCK, _OFFER_HOST_CLOCK),
)
GUEST_VMCLOCK_UNRELIABLE = Rule(
    "guest-vmclock-unreliable",
    "The hypervisor does not vouch for the time it gives",
    (Severity.WARNING,),
    "clocks disciplined by it are no better than it is",
    (
        Remedy(Place.HOST, "have the clock synchronised"),
        Remedy(Place.GUEST, "until then prefer NTP"),
    ),
)

RULES = (
    HOST_CLOCKSOURCE_NOT_TSC,
    HOST_CLOCKSOURCE_CHANGED,
    HOST_TSC_NOT_INVARIANT,
    *_UNSYNCHRONIZED.values(),
    *_STEPPED.values(),
    GUEST_CLOCKSOURCE,
    GUEST_KVMCLOCK_HIDDEN,
    GUEST_CLOCKEVENT_NOT_DEADLINE,
    GUEST_CLOCK_OFFSET,
    GUEST_WITHOUT_HOST_CLOCK,
    GUEST_VMCLOCK_UNRELIABLE,
)


def host_clocksource(
    clocksources: Clocksources, history: ClocksourceHistory, features: Mapping[str, bool]
) -> Iterable[Finding]:
    """A host whose clocksource is not of the TSC, or did not stay what it was.

    Args:
        clocksources: the current and the available ones.
        history: what became of them.
        features: the TSC's; empty where there is none.
    """
    current = clocksources.current
    if features and current not in _MASTER_CLOCKSOURCES:
        yield HOST_CLOCKSOURCE_NOT_TSC.finding(
            "clocksource",
            f"the host's clocksource is {current}{_unstable(history)}",
            severity=Severity.WARNING if current in _PARAVIRTUAL else Severity.CRITICAL,
            remedies=[_SWITCH_HOST if "tsc" in clocksources.available else _REPAIR_HOST],
        )
    if history.changes:
        seen = ", ".join(
            f"{before} to {after} {count} times" if count > 1 else f"{before} to {after}"
            for (before, after), count in history.changes.items()
        )
        yield HOST_CLOCKSOURCE_CHANGED.finding(
            "clocksource", f"the clocksource changed: {seen}{_unstable(history)}"
        )


def _unstable(history: ClocksourceHistory) -> str:
    """The kernel's own verdict, to be appended."""
    return "".join(
        f"; the kernel marked {name} unstable" + (f" due to {reason}" if reason else "")
        for name, reason in history.unstable.items()
    )


def host_tsc(features: Mapping[str, bool]) -> Iterable[Finding]:
    """A host whose TSC changes its rate or stops."""
    lacking = [name for name in ("constant", "nonstop") if not features.get(name, True)]
    if lacking:
        yield HOST_TSC_NOT_INVARIANT.finding(
            "tsc", f"the processor's TSC is not {' and not '.join(lacking)}"
        )


def synchronization(timex: Timex, whose: str) -> Iterable[Finding]:
    """A clock that nobody disciplines.

    Args:
        timex: how the kernel disciplines it.
        whose: host or guest.
    """
    if timex.synchronized:
        return
    error = "unknown" if timex.max_error_ns is None else f"{ns_to_seconds(timex.max_error_ns):g} s"
    yield _UNSYNCHRONIZED[whose].finding(
        "clock",
        f"the kernel takes the {whose}'s clock for unsynchronised; "
        f"its greatest possible error is {error}",
    )


def stepped(steps: Steps, whose: str) -> Iterable[Finding]:
    """A clock that was set while it was watched, by more than a daemon's correction."""
    if steps.forward_ns + steps.backward_ns < STEP_WARNING_NS:
        return
    yield _STEPPED[whose].finding(
        "clock",
        f"the {whose}'s clock was set {amount(steps.count, 'time')} since the exporter started, "
        f"{ns_to_seconds(steps.forward_ns):.6f} s forward and "
        f"{ns_to_seconds(steps.backward_ns):.6f} s back",
    )


def guest_clocksource(
    clocksources: Clocksources, paravirtual: Mapping[str, bool]
) -> Iterable[Finding]:
    """A guest that reads its time from an emulated timer, or is not offered kvm-clock.

    Args:
        clocksources: the current and the available ones.
        paravirtual: KVM's features, by QEMU's names; empty if unknown.
    """
    hidden = not paravirtual.get("kvmclock", True)
    if clocksources.current not in _GUEST_CLOCKSOURCES:
        usable = [
            remedy for name, remedy in _SWITCH_GUEST.items() if name in clocksources.available
        ]
        yield GUEST_CLOCKSOURCE.finding(
            "clocksource",
            f"this guest's clocksource is {clocksources.current}",
            remedies=usable[:1] or _OFFER_KVMCLOCK,
        )
    if hidden:
        yield GUEST_KVMCLOCK_HIDDEN.finding(
            "kvm-clock",
            "the host does not offer this guest kvm-clock",
            severity=Severity.INFO if clocksources.current == "tsc" else Severity.WARNING,
        )


def guest_clockevents(devices: Mapping[int, str]) -> Iterable[Finding]:
    """A guest on x86 whose timer is not the TSC-deadline timer.

    Args:
        devices: CPU → its clock event device.
    """
    slow = sorted({name for name in devices.values() if name != "lapic-deadline"})
    if not slow or "arch_sys_timer" in slow:  # the latter is arm64's, and the best there
        return
    yield GUEST_CLOCKEVENT_NOT_DEADLINE.finding(
        "clock event", f"this guest's timer is {', '.join(slow)}, not lapic-deadline"
    )


def guest_offset(source: str, offset: PtpOffset) -> Iterable[Finding]:
    """A guest whose clock is off its host's, by more than the measuring can explain."""
    ahead_ns = -offset.offset_ns
    if abs(ahead_ns) <= max(offset.uncertainty_ns, OFFSET_WARNING_NS):
        return
    direction = "ahead of" if ahead_ns > 0 else "behind"
    yield GUEST_CLOCK_OFFSET.finding(
        source,
        f"this guest's clock is {ns_to_seconds(abs(ahead_ns)):.6f} s {direction} its host's",
        severity=Severity.CRITICAL if abs(ahead_ns) > OFFSET_CRITICAL_NS else Severity.WARNING,
    )


def guest_without_host_clock(problems: tuple[str, ...]) -> Iterable[Finding]:
    """A guest that cannot read its host's clock.

    Args:
        problems: why it cannot read those that are there; empty if there are none.
    """
    yield GUEST_WITHOUT_HOST_CLOCK.finding(
        "ptp_kvm",
        "; ".join(problems) or "there is no PTP clock of the host's",
        severity=Severity.WARNING if problems else Severity.INFO,
        remedies=[_READ_HOST_CLOCK if problems else _LOAD_HOST_CLOCK, _OFFER_HOST_CLOCK],
    )


def vmclock_status(device: str, status: str) -> Iterable[Finding]:
    """A hypervisor that does not vouch for the time it gives."""
    if status in ("freerunning", "unreliable"):
        yield GUEST_VMCLOCK_UNRELIABLE.finding(
            device, f"the hypervisor calls its own clock {status}"
        )
