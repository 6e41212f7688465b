# SPDX-License-Identifier: Apache-2.0
"""Runs the collectors and publishes what they found, as one frozen snapshot or family by family.

One sampling at a time, and never one that is older than the request for it. A collector that
fails loses its own metrics and no other's.
"""

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model.exits import EXIT_EVENT
from kvmexporter.model.findings import Finding, worst_first
from kvmexporter.model.ignored import Ignored
from kvmexporter.model.io import UnknownAddress
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.serving import UNSERVED, note_unserved
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
        hears_exits: whether exits are counted where KVM announces them.
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
    hears_exits: bool = True


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
        self._turn = threading.Lock()
        self._started = 0
        self._said: dict[str, str] = {}
        self._absent: dict[str, str] = {}

    @property
    def extras(self) -> frozenset[str]:
        """What is served beyond the usual, as `collector.extra`."""
        return self._sources.extras

    def snapshot(self) -> Snapshot:
        """A snapshot whose sampling began after this call."""
        families: list[Family] = []
        taken = self.stream(families.append)
        return replace(taken, families=tuple(families))

    def stream(self, take: Callable[[Family], None]) -> Snapshot:
        """A sampling that begins after this call and keeps nothing of hundreds of VMs for long.

        Args:
            take: is given each family as soon as its collector is through, in their order.

        Returns:
            The snapshot without its families.
        """
        with self._turn:
            self._started += 1
            # It makes no cycles, and looking for some among all it makes takes as long again.
            gc.disable()
            try:
                return self._sample(take)
            finally:
                # What was made counts as old at once, or the first to allocate after this
                # would look through all of it. It ends with the last reference to it.
                gc.freeze()
                gc.unfreeze()
                gc.enable()

    @property
    def samplings(self) -> int:
        """How many have begun."""
        return self._started

    def _sample(self, take: Callable[[Family], None]) -> Snapshot:
        now = self._clock()
        cycle = Cycle(self._sources, self._monotonic)
        rare = Family(UNSERVED)
        statuses: list[CollectorStatus] = []
        findings: list[Finding] = []

        def hand_over(family: Family) -> None:
            note_unserved(rare, family, self.extras)
            take(family)

        for collector in self._collectors:
            status, own_findings = self._collect(collector, cycle, hand_over)
            statuses.append(status)
            findings += own_findings
        if self._ignored:
            findings = [one for one in findings if not self._ignores(one)]
        told = worst_first(findings)
        for family in (*self._own_families(statuses), rare, _counted(told)):
            if len(family):
                take(family)
        return Snapshot(
            time=now,
            monotonic=cycle.time,
            vms=cycle.vms,
            families=(),
            statuses=tuple(statuses),
            findings=told,
            unknown_addresses=cycle.unknown_addresses(),
            extras=self.extras,
            sees_all_vms=self._sources.inventory.sees_all,
            hears_exits=not (
                isinstance(self._sources.probes, Unavailable)
                or self._sources.probes.lacks(EXIT_EVENT)
            ),
        )

    def _collect(
        self, collector: Collector[Any], cycle: Cycle, take: Callable[[Family], None]
    ) -> tuple[CollectorStatus, list[Finding]]:
        """How a collector fared, and its advice.

        All that it has to give is handed over, or nothing if it failed at any step. When this
        returns it is gone, before the next collector makes as much.
        """
        started = self._monotonic()
        families: list[Family] = []
        findings: list[Finding] = []
        state, detail = State.OK, ""
        try:
            sample = collector.sample(cycle)
            families = [family for family in collector.families(sample) if len(family)]
            findings = list(collector.findings(sample))
        except Unavailable as err:
            state, detail = State.UNAVAILABLE, str(err)
        except Exception as err:  # noqa: BLE001 - one collector must not cost the others
            state, detail = State.FAILED, f"{type(err).__name__}: {err}"
        self._say(collector.name, state, detail)
        seconds = self._monotonic() - started
        status = CollectorStatus(collector.name, collector.summary, state, detail, seconds)
        if state is not State.OK:
            return status, []
        for family in families:
            take(family)
        return status, findings

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
    counts = Counter([(one.vm, one.rule, one.severity) for one in findings])
    for (vm, rule, severity), count in counts.items():
        family.add(count, vm, rule, severity.value)
    return family
