# SPDX-License-Identifier: Apache-2.0
"""Where a metric belongs in a report: by whose it is and what its name is about.

New metrics find their place by their names; nobody has to list them.
"""

import re
from enum import StrEnum

from kvmexporter.model.metrics import Metric


class Subject(StrEnum):
    """Whom a metric is about, by its prefix."""

    VM = "vm"
    HOST = "host"
    GUEST = "guest"
    EXPORTER = "exporter"


class Topic(StrEnum):
    """What a metric is about, in the order of a report."""

    MACHINE = "Machine"
    EXITS = "Exits"
    IO = "I/O paths"
    TIME = "Time"
    MEMORY = "Memory"
    DEVICES = "Devices"
    OTHER = "Other"


_PREFIXES = {
    "kvm_vm_": Subject.VM,
    "kvm_host_": Subject.HOST,
    "kvm_guest_": Subject.GUEST,
}
# By the first that fits, words of the name.
_WORDS = (
    (Topic.MACHINE, r"^(?:info|v?cpus)$"),
    (Topic.MEMORY, r"memory|balloon|swap|ksm|page|pages|hugepages|oom|resident|numa"),
    (Topic.DEVICES, r"device|virtio|virtqueue|nic|tap|offload|bridge|interface|disk|vhost|queue"),
    (
        Topic.TIME,
        r"clock\w*|pvclock|tsc|timer|time|steal|delay|halt|ptp|vmclock|cpu|rtc|agent",
    ),
    (Topic.IO, r"io|kicks|irqfd|ioeventfd|msi"),
    (
        Topic.EXITS,
        r"exit|exits|events|interrupts|msr|hypercalls|hypercall|stat|entries|fault|faults",
    ),
)
_PATTERNS = tuple(
    (topic, re.compile(words if words.startswith("^") else rf"(?:^|_)(?:{words})(?:_|$)"))
    for topic, words in _WORDS
)


def subject(metric: Metric) -> Subject:
    """Whom it is about."""
    for prefix, whose in _PREFIXES.items():
        if metric.name.startswith(prefix):
            return whose
    return Subject.EXPORTER


def prefixes() -> tuple[str, ...]:
    """What a metric's name begins with that says whose it is."""
    return (*_PREFIXES, "kvmexporter_")


def topic(metric: Metric) -> Topic:
    """What it is about."""
    name = metric.name
    for prefix in prefixes():
        name = name.removeprefix(prefix)
    for one, pattern in _PATTERNS:
        if pattern.search(name):
            return one
    return Topic.OTHER
