# SPDX-License-Identifier: Apache-2.0
"""The courses of events that alerts are tested with."""

from collections.abc import Mapping
from typing import Final

from dashboards.generate import (
    cases_clocks,
    cases_exits,
    cases_exporter,
    cases_memory,
    cases_vm_clocks,
)
from dashboards.generate.promtool import Case

CASES: Final[Mapping[str, tuple[Case, ...]]] = {
    **cases_clocks.CASES,
    **cases_vm_clocks.CASES,
    **cases_memory.CASES,
    **cases_exits.CASES,
    **cases_exporter.CASES,
}
