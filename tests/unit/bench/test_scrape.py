# SPDX-License-Identifier: Apache-2.0
"""What is read out of a scrape, and how costs pass from one process to another."""

import json
from dataclasses import asdict

from tests.bench import scrape
from tests.unit.bench.measured import cost

TEXT = """\
# HELP kvmexporter_collector_duration_seconds How long a collector took.
# TYPE kvmexporter_collector_duration_seconds gauge
kvmexporter_collector_duration_seconds{collector="exits"} 0.0518
kvmexporter_collector_duration_seconds{collector="vm_clock"} 9e-05
kvmexporter_collector_success{collector="exits"} 1
"""


def test_durations() -> None:
    """Each collector's own, and nothing else."""
    assert scrape.durations(TEXT) == {"exits": 0.0518, "vm_clock": 0.00009}


def test_costs_survive_json() -> None:
    """With a window and without: the same verdicts follow from them."""
    for vms in (10, 500):
        before = cost(vms)
        after = scrape.read(json.loads(json.dumps(asdict(before))))
        assert after.window == before.window
        assert after.share == before.share
        assert asdict(after) == json.loads(json.dumps(asdict(before)))
