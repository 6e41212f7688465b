# SPDX-License-Identifier: Apache-2.0
"""Runs the collectors and publishes what they found as one frozen snapshot.

Callers that come while a sampling runs share the next one, so that a snapshot is never
older than the request for it. A collector that fails loses its own metrics and no
other's.
"""

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model.findings import Finding, worst_first
from kvmexporter.model.ignored import Ignored
from kvmexporter.model.io import UnknownAddress
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.serving import UNSERVED, unserved
from kvmexporter.model.vm import Vm

_log = logging.getLogger(__name__)

SUCCESS = Metric(
    "kvmexporter_collector_success",
    Kind.GAUGE,
    "Whether a collector gave its metrics; one that has nothing to read on this system is "
    "left out unless it was asked for by name.",
    ("collector",),
)
DURATION = Metric(
    "kvmexporter_collector_duration_seconds",
    Kind.GAUGE,
    "How long a collector took.",
    ("collector",),
)
FINDINGS = Metric(
    "kvm_findings",
    Kind.GAUGE,
    "Findings of a rule that are true now, by VM; vm is empty for the host's own. "
    "docs/findings.md says what each means and what mends it.",
    ("vm", "rule", "severity"),
)
METRICS = (SUCCESS, DURATION, UNSERVED, FINDINGS)


