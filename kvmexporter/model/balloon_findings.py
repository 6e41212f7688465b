# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a VM's balloon, why it matters, and what mends it."""

from collections.abc import Iterable

from kvmexporter.model.balloon import TOLERANCE_BYTES, Balloon
from kvmexporter.model.findings import (
    Finding,
    Place,
    Remedy,
    Rule,
    Severity,
    qemu_and_libvirt,
)

# A guest gives a gigabyte in less, when it can.
STUCK_SECONDS = 10.0
# How long a guest that has swapped is said to be swapping.
SWAPPED_SECONDS = 120.0
# Below this share of its memory a Linux guest reclaims all the time, and kills next.
SCARCE = 0.05
# A guest that misses three askings does not answer.
MISSED_ASKINGS = 3
_SLACK_SECONDS = 10.0

_GIVE_BACK = qemu_and_libvirt(
    'QMP {"execute": "balloon", "arguments": {"value": BYTES}} with a larger target',
    "virsh setmem DOMAIN SIZE --live with a larger target",
)
_DEFLATE_ON_OOM = qemu_and_libvirt(
    "-device virtio-balloon-pci,deflate-on-oom=on",
    "<memballoon model='virtio' autodeflate='on'/>",
)

_SPARE_LESS = tuple(Remedy(one.place, one.change, "a driver is there") for one in _GIVE_BACK)
_LOAD_DRIVER = Remedy(Place.GUEST, "modprobe virtio_balloon", "no driver has taken the balloon")
_ADD_SWAP = Remedy(Place.GUEST, "add swap, or end what holds the memory", "a driver is there")
BALLOON_STUCK = Rule(
    "balloon-stuck",
    "A guest does not give the memory that was asked of it",
    (Severity.WARNING,),
    "the host counts on memory that it does not get, and the guest is squeezed to the limit: its "
    "balloon driver tries again and again",
    (*_SPARE_LESS, _ADD_SWAP, _LOAD_DRIVER),
)
BALLOON_OOM_RISK = Rule(
    "balloon-oom-risk",
    "A guest has next to no memory left while its balloon holds some",
    (Severity.CRITICAL, Severity.WARNING),
    "without deflate-on-oom (critical) the next process that wants memory has another killed "
    "though the VM has some; with it (warning) the guest takes back what the host may have given "
    "to others",
    (*_GIVE_BACK, *_DEFLATE_ON_OOM),
)
BALLOON_GUEST_SWAPPING = Rule(
    "balloon-guest-swapping",
    "A guest swaps while its balloon holds memory",
    (Severity.WARNING,),
    "what the balloon took the guest pays for with disk accesses, and the host's disks carry them",
    _GIVE_BACK,
)
BALLOON_NO_DEFLATE_ON_OOM = Rule(
    "balloon-no-deflate-on-oom",
    "A balloon stays as it is while its guest runs out of memory",
    (Severity.WARNING, Severity.INFO),
    "a guest that runs out of memory kills processes though the balloon holds some: a warning "
    "once it does",
    _DEFLATE_ON_OOM,
)
BALLOON_STATISTICS_OFF = Rule(
    "balloon-statistics-off",
    "Nobody asks a guest for its memory statistics",
    (Severity.INFO,),
    "what the guest has free, caches and swaps cannot be told, nor how much it can spare",
    (
        *qemu_and_libvirt(
            "QMP qom-set of the balloon's guest-stats-polling-interval",
            "<memballoon model='virtio'><stats period='10'/></memballoon>; at once: "
            "virsh dommemstat DOMAIN --period 10 --live",
        ),
        Remedy(Place.HOST, "start kvmexporter with --balloon.set-polling 10"),
    ),
)
BALLOON_STATISTICS_STALE = Rule(
    "balloon-statistics-stale",
    "A guest is asked for its memory statistics and gives none",
    (Severity.WARNING,),
    "its numbers are of the past: the balloon driver is missing or hangs, or the VM is paused",
    (
        Remedy(Place.GUEST, "modprobe virtio_balloon; on Windows, start the balloon service"),
        *qemu_and_libvirt("QMP cont, if it is paused", "virsh resume DOMAIN, if it is paused"),
    ),
)
BALLOON_NO_FREE_PAGE_REPORTING = Rule(
    "balloon-no-free-page-reporting",
    "A guest cannot tell its host which pages are free",
    (Severity.INFO,),
    "memory that the guest once used stays lost to the host when the guest has freed it, until "
    "somebody inflates the balloon",
    qemu_and_libvirt(
        "-device virtio-balloon-pci,free-page-reporting=on",
        "<memballoon model='virtio' freePageReporting='on'/>",
    ),
)
RULES = (
    BALLOON_OOM_RISK,
    BALLOON_STUCK,
    BALLOON_GUEST_SWAPPING,
    BALLOON_NO_DEFLATE_ON_OOM,
    BALLOON_STATISTICS_STALE,
    BALLOON_STATISTICS_OFF,
    BALLOON_NO_FREE_PAGE_REPORTING,
)

_SUBJECT = "balloon"


