# SPDX-License-Identifier: Apache-2.0
"""One hour of a host in minutes: trouble is made, Prometheus looks on, what it said is kept."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from tests.dashboards.asked import ask_all
from tests.dashboards.expected import STANDING, Key, Trouble, key
from tests.dashboards.laboratory import Lab
from tests.dashboards.server import Api

Looks = list[set[Key]]
"""What fired, each time that a Prometheus was looked at."""

# The longest window of an alert that has to fill, and twice the longest delay.
_FIRE_SECONDS: Final = 240.0
_RESOLVE_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 2.0
# Long enough for what is wrong all the time to be told.
_QUIET_SECONDS: Final = 60.0


@dataclass(slots=True)
class Alert:
    """One that fired: what it said, each time that it was looked at."""

    severity: str
    summaries: set[str] = field(default_factory=set)
    descriptions: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Story:
    """What one Prometheus told.

    Attributes:
        prometheus: which one.
        alerts: every one that fired.
        early: those that fired before the trouble that they tell of.
        silent: those that did not fire after it, in time.
        left: those that fire at the end.
        recorded: every one that fired, by Prometheus's own record of it.
        answers: to every panel's queries, while the last trouble lasts.
    """

    prometheus: Api
    alerts: dict[Key, Alert] = field(default_factory=dict)
    early: set[Key] = field(default_factory=set)
    silent: set[Key] = field(default_factory=set)
    left: set[Key] = field(default_factory=set)
    recorded: set[Key] = field(default_factory=set)
    answers: Mapping[str, Any] = field(default_factory=dict)

    def look(self) -> set[Key]:
        """Note what fires now, and return it."""
        now = set()
        for one in self.prometheus.alerts():
            name = key(one["labels"])
            now.add(name)
            alert = self.alerts.setdefault(name, Alert(one["labels"]["severity"]))
            alert.summaries.add(one["annotations"]["summary"])
            alert.descriptions.add(one["annotations"]["description"])
        return now

    def fired(self, seconds: float) -> set[Key]:
        """Whatever fired in these last seconds, by Prometheus's own record."""
        query = f'last_over_time(ALERTS{{alertstate="firing"}}[{seconds:.0f}s])'
        return {key(one["metric"]) for one in self.prometheus.query(query)}


class Narrator:
    """Makes the trouble, and has every Prometheus looked at meanwhile.

    Args:
        lab: where it is made.
        stories: one for each Prometheus.
    """

    def __init__(self, lab: Lab, stories: Sequence[Story]) -> None:
        self._lab = lab
        self._stories = stories
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begun

    def tell(self, troubles: Iterable[Trouble]) -> None:
        """All of it, one after the other."""
        self._wait(lambda _: False, _QUIET_SECONDS)
        *before, last = troubles
        for trouble in before:
            self._make(trouble)
            self._mend(trouble)
        self._make(last)
        self._ask()
        self._mend(last)
        standing = {alert.key for alert in STANDING}
        self._wait(lambda looks: looks[-1] == standing, _RESOLVE_SECONDS)
        for story in self._stories:
            story.left = story.look()
            story.recorded = story.fired(self.seconds)

    def _say(self, what: str) -> None:
        print(f"{self.seconds:5.0f} s: {what}", flush=True)

    def _order(self, name: str) -> None:
        self._say(name)
        self._lab.order(name)

    def _make(self, trouble: Trouble) -> None:
        wanted = {alert.key for alert in trouble.alerts}
        if trouble.orders:
            # What it shares with a trouble before it must have resolved.
            seen = self._wait(lambda looks: not wanted & looks[-1], _RESOLVE_SECONDS)
            for story, looks in zip(self._stories, seen, strict=True):
                story.early |= wanted & looks[-1]
        for name in trouble.orders:
            self._order(name)
        # Not all at once: one that tells of an event resolves while another still waits.
        seen = self._wait(lambda looks: wanted <= set[Key]().union(*looks), _FIRE_SECONDS)
        for story, looks in zip(self._stories, seen, strict=True):
            story.silent |= wanted - set[Key]().union(*looks)

    def _mend(self, trouble: Trouble) -> None:
        for name in trouble.mends:
            self._order(name)

    def _wait(self, enough: Callable[[Looks], bool], seconds: float) -> list[Looks]:
        """Look until enough was seen of each, or the time is up; at least once.

        Returns:
            what each of them fired, at every look.
        """
        deadline = time.monotonic() + seconds
        known = {name for story in self._stories for name in story.alerts}
        seen: list[Looks] = [[] for _ in self._stories]
        while True:
            for story, looks in zip(self._stories, seen, strict=True):
                looks.append(story.look())
                for name, labels in looks[-1] - known:
                    known.add((name, labels))
                    self._say(f"  {name} {dict(sorted(labels))}")
            if all(map(enough, seen)) or time.monotonic() > deadline:
                return seen
            time.sleep(_LOOK_SECONDS)

    def _ask(self) -> None:
        """All of them at once, since what they are asked for changes."""

        def ask(story: Story) -> Mapping[str, Any]:
            return ask_all(story.prometheus, self.seconds, "20s")

        with ThreadPoolExecutor() as pool:
            for story, answers in zip(self._stories, pool.map(ask, self._stories), strict=True):
                story.answers = answers
