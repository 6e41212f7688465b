# SPDX-License-Identifier: Apache-2.0
"""Advice on processors: when it is given, and when it is not."""

from collections.abc import Iterable

import pytest

from kvmexporter.model.findings import Finding
from kvmexporter.model.processor_findings import cpu_model, host


def told(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(one.rule, one.severity.value) for one in findings]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("host", []),
        ("max", []),
        ("EPYC-v3", []),
        ("Skylake-Server", []),
        ("", []),
        ("qemu64", [("cpu-model-baseline", "warning")]),
        ("qemu64-v1", [("cpu-model-baseline", "warning")]),
        ("kvm64", [("cpu-model-baseline", "warning")]),
        ("Opteron_G1", [("cpu-model-baseline", "warning")]),
    ],
)
def test_cpu_model(model: str, expected: list[tuple[str, str]]) -> None:
    """QEMU's own inventions, in any version."""
    assert told(cpu_model("web", model)) == expected


INTEL = {"vmx": True, "svm": False}
NEITHER = {"vmx": False, "svm": False}
NO_HARDWARE = ("host-without-virtualization", "critical")
NO_PAGING = ("host-without-nested-paging", "critical")
NO_VHOST = ("host-without-vhost-net", "warning")


@pytest.mark.parametrize(
    ("hardware", "kvm", "paging", "vhost", "expected"),
    [
        (INTEL, True, True, True, []),
        ({}, True, None, True, []),
        (NEITHER, True, None, True, []),
        ({}, False, None, True, []),
        (INTEL, False, None, True, []),
        (NEITHER, False, None, True, [NO_HARDWARE]),
        (INTEL, True, False, True, [NO_PAGING]),
        (INTEL, True, True, False, [NO_VHOST]),
        (NEITHER, False, False, False, [NO_HARDWARE, NO_PAGING, NO_VHOST]),
    ],
)
def test_host(
    hardware: dict[str, bool],
    kvm: bool,
    paging: bool | None,
    vhost: bool,
    expected: list[tuple[str, str]],
) -> None:
    """What is missing; a KVM in software needs no processor for it."""
    assert told(host(hardware, kvm, paging, vhost)) == expected
