# SPDX-License-Identifier: Apache-2.0
"""Real Prometheis scrape real exporters on a host and in a guest that get into real trouble.

`make lab-dashboards`. What they answer is kept for `make preview`. The windows and delays of rules
are shorter than they are shipped, and bounds are what so slow a host can reach
(`tests/dashboards/hurried.py`); nothing else of what is shipped is changed.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from dashboards.generate.alerts import ALERTS
from dashboards.generate.queries import named
from tests.dashboards.absent import WITHOUT_SUBJECT
from tests.dashboards.archived import newest_prometheus
from tests.dashboards.asked import empty, marked, save
from tests.dashboards.expected import STANDING, TROUBLES, every_alert, is_boot
from tests.dashboards.hurried import Hurry
from tests.dashboards.laboratory import Lab, free_port
from tests.dashboards.server import Prometheus
from tests.dashboards.story import Narrator, Story

pytestmark = pytest.mark.skipif(
    not os.environ.get("KVMEXPORTER_LAB_DASHBOARDS"),
    reason="takes a quarter of an hour: make lab-dashboards",
)

RESULTS: Final = Path(__file__).parents[2] / "lab-results/dashboards"
HURRY: Final = Hurry(factor=15, slowness=50)
LAB_SECONDS: Final = 2700.0
NAMES: Final = ("system", "newest")


@pytest.fixture(scope="module")
def stories() -> Iterator[Mapping[str, Story]]:
    """What each Prometheus told of the same trouble."""
    programs = {"system": "prometheus", "newest": str(newest_prometheus())}
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(RESULTS / "host", LAB_SECONDS))
        told = {}
        for name in NAMES:
            directory = RESULTS / name
            directory.mkdir()
            prometheus = Prometheus(directory, lab.targets, free_port(), HURRY, programs[name])
            told[name] = Story(stack.enter_context(prometheus))
        Narrator(lab, list(told.values())).tell(TROUBLES)
        for name, story in told.items():
            save(story.answers, RESULTS / f"answers-{name}.json")
        yield told


@pytest.fixture(params=NAMES)
def story(request: pytest.FixtureRequest, stories: Mapping[str, Story]) -> Story:
    """That of one of them."""
    return stories[request.param]


def test_what_should_fire_fires_when_it_should(story: Story) -> None:
    """Not before there is a reason, and after it without fail."""
    assert story.early == set()
    assert story.silent == set()
    assert {alert.key for alert in STANDING} <= story.alerts.keys()


def test_it_says_what_it_should(story: Story) -> None:
    """Severity and description of its definition; a summary with names and numbers that fit."""
    defined = {alert.name: alert for alert in ALERTS}
    for expected in every_alert():
        alert = story.alerts[expected.key]
        assert alert.severity == defined[expected.name].severity
        assert alert.descriptions == {defined[expected.name].meaning}
        assert [one for one in alert.summaries if not expected.is_told(one)] == []


def test_it_resolves(story: Story) -> None:
    """All but what is wrong all the time."""
    assert story.left == {alert.key for alert in STANDING}


def test_nothing_else_fires(story: Story) -> None:
    """Seen from outside, and by Prometheus's own record of the whole time."""
    expected = {alert.key for alert in every_alert()}
    assert {one for one in story.alerts.keys() - expected if not is_boot(one)} == set()
    assert {one for one in story.recorded if not is_boot(one)} == expected


def test_every_query_has_an_answer(story: Story) -> None:
    """Each of every panel, where the lab has what it asks for."""
    found = {
        (board, metric)
        for board, _, query in empty(story.answers)
        for metric in named(query).metrics
    }
    assert found == WITHOUT_SUBJECT.keys()


def test_what_happened_is_marked(story: Story) -> None:
    """On every dashboard; what did not happen is not."""
    boards = {document["uid"].removeprefix("kvmexporter-") for document in story.answers["boards"]}
    happened = {"Clocksource changes", "Master clock changes", "VM starts"}
    for name, on in marked(story.answers).items():
        assert on == (boards if name in happened else set()), name
