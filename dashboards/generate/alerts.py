# SPDX-License-Identifier: Apache-2.0
"""Every alert, by group."""

from collections.abc import Mapping
from typing import Final

from dashboards.generate import (
    alerts_clocks,
    alerts_exits,
    alerts_exporter,
    alerts_memory,
    alerts_vm_clocks,
)
from dashboards.generate.alert import Alert

GROUPS: Final[Mapping[str, tuple[Alert, ...]]] = {
    "kvm-clocks": alerts_clocks.ALERTS,
    "kvm-vm-clocks": alerts_vm_clocks.ALERTS,
    "kvm-memory": alerts_memory.ALERTS,
    "kvm-exits": alerts_exits.ALERTS,
    "kvm-exporter": alerts_exporter.ALERTS,
}

ALERTS: Final = tuple(alert for group in GROUPS.values() for alert in group)
