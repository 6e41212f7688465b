# SPDX-License-Identifier: Apache-2.0
"""Findings, brought together."""

from dataclasses import replace

from kvmexporter.model.findings import Finding, Severity
from kvmexporter.views.advice import Advice, advice

CPU = Finding("baseline", Severity.WARNING, "one", "cpu", "it is a qemu64", "slow", "-cpu host")
NIC = Finding("emulated", Severity.CRITICAL, "one", "net0", "an e1000", "exits", "virtio")


def told(*findings: Finding) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.about, one.seen) for one in advice(findings)]


def test_one_is_told_as_it_is() -> None:
    """With its VM, or without where it is the host's."""
    assert advice([CPU]) == (
        Advice(
            Severity.WARNING, "baseline", "VM one, cpu", ("it is a qemu64",), "slow", "-cpu host"
        ),
    )
    assert told(replace(CPU, vm="")) == [("cpu", ("it is a qemu64",))]


def test_what_vms_have_in_common_is_told_once() -> None:
    """Who has it stands before what was seen; what differs has a line of its own."""
    two, three = replace(CPU, vm="two"), replace(CPU, vm="three", seen="it is a kvm64")
    # VMs stand in the order of their names.
    assert told(CPU, two, three) == [
        ("3 VMs, cpu", ("one, two: it is a qemu64", "three: it is a kvm64"))
    ]


def test_devices_of_a_vm() -> None:
    """Are named, the first few of them above."""
    more = [replace(NIC, subject=f"net{i}") for i in range(2)]
    assert told(*more) == [("VM one, net0, net1", ("net0, net1: an e1000",))]
    more = [replace(NIC, subject=f"net{i}") for i in range(6)]
    assert told(*more)[0][0] == "VM one, net0, net1, net2, net3 and 2 more"
    both = [replace(NIC, vm=vm, subject=nic) for vm, nic in (("a", "net0"), ("b", "net1"))]
    assert told(*both) == [("2 VMs, net0, net1", ("a net0, b net1: an e1000",))]


def test_another_reason_or_remedy_is_another_piece_of_advice() -> None:
    """And the worst comes first."""
    others = [
        CPU, NIC, replace(CPU, vm="two", matters="very slow"), replace(CPU, vm="x", remedy="other"),
        replace(CPU, vm="y", severity=Severity.INFO),
    ]  # fmt: skip
    found = advice(others)
    assert len(found) == 5
    assert found[0].rule == "emulated"
    assert found[-1].severity is Severity.INFO
