# SPDX-License-Identifier: Apache-2.0
"""A snapshot fit to be shown to strangers: names, uuids and addresses replaced.

The same name is replaced by the same word everywhere in a diagnosis, also in the middle of
a message. Only what tenants and hosts name is a name (`NAMES`): what the kernel, the processor
or a standard chooses (`HARMLESS`) are words like net and pci, which advice is made of. Every
label is one or the other; of one that is neither the values are hidden, and no words. What guests
touched (guest-physical addresses, ports, PCI slots) tells nothing of whose they are, and stays;
so does what a rule says of all systems alike.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from kvmexporter.model.findings import Finding
from kvmexporter.model.metrics import Family, Metric
from kvmexporter.model.vm import Vm
from kvmexporter.sampler import CollectorStatus, Snapshot
from kvmexporter.tables.ioports import LEGACY_REGIONS

# Labels whose values tenants, their hosts and their guests made up.
NAMES = frozenset({"vm", "uuid", "device", "nic"})
# Labels whose values nobody made up for this VM or this host.
HARMLESS = frozenset(
    {
        "access", "address", "aio", "backend", "bus", "by", "cache", "class", "clock",
        "clock_name", "clockevent", "clocksource", "collector", "counter", "cpu_model",
        "direction", "driver", "feature", "from", "handler", "host_clock", "hypercall",
        "identified_by", "interrupts", "ioeventfd", "kind", "machine", "map", "method", "metric",
        "module", "msix", "msr", "multi_queue", "netdev", "offload", "operation", "outcome",
        "parameter", "path", "pid", "python", "queue", "queues", "reason", "role", "rule",
        "severity", "source", "stat", "state", "status", "time_type", "to", "tracepoint",
        "transport", "type", "vcpu", "version", "vmm", "vnet_hdr",
    }
)  # fmt: skip
# Kinds of names that are looked for in messages.
_IN_WORDS = NAMES | {"socket"}

_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I)
_MAC = re.compile(r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b", re.I)
# What may be an address; whether it is one, `ipaddress` says.
_IP = re.compile(
    r"(?<![\w.:])(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-f:]*:[0-9a-f:.]*[0-9a-f:])", re.I
)
_ADDRESSES = ((_UUID, "uuid"), (_MAC, "mac"), (_IP, "ip"))
# Devices of VMs that nobody can ask, and of addresses that nobody knows.
_STABLE_DEVICES = frozenset({region.device for region in LEGACY_REGIONS} | {"unknown"})


class Redaction:
    """Replaces; one for all snapshots of a diagnosis, so that they agree."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._pattern: re.Pattern[str] | None = None
        self._stable = set(_STABLE_DEVICES)

    def apply(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot without names, uuids and addresses."""
        for vm in snapshot.vms:  # first, so that they are numbered in the snapshot's order
            self._name("vm", vm.name)
            self._name("uuid", vm.uuid.lower())
        for family in snapshot.families:
            self._stable |= stable_devices(family)
        families = tuple(self._family(family) for family in snapshot.families)
        return replace(
            snapshot,
            vms=tuple(self._vm(vm) for vm in snapshot.vms),
            families=families,
            statuses=tuple(self._status(one) for one in snapshot.statuses),
            findings=tuple(self._finding(one) for one in snapshot.findings),
            unknown_addresses=tuple(
                replace(one, vm=self._name("vm", one.vm)) for one in snapshot.unknown_addresses
            ),
        )

    def vm(self, name: str) -> str:
        """The word for a VM's name."""
        return self._name("vm", name)

    def text(self, words: str) -> str:
        """A message without what is known to be a name, and without addresses."""
        if self._pattern is None:
            self._pattern = self._compiled()
        replaced = self._pattern.sub(lambda found: self._of_any_kind(found[0]), words)
        for pattern, kind in _ADDRESSES:
            replaced = pattern.sub(self._replacer(kind), replaced)
        return replaced

    def _replacer(self, kind: str) -> Callable[[re.Match[str]], str]:
        def replaced(found: re.Match[str]) -> str:
            if kind == "ip" and not _is_ip(found[0]):
                return found[0]
            return self._name(kind, found[0].lower())

        return replaced

    def _compiled(self) -> re.Pattern[str]:
        """Every name seen so far as a whole word, longest first."""
        found = {name for kind, name in self._words if kind in _IN_WORDS}
        names = sorted(found, key=len, reverse=True)
        if not names:
            return re.compile(r"(?!)")
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)")

    def _of_any_kind(self, name: str) -> str:
        return next(
            word
            for (kind, known), word in self._words.items()
            if known == name and kind in _IN_WORDS
        )

    def _name(self, kind: str, name: str) -> str:
        if not name:
            return ""
        key = kind, name
        if key not in self._words:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._words[key] = f"{kind}-{self._counts[kind]}"
            self._pattern = None
        return self._words[key]

    def _vm(self, vm: Vm) -> Vm:
        return replace(
            vm,
            name=self._name("vm", vm.name),
            uuid=self._name("uuid", vm.uuid.lower()),
            qmp_sockets=tuple(self._name("socket", path) for path in vm.qmp_sockets),
        )

    def _family(self, family: Family) -> Family:
        result = Family(family.metric)
        for one in family.samples:
            result.add(one.value, *self._labels(family.metric, one.labels))
        return result

    def _labels(self, metric: Metric, values: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            self._label(label, value) for label, value in zip(metric.labels, values, strict=True)
        )

    def _label(self, label: str, value: str) -> str:
        if label in HARMLESS:
            return value
        if label == "device" and value in self._stable:
            return value
        return self._name(label, value.lower() if label == "uuid" else value)

    def _finding(self, finding: Finding) -> Finding:
        # Why it matters and what mends it are the rule's own words, and name nobody.
        return replace(
            finding,
            vm=self._name("vm", finding.vm),
            subject=self.text(finding.subject),
            seen=self.text(finding.seen),
        )

    def _status(self, status: CollectorStatus) -> CollectorStatus:
        return replace(status, detail=self.text(status.detail))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def stable_devices(family: Family) -> set[str]:
    """Devices without an id of the user's: called by their driver, and where they are plugged."""
    labels = family.metric.labels
    if not {"device", "driver"} <= set(labels):
        return set()
    device, driver = labels.index("device"), labels.index("driver")
    return {
        one.labels[device]
        for one in family.samples
        if one.labels[device].partition("@")[0] == one.labels[driver]
    }
