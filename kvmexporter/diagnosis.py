# SPDX-License-Identifier: Apache-2.0
"""How this system stands with what collectors need, and each collector with that.

A need is checked once. A collector stands as its worst need does; what it only wants
degrades it at most; and one that gave nothing when it was tried is missing, whatever its
needs say.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kvmexporter.collector import Collector
from kvmexporter.model.needs import (
    PLATFORMS,
    Diagnosis,
    Standing,
    Verdict,
    at_most_degraded,
    worst,
)
from kvmexporter.needs import Need, Place
from kvmexporter.sampler import CollectorStatus, State
from kvmexporter.tables.remedies import remedies

Kind = type[Collector[Any]]


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was found.

    Attributes:
        platform: whose remedies fit here.
        needs: a line each, in the order of the collectors that have them.
        collectors: a line each.
        failed: collectors that were asked for and cannot work.
    """

    platform: str
    needs: tuple[Diagnosis, ...]
    collectors: tuple[Diagnosis, ...]
    failed: tuple[str, ...]


def examine(
    kinds: Sequence[Kind],
    statuses: Iterable[CollectorStatus],
    place: Place,
    platform: str,
    asked_for: Iterable[str],
) -> Examination:
    """Check what these collectors need.

    Args:
        kinds: the collectors.
        statuses: how each fared when it was tried.
        place: what the checks look at.
        platform: one of `PLATFORMS`.
        asked_for: names of collectors that were asked for.
    """
    verdicts = {need: need.check(place) for need in _all_needs(kinds)}
    tried = {status.name: status for status in statuses}
    collectors = tuple(_collector(kind, verdicts, tried.get(kind.name)) for kind in kinds)
    asked = set(asked_for)
    return Examination(
        platform,
        tuple(_need(need, verdict, kinds) for need, verdict in verdicts.items()),
        collectors,
        tuple(
            one.name
            for one in collectors
            if one.name in asked and one.verdict.standing is Standing.MISSING
        ),
    )


def _all_needs(kinds: Iterable[Kind]) -> list[Need]:
    return list(dict.fromkeys(need for kind in kinds for need in (*kind.needs, *kind.wants)))


def _need(need: Need, verdict: Verdict, kinds: Iterable[Kind]) -> Diagnosis:
    is_ok = verdict.standing is Standing.OK
    return Diagnosis(
        need.name,
        verdict,
        {} if is_ok else remedies(need.name, PLATFORMS),
        tuple(kind.name for kind in kinds if need in (*kind.needs, *kind.wants)),
    )


def _collector(
    kind: Kind, verdicts: dict[Need, Verdict], status: CollectorStatus | None
) -> Diagnosis:
    lacking = tuple(
        need.name
        for need in (*kind.needs, *kind.wants)
        if verdicts[need].standing is not Standing.OK
    )
    if status and status.state is not State.OK:
        return Diagnosis(kind.name, Verdict(Standing.MISSING, status.detail), {}, lacking)
    standing = worst(
        [verdicts[need].standing for need in kind.needs]
        + [at_most_degraded(verdicts[need].standing) for need in kind.wants]
    )
    seen = kind.summary if standing is Standing.OK else f"for want of {', '.join(lacking)}"
    return Diagnosis(kind.name, Verdict(standing, seen), {}, lacking)
