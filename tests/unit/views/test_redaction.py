# SPDX-License-Identifier: Apache-2.0
"""Names, uuids and addresses replaced."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import kvmexporter
from kvmexporter.collectors.devices import INFO
from kvmexporter.model.findings import Finding, Severity
from kvmexporter.model.io import UnknownAddress
from kvmexporter.model.metrics import Kind, Metric
from kvmexporter.model.rules import RULES
from kvmexporter.registry import COLLECTORS
from kvmexporter.sampler import METRICS, Snapshot, State
from kvmexporter.tables.remedies import REMEDIES
from kvmexporter.views import html, json, text
from kvmexporter.views.exposition import render_openmetrics
from kvmexporter.views.redaction import HARMLESS, NAMES, Redaction, stable_devices
from tests.unit.snapshots import family, snapshot, status, vm

UUID = "2e3a6a4e-7d3c-4c59-a0b5-9d1c8f6f0a11"
# Bus, back end, queues, ioeventfd, MSI-X.
HOW = ("pci", "qemu", "1", "on", "off")
ADDED = Metric("kvm_host_bridge_info", Kind.INFO, "A bridge.", ("bridge", "driver"))


def customers() -> Snapshot:
    """A host that says a lot about its customers."""
    acme = replace(vm("acme", 7), uuid=UUID, qmp_sockets=("/run/acme.sock",))
    return replace(
        snapshot(
            family(
                INFO,
                {
                    ("acme", "acme-disk", "virtio-blk-pci", "virtio", *HOW): 1,
                    ("acme", "e1000@00:04.0", "e1000", "emulated", *HOW): 1,
                    ("acme", "hpet", "hpet", "emulated", *HOW): 1,
                    ("umbrella", "acme-disk", "virtio-blk-pci", "vhost", *HOW): 1,
                },
            ),
            family(ADDED, {("br-acme", "bridge"): 1}),
            vms=[acme, vm("umbrella", 8)],
            statuses=[status("io", State.FAILED, "acme: no answer from /run/domain-1-acme/x")],
            findings=[
                Finding(
                    "r", Severity.INFO, "umbrella", "acme-disk",
                    f"acme is {UUID.upper()}; "
                    "52:54:00:12:34:56 and 10.1.2.3 and fe80::1 see umbrella", "slow", "ask",
                )
            ],
        ),
        unknown_addresses=(UnknownAddress("acme", "memory", 0xFEB00000, 3),),
    )  # fmt: skip


def test_the_same_name_is_the_same_word_everywhere() -> None:
    """In names, labels, and in the middle of messages."""
    redacted = Redaction().apply(customers())
    assert [one.name for one in redacted.vms] == ["vm-1", "vm-2"]
    assert redacted.vms[0].uuid == "uuid-1"
    assert redacted.unknown_addresses[0].vm == "vm-1"
    assert [one.labels for one in redacted.families[0].samples] == [
        ("vm-1", "device-1", "virtio-blk-pci", "virtio", *HOW),
        ("vm-1", "e1000@00:04.0", "e1000", "emulated", *HOW),
        ("vm-1", "hpet", "hpet", "emulated", *HOW),
        ("vm-2", "device-1", "virtio-blk-pci", "vhost", *HOW),
    ]
    assert redacted.families[1].samples[0].labels == ("bridge-1", "bridge")
    (finding,) = redacted.findings
    assert dataclasses.astuple(finding)[2:] == (
        "vm-2", "device-1", "vm-1 is uuid-1; mac-1 and ip-1 and ip-2 see vm-2", "slow", "ask",
    )  # fmt: skip
    assert redacted.statuses[0].detail == "vm-1: no answer from /run/domain-1-vm-1/x"


def test_two_snapshots_agree() -> None:
    """Whatever came or went in between."""
    redaction = Redaction()
    redaction.apply(customers())
    later = replace(customers(), vms=(vm("new", 9), *customers().vms[1:]))
    assert [one.name for one in redaction.apply(later).vms] == ["vm-3", "vm-2"]
    assert redaction.vm("acme") == "vm-1"


def test_nothing_is_left_in_any_format() -> None:
    """No name, no uuid, no address."""
    redacted = Redaction().apply(customers())
    for shown in (
        text.render(redacted),
        json.render(redacted),
        html.render(redacted),
        render_openmetrics(redacted).decode(),
    ):
        for secret in ("acme", "umbrella", UUID, UUID.upper(), "52:54", "10.1.2.3", "fe80"):
            assert secret not in shown


@pytest.mark.parametrize(
    "harmless",
    [
        "0xfeb00000",
        "e1000@00:04.0",
        "12:34:56",
        "3.14.1",
        "20:15:01 UTC",
        "kernel 6.1.0-40",
        "std::map",
    ],
)
def test_what_is_no_address_stays(harmless: str) -> None:
    """Times, versions, PCI slots."""
    assert Redaction().text(f"seen {harmless} there") == f"seen {harmless} there"


def test_devices_without_an_id() -> None:
    """Are called by their driver."""
    found = stable_devices(customers().families[0])
    assert found == {"e1000@00:04.0", "hpet"}
    assert stable_devices(customers().families[1]) == set()


def test_every_label_is_a_name_or_harmless() -> None:
    """Nothing is left to chance, and nothing is listed that no metric has."""
    used = {
        label
        for metric in (*METRICS, *(metric for kind in COLLECTORS for metric in kind.metrics))
        for label in metric.labels
    }
    assert used == NAMES | HARMLESS
    assert not NAMES & HARMLESS


def own_words() -> Iterator[str]:
    """What collectors and checks themselves say is missing, and what would mend it."""
    for path in Path(kvmexporter.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Unavailable":
                for part in (one for argument in node.args for one in ast.walk(argument)):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield part.value
    for by_platform in REMEDIES.values():
        yield from by_platform.values()


def test_advice_comes_through_as_it_is() -> None:
    """Whatever words the labels of metrics have in common with it."""
    findings = [rule.finding("subject", "seen") for rule in RULES.values()]
    details = sorted(set(own_words()))
    told = [words for one in findings for words in (one.matters, one.remedy)] + details
    words = {word for text in told for word in re.findall(r"[\w-]+|\w+", text)}
    words |= {part for word in words for part in word.split("-") if part}
    labels = tuple(sorted(HARMLESS))
    metric = Metric("kvm_host_words_info", Kind.INFO, "Words.", labels)
    redacted = Redaction().apply(
        snapshot(
            family(metric, {(word,) * len(labels): 1 for word in words}),
            vms=[vm("acme")],
            statuses=[status("c", State.UNAVAILABLE, detail) for detail in details],
            findings=findings,
        )
    )
    assert list(redacted.findings) == findings
    assert [one.detail for one in redacted.statuses] == details


def test_a_rule_s_words_stay_where_a_vm_is_called_as_one_of_them() -> None:
    """Only what was seen may name it."""
    finding = Finding("r", Severity.INFO, "net", "net", "net is slow", "a net", "-netdev net")
    redacted = Redaction().apply(snapshot(vms=[vm("net")], findings=[finding]))
    assert dataclasses.astuple(redacted.findings[0])[2:] == (
        "vm-1", "vm-1", "vm-1 is slow", "a net", "-netdev net",
    )  # fmt: skip
