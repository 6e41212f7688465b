# SPDX-License-Identifier: Apache-2.0
"""The clocks through which a hypervisor shows a guest its own time, as they come and go.

Reads /dev/ptpN of virtual clocks and /dev/vmclockN. What is there at the start is opened
then, while the exporter may still be root. PTP hardware is left alone: its time need not
be anybody's, and reading it can take milliseconds.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kvmexporter.errors import KvmExporterError, Unavailable
from kvmexporter.model.clocks import Drift, PtpOffset
from kvmexporter.model.vmclock import VmClock
from kvmexporter.sources.clocks import DriftWindow
from kvmexporter.sources.ptp import PtpClock
from kvmexporter.sources.sysfs import Sysfs
from kvmexporter.sources.vmclock import VmClockDevice, find


@dataclass(frozen=True, slots=True)
class HostClockSample:
    """What the hypervisor's clocks said.

    Attributes:
        offsets: (source, device) → how far it is ahead of CLOCK_REALTIME.
        drifts: source → how much faster CLOCK_REALTIME ran.
        vmclocks: device → its page.
        disruptions: device → changes of its disruption marker since it was first read.
        problems: why a clock that is there could not be read, a line each.
    """

    offsets: Mapping[tuple[str, str], PtpOffset]
    drifts: Mapping[str, Drift]
    vmclocks: Mapping[str, VmClock]
    disruptions: Mapping[str, int]
    problems: tuple[str, ...]


class HostClocks:
    """All of them; owns their descriptors.

    Args:
        sysfs: where PTP clocks are listed.
        devices: where device nodes are.
        open_ptp: opens a PTP clock's node.
    """

    def __init__(
        self,
        sysfs: Sysfs,
        devices: Path = Path("/dev"),
        open_ptp: Callable[[Path], PtpClock] = PtpClock.open,
    ) -> None:
        self._sysfs = sysfs
        self._devices = devices
        self._open_ptp = open_ptp
        self._ptp: dict[tuple[str, str], PtpClock] = {}
        self._vmclocks: dict[str, VmClockDevice] = {}
        self._drifts: dict[str, DriftWindow] = {}
        self._markers: dict[str, int] = {}
        self._disruptions: Counter[str] = Counter()
        self._open([])

    def close(self) -> None:
        """Close every device."""
        for ptp in self._ptp.values():
            ptp.close()
        for vmclock in self._vmclocks.values():
            vmclock.close()
        self._ptp.clear()
        self._vmclocks.clear()

    def sample(self) -> HostClockSample:
        """Read every clock that is there now."""
        problems: list[str] = []
        self._open(problems)
        offsets, drifts = self._read_ptp(problems)
        vmclocks = self._read_vmclocks(problems)
        return HostClockSample(
            offsets,
            drifts,
            vmclocks,
            {name: self._disruptions[name] for name in vmclocks},
            tuple(problems),
        )

    def _open(self, problems: list[str]) -> None:
        """Open what has come, close what has gone."""
        ptp = {
            (device.host_clock, device.device)
            for device in self._sysfs.ptp_devices()
            if device.host_clock
        }
        for gone in self._ptp.keys() - ptp:
            self._ptp.pop(gone).close()
        for new in sorted(ptp - self._ptp.keys()):
            try:
                self._ptp[new] = self._open_ptp(self._devices / new[1])
            except Unavailable as err:
                problems.append(err.reason)
        paths = {path.name: path for path in find(self._devices)}
        for name in self._vmclocks.keys() - paths.keys():
            self._vmclocks.pop(name).close()
        for name in sorted(paths.keys() - self._vmclocks.keys()):
            try:
                self._vmclocks[name] = VmClockDevice.open(paths[name])
            except Unavailable as err:
                problems.append(err.reason)

    def _read_ptp(
        self, problems: list[str]
    ) -> tuple[dict[tuple[str, str], PtpOffset], dict[str, Drift]]:
        offsets: dict[tuple[str, str], PtpOffset] = {}
        drifts: dict[str, Drift] = {}
        for (source, device), clock in self._ptp.items():
            try:
                offset = clock.offset()
            except Unavailable as err:
                problems.append(f"{device}: {err.reason}")
                continue
            offsets[source, device] = offset
            window = self._drifts.setdefault(source, DriftWindow())
            if drift := window.observe(offset.device_ns, {source: offset.realtime_ns}):
                drifts[source] = drift
        return offsets, drifts

    def _read_vmclocks(self, problems: list[str]) -> dict[str, VmClock]:
        result = {}
        for name, device in self._vmclocks.items():
            try:
                clock = device.read()
            except KvmExporterError as err:
                problems.append(str(err))
                continue
            result[name] = clock
            before = self._markers.get(name, clock.disruption_marker)
            self._disruptions[name] += before != clock.disruption_marker
            self._markers[name] = clock.disruption_marker
        return result
