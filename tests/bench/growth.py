# SPDX-License-Identifier: Apache-2.0
"""Whether a cost grows in a straight line with the number of VMs, a fixed cost apart."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line: what is there with no VM, and what each adds; neither is below zero."""

    fixed: float
    each: float

    def at(self, vms: int) -> float:
        """The cost of so many VMs."""
        return self.fixed + self.each * vms


def line_through(costs: Mapping[int, float]) -> Line:
    """The line that is least off, in proportion to each cost.

    Args:
        costs: VMs → cost, above zero; of at least two sizes.
    """
    ones = [1 / cost for cost in costs.values()]
    sizes = [vms / cost for vms, cost in costs.items()]
    a = sum(one * one for one in ones)
    b = sum(one * size for one, size in zip(ones, sizes, strict=True))
    c = sum(size * size for size in sizes)
    determinant = a * c - b * b
    fixed = (sum(ones) * c - sum(sizes) * b) / determinant
    each = (sum(sizes) * a - sum(ones) * b) / determinant
    if fixed < 0:
        return Line(0.0, sum(sizes) / c)
    if each < 0:
        return Line(sum(ones) / a, 0.0)
    return Line(fixed, each)


def against_line(costs: Mapping[int, float]) -> dict[int, float]:
    """VMs → cost, in times of what the line has there."""
    line = line_through(costs)
    return {vms: cost / line.at(vms) for vms, cost in costs.items()}