def stuck(vm: str, balloon: Balloon) -> Iterable[Finding]:
    """A guest that does not give what was asked of it.

    Args:
        vm: its name; as in all of these.
        balloon: as it was found last.
    """
    history = balloon.history
    if balloon.target_bytes is None or history.stuck_since is None or history.short_since is None:
        return
    if history.seen - history.stuck_since < STUCK_SECONDS:
        return
    seen = (
        f"the guest has {_mib(balloon.actual_bytes)} and should have "
        f"{_mib(balloon.target_bytes)}: {_mib(balloon.gap_bytes)} too much for "
        f"{history.seen - history.short_since:.0f} s"
    )
    if balloon.driven is False:
        seen += "; no driver in the guest has taken the balloon"
        yield BALLOON_STUCK.finding(_SUBJECT, seen, vm=vm, remedies=(_LOAD_DRIVER,))
        return
    if balloon.offered.get("deflate-on-oom"):
        seen += "; with deflate-on-oom it may have taken it back"
    yield BALLOON_STUCK.finding(_SUBJECT, seen, vm=vm, remedies=(*_SPARE_LESS, _ADD_SWAP))


def oom_risk(vm: str, balloon: Balloon, stats_age_seconds: float | None) -> Iterable[Finding]:
    """A guest that has next to nothing left while its balloon holds some.

    Args:
        vm: its name.
        balloon: as it was found last.
        stats_age_seconds: of what the guest says; None if it says nothing.
    """
    total = balloon.stats.get("total-memory", 0)
    available = balloon.stats.get("available-memory", balloon.stats.get("free-memory"))
    if available is None or not total or _is_stale(balloon, stats_age_seconds):
        return
    if available >= total * SCARCE or balloon.held_bytes < TOLERANCE_BYTES:
        return
    rescued = balloon.offered.get("deflate-on-oom", False)
    yield BALLOON_OOM_RISK.finding(
        _SUBJECT,
        f"the guest has {_mib(available)} of {_mib(total)} left, and its balloon holds "
        f"{_mib(balloon.held_bytes)}",
        vm=vm,
        severity=Severity.WARNING if rescued else Severity.CRITICAL,
        remedies=_GIVE_BACK if rescued else (),
    )


def swapping(vm: str, balloon: Balloon) -> Iterable[Finding]:
    """A guest that swaps while its balloon holds memory."""
    history = balloon.history
    if history.swapped_at is None or history.seen - history.swapped_at > SWAPPED_SECONDS:
        return
    if history.swapped_bytes < TOLERANCE_BYTES or balloon.held_bytes < TOLERANCE_BYTES:
        return
    yield BALLOON_GUEST_SWAPPING.finding(
        _SUBJECT,
        f"the guest moved {_mib(history.swapped_bytes)} to and from its swap between two "
        f"askings, and its balloon holds {_mib(balloon.held_bytes)}",
        vm=vm,
    )


def without_deflate_on_oom(vm: str, balloon: Balloon) -> Iterable[Finding]:
    """A balloon that stays as it is while its guest runs out of memory."""
    if balloon.offered.get("deflate-on-oom", True):
        return
    inflated = balloon.held_bytes >= TOLERANCE_BYTES
    yield BALLOON_NO_DEFLATE_ON_OOM.finding(
        _SUBJECT,
        "deflate-on-oom is off, and the balloon "
        + (f"holds {_mib(balloon.held_bytes)}" if inflated else "is empty"),
        vm=vm,
        severity=Severity.WARNING if inflated else Severity.INFO,
    )


def statistics(vm: str, balloon: Balloon, stats_age_seconds: float | None) -> Iterable[Finding]:
    """A guest that is not asked for its numbers, or does not give them.

    Args:
        vm: its name.
        balloon: as it was found last.
        stats_age_seconds: of what the guest says; None if it says nothing.
    """
    if balloon.polling_seconds == 0:
        old = "" if stats_age_seconds is None else f"; they are {stats_age_seconds:.0f} s old"
        yield BALLOON_STATISTICS_OFF.finding(
            _SUBJECT, f"nobody asks the guest for its memory statistics{old}", vm=vm
        )
    elif balloon.asked and balloon.polling_seconds and _is_stale(balloon, stats_age_seconds):
        last = (
            "never gave any"
            if stats_age_seconds is None
            else f"gave the last ones {stats_age_seconds:.0f} s ago"
        )
        yield BALLOON_STATISTICS_STALE.finding(
            _SUBJECT,
            f"the guest is asked for its memory statistics every {balloon.polling_seconds} s and "
            + last,
            vm=vm,
        )


def without_reporting(vm: str, balloon: Balloon) -> Iterable[Finding]:
    """A guest that cannot tell the host which of its pages are free."""
    if balloon.offered.get("free-page-reporting", True):
        return
    yield BALLOON_NO_FREE_PAGE_REPORTING.finding(_SUBJECT, "free page reporting is off", vm=vm)


def _is_stale(balloon: Balloon, stats_age_seconds: float | None) -> bool:
    """Whether what the guest says is of the past."""
    if stats_age_seconds is None:
        return True
    interval = balloon.polling_seconds or 0
    return stats_age_seconds > interval * MISSED_ASKINGS + _SLACK_SECONDS


def _mib(amount: int) -> str:
    return f"{amount / (1 << 20):.0f} MiB"
