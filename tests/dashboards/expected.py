# SPDX-License-Identifier: Apache-2.0
"""What the lab's trouble is to look like to Prometheus: which alerts fire, and what they say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Key = tuple[str, frozenset[tuple[str, str]]]
"""An alert's name, and its labels but for those that follow from the name."""

_IMPLIED: Final = frozenset({"__name__", "alertname", "alertstate", "severity", "job"})


def key(labels: Mapping[str, str]) -> Key:
    """Of an alert as Prometheus has it."""
    return labels["alertname"], frozenset(
        (name, value) for name, value in labels.items() if name not in _IMPLIED
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """An alert.

    Attributes:
        name: of its rule.
        labels: all of them, but for those that follow from the name.
        summary: what its summary says, a regular expression for all of it.
    """

    name: str
    labels: Mapping[str, str]
    summary: str

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.name, frozenset(self.labels.items())

    def is_told(self, summary: str) -> bool:
        """Whether that is what it should say."""
        return re.fullmatch(self.summary, summary) is not None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that happens, and what comes of it.

    Attributes:
        orders: what makes it (`tests/lab/trouble.py`).
        alerts: fire because of it; none: nothing may.
        mends: the orders that end it, once they fire; all of them resolve then.
    """

    orders: tuple[str, ...]
    alerts: tuple[Expected, ...] = ()
    mends: tuple[str, ...] = field(default=())


_NUMBER = r"[\d.]+(e[+-]\d+)?[kM]?"
_DURATION = r"([\d.]+(d|h|m|s|ms|us) ?)+"
_PERCENT = r"[\d.]+%"

_HOST = {"instance": "host"}
_WEB = {"instance": "web"}
_DB = {"instance": "host", "vm": "db"}
_DISK = {**_DB, "device": "piix3-ide@00:01.1", "driver": "piix3-ide"}

# The kernel forgets that it is when its clock is set, and when its clocksource changes.
_UNSYNCHRONISED: Final = (
    Expected(
        "KvmHostClockUnsynchronized", _HOST,
        "The clock of host host is not synchronised to any reference",
    ),
    Expected(
        "KvmHostClockErrorHigh", _HOST, f"The clock of host host can be wrong by {_DURATION}"
    ),
)  # fmt: skip


def _changed(origin: str, to: str) -> Expected:
    return Expected(
        "KvmHostClocksourceChanged",
        {**_HOST, "from": origin, "to": to},
        f"Host host changed its clocksource from {origin} to {to}",
    )


TROUBLES: Final = (
    Trouble(
        ("kill-exporter",),
        (Expected("KvmExporterDown", _HOST, "The kvmexporter of host does not answer"),),
        ("restart-exporter",),
    ),
    Trouble(
        ("take-memory",),
        (
            Expected(
                "KvmVmBalloonStuck", _DB,
                f"The balloon of VM db on host has been short of its target for {_DURATION}",
            ),
            # It has given what it could, and that was nearly all.
            Expected("KvmVmOomRisk", _DB, f"VM db on host has {_PERCENT} of its memory left"),
        ),
        ("give-memory",),
    ),
    Trouble(
        ("leave-tsc",),
        (
            Expected(
                "KvmHostClocksourceNotTsc", {**_HOST, "clocksource": "hpet"},
                "Host host keeps time by hpet instead of the processor's own counter",
            ),
            _changed("tsc", "hpet"),
            *_UNSYNCHRONISED,
        ),
        ("return-to-tsc",),
    ),
    # A VM that had lost its master clock with the TSC does not get it back by itself.
    Trouble(
        (),
        (
            _changed("hpet", "tsc"),
            *(
                Expected(
                    "KvmVmMasterClockLost", {**_HOST, "vm": vm},
                    f"VM {vm} on host has no master clock",
                )
                for vm in ("db", "web")
            ),
        ),
        ("pause-vms",),
    ),
    Trouble(
        ("set-guest-clock", "switch-guest-clocksource"),
        (
            Expected(
                "KvmGuestClockStepped", _WEB,
                "The clock of guest web was set, not slewed, in the last quarter of an hour",
            ),
            *(
                Expected(
                    "KvmGuestClocksourceChanged", {**_WEB, "from": origin, "to": to},
                    f"Guest web changed its clocksource from {origin} to {to}",
                )
                for origin, to in (("kvm-clock", "hpet"), ("hpet", "kvm-clock"))
            ),
        ),
    ),
    Trouble(
        ("step-clock",),
        (
            Expected(
                "KvmHostClockStepped", _HOST,
                "The clock of host host was set, not slewed, in the last quarter of an hour",
            ),
            *_UNSYNCHRONISED,
            # At first the median lies between what was and what is.
            Expected(
                "KvmVmClockOffsetHigh", {**_HOST, "vm": "web", "source": "guest-agent"},
                "The clock of VM web on host is at least [3-7][.0-9]*s off its host's",
            ),
            Expected(
                "KvmGuestClockOffsetHigh", {**_WEB, "source": "ptp_kvm"},
                r"The clock of guest web is at least [3-7][.0-9]*s off its host's \(ptp_kvm\)",
            ),
        ),
        ("step-clock-back",),
    ),
    Trouble(
        ("doubt-clock",),
        (
            Expected(
                "KvmHostClockOffsetHigh", _HOST,
                r"The clock of host host is [34][.0-9]*ms off its reference",
            ),
        ),
        ("trust-clock",),
    ),
    Trouble(
        ("start-job", "storm"),
        (
            Expected(
                "KvmVmDeadlineTimerMissing", {**_HOST, "vm": "job"},
                f"VM job on host sets {_NUMBER} timers a second by its APIC's count, none by TSC "
                "deadline",
            ),
            Expected(
                "KvmVmExitStorm", _DB,
                f"VM db on host leaves guest mode {_NUMBER} times a second and vCPU, far more "
                "than is usual for it",
            ),
            Expected(
                "KvmVmDeviceExitStorm", {**_DISK, "path": "emulated"},
                rf"Device piix3-ide@00:01.1 \(emulated\) of VM db on host causes {_NUMBER} exits "
                "a second and vCPU",
            ),
            Expected(
                "KvmVmUserspaceExitStorm", _DB,
                f"VM db on host exits to its VMM {_NUMBER} times a second and vCPU",
            ),
            Expected(
                "KvmVmEmulatedDeviceInUse", _DISK,
                r"VM db on host works through the emulated piix3-ide \(piix3-ide@00:01.1\): "
                f"{_NUMBER} exits a second",
            ),
        ),
        ("calm", "stop-job"),
    ),
)  # fmt: skip

STANDING: Final = (
    # Nobody tells the guest's kernel what the host's is told; after all this time it is as its
    # clock was set by hand.
    Expected(
        "KvmGuestClockUnsynchronized", _WEB,
        "The clock of guest web is not synchronised to any reference",
    ),
)  # fmt: skip
"""Alerts that are right about the lab from the beginning to the end."""


_BOOTS: Final = frozenset({"KvmVmUserspaceExitStorm", "KvmVmDeviceExitStorm"})


def is_boot(alert: Key) -> bool:
    """Whether an alert tells of the boot of `job`, which may fire or not.

    Of five minutes, a boot is a small part. The windows are shorter here and the boot is longer:
    how much of them it fills is up to the machine that emulates the host.
    """
    name, labels = alert
    return name in _BOOTS and ("vm", "job") in labels


def every_alert() -> tuple[Expected, ...]:
    """All that have to fire."""
    return (*(alert for trouble in TROUBLES for alert in trouble.alerts), *STANDING)
