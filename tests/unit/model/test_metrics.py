# SPDX-License-Identifier: Apache-2.0
"""Declarations of metrics, and their samples."""

import pytest

from kvmexporter.model.metrics import Family, Kind, Metric, Sample, families, keyed


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("kvm_vm_exits_total", Kind.COUNTER),
        ("kvm_vm_info", Kind.INFO),
        ("kvm_vm_vcpus", Kind.GAUGE),
        ("kvm_vm_halt_seconds", Kind.HISTOGRAM),
    ],
)
def test_names_that_fit_their_type(name: str, kind: Kind) -> None:
    """_total is a counter's ending, _info an info's, and the others have neither."""
    assert Metric(name, kind, "Help.").name == name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("kvm_vm_exits", Kind.COUNTER),
        ("kvm_vm", Kind.INFO),
        ("kvm_vm_vcpus_total", Kind.GAUGE),
        ("kvm_vm_info", Kind.GAUGE),
        ("kvm_vm_halt_seconds_total", Kind.HISTOGRAM),
    ],
)
def test_names_that_do_not(name: str, kind: Kind) -> None:
    """A wrong ending is refused where the metric is declared."""
    with pytest.raises(ValueError, match=name):
        Metric(name, kind, "Help.")


METRIC = Metric("kvm_vm_vcpus", Kind.GAUGE, "Help.", ("vm", "state"))


def test_samples_in_order() -> None:
    """What is added stays in its order."""
    family = Family(METRIC)
    family.add(1, "a", "on")
    family.add(2.5, "a", "off")
    assert family.samples == [Sample(("a", "on"), 1), Sample(("a", "off"), 2.5)]


@pytest.mark.parametrize("labels", [(), ("a",), ("a", "on", "x")])
def test_a_wrong_number_of_labels(labels: tuple[str, ...]) -> None:
    """No label is ever made up or left away."""
    family = Family(METRIC)
    with pytest.raises(ValueError, match=r"kvm_vm_vcpus has \('vm', 'state'\)"):
        family.add(1, *labels)
    assert family.samples == []


COUNTED = Metric("kvm_vm_test_total", Kind.COUNTER, "Help.", ("vm", "device", "kind"))


def test_a_vms_series() -> None:
    """They come after those that were added one by one, each with all of its labels."""
    family = Family(COUNTED)
    family.group(("a",), {("disk", "read"): 2, ("disk", "write"): 3})
    family.group(("a", "nic"), {("read",): 5})
    family.group(("b",), {})
    family.add(7, "b", "disk", "read")
    assert len(family) == 4
    assert family.samples == [
        Sample(("b", "disk", "read"), 7),
        Sample(("a", "disk", "read"), 2),
        Sample(("a", "disk", "write"), 3),
        Sample(("a", "nic", "read"), 5),
    ]
    chosen = family.chosen(
        lambda values: {key: n for key, n in values.items() if key[-1] == "read" and n != 5}
    )
    assert [one.value for one in chosen.samples] == [7, 2]
    assert len(family) == 4


@pytest.mark.parametrize("first", [(), ("a", "disk"), ("a", "disk", "x")])
def test_a_wrong_number_of_labels_in_a_group(first: tuple[str, ...]) -> None:
    """Likewise."""
    family = Family(COUNTED)
    with pytest.raises(ValueError, match="kvm_vm_test_total has"):
        family.group(first, {("disk", "read"): 2})
    assert len(family) == 0


def test_by_a_single_label() -> None:
    """As a family takes it."""
    assert keyed({"read": 2, "write": 3}) == {("read",): 2, ("write",): 3}


def test_families() -> None:
    """An empty one for each metric."""
    other = Metric("kvm_vm_info", Kind.INFO, "Help.")
    assert [(one.metric, one.samples) for one in families((METRIC, other))] == [
        (METRIC, []),
        (other, []),
    ]
