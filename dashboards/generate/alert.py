# SPDX-License-Identifier: Apache-2.0
"""What an alert is, whoever evaluates it."""

from dataclasses import dataclass
from typing import Final, Literal

RUNBOOKS = "docs/runbooks"

COUNT: Final = '{{ $value | printf "%.0f" }}'
"""The value, in a text, where it counts events: `increase` extrapolates to fractions of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert.

    Attributes:
        name: in CamelCase, as the runbook is called.
        severity: critical wakes somebody, warning is for the working day, info for review.
        value: PromQL; its value is the number that the texts quote.
        above, below: it fires beyond this; exactly one is given.
        guard: PromQL that must also have a series of the same labels.
        hold: how long before it fires.
        summary: one line, as a template over `$labels` and `$value`.
        meaning: what it means and why it matters.
        check: how to look closer with `kvmexporter dump` and others.
        mend: what to change.
        panel: the dashboard's uid and the title of the panel that shows the value.
    """

    name: str
    severity: Literal["critical", "warning", "info"]
    value: str
    above: float | None = None
    below: float | None = None
    guard: str = ""
    hold: str = "5m"
    summary: str
    meaning: str
    check: str
    mend: str
    panel: tuple[str, str]

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"{self.name}: exactly one of above and below")

    @property
    def query(self) -> str:
        """The value's series that the guard lets through."""
        return f"({self.value}) and {self.guard}" if self.guard else self.value

    @property
    def threshold(self) -> float:
        """The bound."""
        bound = self.above if self.above is not None else self.below
        assert bound is not None
        return bound

    @property
    def expr(self) -> str:
        """The whole condition in PromQL."""
        sign = ">" if self.above is not None else "<"
        condition = f"({self.value}) {sign} {self.threshold:.12g}"
        return f"{condition} and {self.guard}" if self.guard else condition

    @property
    def runbook(self) -> str:
        """Where its runbook is, from the project's root."""
        return f"{RUNBOOKS}/{self.name}.md"


@dataclass(frozen=True, slots=True)
class Recording:
    """A query that is computed once for all who use it."""

    record: str
    expr: str
