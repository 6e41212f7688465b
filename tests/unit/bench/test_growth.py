# SPDX-License-Identifier: Apache-2.0
"""A straight line with a fixed cost is told from what grows quicker."""

import pytest

from tests.bench.growth import against_line, line_through

SIZES = (10, 100, 500, 1000)


@pytest.mark.parametrize(("fixed", "each"), [(10.0, 0.44), (0.0, 2.0), (46.0, 0.0), (49.0, 0.001)])
def test_a_line_is_found(fixed: float, each: float) -> None:
    """Exactly, and nothing is off."""
    costs = {vms: fixed + each * vms for vms in SIZES}
    line = line_through(costs)
    assert [line.fixed, line.each] == pytest.approx([fixed, each], abs=1e-9)
    assert list(against_line(costs).values()) == pytest.approx([1.0] * 4)


@pytest.mark.parametrize("power", [1.2, 1.5, 2.0])
def test_what_grows_quicker_is_off(power: float) -> None:
    """By more than is allowed, with a fixed cost and without."""
    for fixed in (0.0, 9.0):
        costs = {vms: fixed + 0.44 * vms**power / 1000 ** (power - 1) for vms in SIZES}
        assert max(against_line(costs).values()) > 1.15


def test_nothing_is_below_nothing() -> None:
    """What falls with VMs, or would begin below zero, is held against what can be."""
    assert line_through({10: 1.0, 1000: 1000.0}).fixed == 0
    assert line_through({10: 5.0, 1000: 4.0}).each == 0