class State(StrEnum):
    """How a collector fared."""

    OK = "ok"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CollectorStatus:
    """How one collector fared in one sampling; detail says why it has nothing to give."""

    name: str
    summary: str
    state: State
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment.

    Attributes:
        time: when it was sampled, seconds since the epoch.
        monotonic: the same, seconds of CLOCK_MONOTONIC.
        vms: the VMs, oldest first.
        families: every metric that has a value.
        statuses: one per collector.
        findings: the advice, worst first.
        unknown_addresses: a sample of what guests touched and nobody knows.
        extras: what is served beyond the usual, as `collector.extra`.
        sees_all_vms: whether no VM can have been missed.
    """

    time: float
    monotonic: float
    vms: tuple[Vm, ...]
    families: tuple[Family, ...]
    statuses: tuple[CollectorStatus, ...]
    findings: tuple[Finding, ...]
    unknown_addresses: tuple[UnknownAddress, ...] = ()
    extras: frozenset[str] = frozenset()
    sees_all_vms: bool = True


class Sampler:
    """Samples on demand; safe to use from several threads.

    Args:
        sources: what is read.
        collectors: what runs, in order.
        asked_for: names of collectors the user asked for explicitly.
        clock: seconds since the epoch.
        monotonic: seconds.
        ignored: findings that are left out.
    """

    def __init__(
        self,
        sources: Sources,
        collectors: Sequence[Collector[Any]],
        asked_for: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        ignored: Sequence[Ignored] = (),
    ) -> None:
        self._sources = sources
        self._ignored = tuple(ignored)
        self._collectors = tuple(collectors)
        self._asked_for = frozenset(asked_for)
        self._clock = clock
        self._monotonic = monotonic
        self._turn = threading.Condition()
        self._running = False
        self._waiting = 0
        self._started = 0
        self._latest: tuple[int, Snapshot] | None = None
        self._said: dict[str, str] = {}
        self._absent: dict[str, str] = {}

    def snapshot(self) -> Snapshot:
        """A snapshot whose sampling began after this call."""
        with self._turn:
            wanted = self._started + 1
            while not (self._latest and self._latest[0] >= wanted):
                if self._running:
                    self._waiting += 1
                    self._turn.wait()
                    self._waiting -= 1
                    continue
                self._running = True
                self._started = number = self._started + 1
                self._turn.release()
                # It makes no cycles, and looking for some among all it makes takes as long again.
                gc.disable()
                try:
                    taken = self._sample()
                finally:
                    # What was made counts as old at once, or the first to allocate after this
                    # would look through all of it. It ends with the last reference to it.
                    gc.freeze()
                    gc.unfreeze()
                    gc.enable()
                    self._turn.acquire()
                    self._running = False
                    self._turn.notify_all()
                # Kept for those alone who wait for it: with many VMs it is megabytes.
                self._latest = (number, taken) if self._waiting else None
                return taken
            shared = self._latest[1]
            if not self._waiting:
                self._latest = None
            return shared

    @property
    def samplings(self) -> int:
        """How many have begun."""
        return self._started

    def _sample(self) -> Snapshot:
        now = self._clock()
        cycle = Cycle(self._sources, self._monotonic)
        families: list[Family] = []
        statuses = []
        findings: list[Finding] = []
        for collector in self._collectors:
            started = self._monotonic()
            own_families: list[Family] = []
            own_findings: list[Finding] = []
            state, detail = State.OK, ""
            try:
                sample = collector.sample(cycle)
                own_families = [family for family in collector.families(sample) if len(family)]
                own_findings = list(collector.findings(sample))
            except Unavailable as err:
                state, detail = State.UNAVAILABLE, str(err)
            except Exception as err:  # noqa: BLE001 - one collector must not cost the others
                state, detail = State.FAILED, f"{type(err).__name__}: {err}"
            if state is State.OK:
                families += own_families
                findings += own_findings
            self._say(collector.name, state, detail)
            seconds = self._monotonic() - started
            statuses.append(
                CollectorStatus(collector.name, collector.summary, state, detail, seconds)
            )
        told = worst_first(one for one in findings if not self._ignores(one))
        rare = unserved(families, self._sources.extras)
        families += self._own_families(statuses)
        families += [family for family in (rare, _counted(told)) if len(family)]
        return Snapshot(
            time=now,
            monotonic=cycle.time,
            vms=cycle.vms,
            families=tuple(families),
            statuses=tuple(statuses),
            findings=told,
            unknown_addresses=cycle.unknown_addresses(),
            extras=self._sources.extras,
            sees_all_vms=self._sources.inventory.sees_all,
        )

    def _own_families(self, statuses: Sequence[CollectorStatus]) -> list[Family]:
        success, duration = Family(SUCCESS), Family(DURATION)
        for status in statuses:
            if status.state is not State.UNAVAILABLE or status.name in self._asked_for:
                success.add(int(status.state is State.OK), status.name)
            duration.add(status.seconds, status.name)
        return [success, duration]

    def _ignores(self, finding: Finding) -> bool:
        return any(one.covers(finding) for one in self._ignored)

    def _say(self, name: str, state: State, detail: str) -> None:
        """Log a collector's trouble when it begins or changes, not at every scrape.

        What is not there is told once, however often it comes and goes with the VMs.
        """
        if self._said.get(name, "") == detail:
            return
        if state is State.UNAVAILABLE:
            if self._absent.get(name) == detail:
                self._said[name] = ""
                return
            self._absent[name] = detail
        self._said[name] = detail
        if state is State.OK:
            _log.info("collector works again", extra={"collector": name})
        elif state is State.UNAVAILABLE:
            _log.info("collector has nothing to read", extra={"collector": name, "reason": detail})
        else:
            _log.error("collector failed", extra={"collector": name, "error": detail})


def _counted(findings: Iterable[Finding]) -> Family:
    family = Family(FINDINGS)
    counts = Counter((one.vm, one.rule, str(one.severity)) for one in findings)
    for labels, count in counts.items():
        family.add(count, *labels)
    return family


class Housekeeping:
    """Looks for new VMs, samples now and then even when nobody scrapes, and clears away.

    BPF keeps what ended vCPU threads had counted only until somebody reads it.

    Args:
        sampler: what to sample.
        refresh: looks for new VMs.
        interval: seconds between rounds.
    """

    def __init__(self, sampler: Sampler, refresh: Callable[[], None], interval: float) -> None:
        self._sampler = sampler
        self._refresh = refresh
        self._interval = interval
        self._seen = sampler.samplings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin; the first round comes after one interval."""
        self._thread.start()

    def close(self) -> None:
        """End, after the round that may be under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self._refresh()
                if self._sampler.samplings == self._seen:  # nobody else did, this interval
                    self._sampler.snapshot()
                self._seen = self._sampler.samplings
                # Cycles that conversations left behind: samplings made them old, and what is old
                # is hardly ever looked through by itself.
                gc.collect()
            except Exception:  # noqa: BLE001 - the next round may do better
                _log.exception("housekeeping failed")
