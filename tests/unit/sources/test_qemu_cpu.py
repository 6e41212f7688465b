# SPDX-License-Identifier: Apache-2.0
"""Processor features and the RTC, as recorded QEMUs tell them."""

import asyncio
import calendar
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvmexporter.sources.qemu_cpu import cpu_features, real_time_clock, vcpus
from kvmexporter.sources.qmp import Refused
from tests.unit.model.record import command_key
from tests.unit.model.recorded import RELEASES, load
from tests.unit.sources.qmp_server import replayed


class Answers:
    """A monitor that knows these answers and refuses the rest."""

    def __init__(self, answers: Mapping[str, object]) -> None:
        self._answers = answers
        self.asked = 0

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        self.asked += 1
        try:
            return self._answers[command_key(command, arguments)]
        except KeyError as err:
            raise Refused("not known") from err


def features_of(monitor: Answers) -> dict[str, bool]:
    async def asked() -> dict[str, bool]:
        return await cpu_features(monitor, await vcpus(monitor))

    return asyncio.run(asked())


def property_of(path: str, name: str) -> str:
    return command_key("qom-get", {"path": path, "property": name})


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("configuration", ["pc", "microvm"])
def test_recordings(tmp_path: Path, release: str, configuration: str) -> None:
    """`-cpu host` passes all but the invariant TSC; no Hyper-V; the RTC is the machine's."""
    facts = replayed(tmp_path / "qmp.sock", load(release, configuration))
    assert facts.cpu_features == {
        "tsc-deadline": True,
        "invtsc": False,
        "kvmclock": True,
        "kvmclock-stable-bit": True,
        "x2apic": True,
    }
    assert (facts.rtc is not None) == (configuration == "pc")
    if facts.rtc:
        recorded = load(release, configuration).value(
            "qom-get", path="/machine", property="rtc-time"
        )
        shown = calendar.timegm(
            (
                recorded["tm_year"] + 1900, recorded["tm_mon"] + 1, recorded["tm_mday"],
                recorded["tm_hour"], recorded["tm_min"], recorded["tm_sec"],
            )
        )  # fmt: skip
        assert facts.rtc.offset_ns / 1e9 == pytest.approx(shown - time.time(), abs=60)


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    """A recording without these answers has neither features nor an RTC."""
    facts = replayed(tmp_path / "qmp.sock", load("7.2", "q35"))
    assert facts.cpu_features == {}
    assert facts.rtc is None


def test_the_first_vcpu_is_asked() -> None:
    """Whatever their order; Hyper-V's clocks are told only where the guest has them."""
    monitor = Answers(
        {
            "query-cpus-fast": [
                {"cpu-index": 1, "qom-path": "/one"}, {"cpu-index": 0, "qom-path": "/zero"},
            ],
            property_of("/zero", "invtsc"): True,
            property_of("/zero", "kvmclock"): False,
            property_of("/zero", "x2apic"): "yes",
            property_of("/zero", "hv-time"): True,
            property_of("/zero", "hv-stimer"): False,
        }
    )  # fmt: skip
    features = features_of(monitor)
    assert features == {"invtsc": True, "kvmclock": False, "hv-time": True}
    assert monitor.asked == 10


def test_no_vcpus() -> None:
    """A VMM that shows none, and one that does not know the command."""
    assert features_of(Answers({"query-cpus-fast": []})) == {}
    assert features_of(Answers({})) == {}


def test_rtc_is_compared_with_the_host() -> None:
    """The host's clock is read on both sides of the question."""
    told = {"tm_year": 70, "tm_mon": 0, "tm_mday": 1, "tm_hour": 0, "tm_min": 0, "tm_sec": 9}
    monitor = Answers({property_of("/machine", "rtc-time"): told})
    times = iter([4_000_000_000, 4_000_000_100])
    clock = asyncio.run(real_time_clock(monitor, lambda: next(times)))
    assert clock
    assert (clock.offset_ns, clock.uncertainty_ns) == (5_499_999_950, 500_000_050)
