# SPDX-License-Identifier: Apache-2.0
"""Declarations of metrics, and their samples."""

import pytest

from kvmexporter.model.metrics import Family, Kind, Metric, Sample, families


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


def test_families() -> None:
    """An empty one for each metric."""
    other = Metric("kvm_vm_info", Kind.INFO, "Help.")
    assert [(one.metric, one.samples) for one in families((METRIC, other))] == [
        (METRIC, []),
        (other, []),
    ]
