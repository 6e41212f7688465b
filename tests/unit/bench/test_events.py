# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds an event, from what turns have shown."""

import pytest

from tests.bench.contenders import BPFTRACE
from tests.bench.events import cost_of


def test_costs_are_net_of_an_empty_program() -> None:
    """Medians, and so is the interval of ours; a peer that was not there is left out."""
    found = {
        "empty": {"pit_write": [52.0, 50.0, 54.0]},
        "ours": {"pit_write": [69.0, 67.0, 71.0]},
        "hash": {"pit_write": [95.0, 95.0, 200.0]},
        "bpftrace": {"pit_write": [191.0]},
    }
    cost = cost_of("pit_write", "kvm_pio", found)
    assert (cost.empty_ns, cost.ours_ns, cost.hash_ns) == (52, 17, 43)
    assert cost.interval_ns == (15.0, 19.0)
    assert cost.ratio == pytest.approx(17 / 43)
    assert cost.peers_ns == {BPFTRACE.name: 139}
    del found["bpftrace"]
    assert cost_of("pit_write", "kvm_pio", found).peers_ns == {}
