# SPDX-License-Identifier: Apache-2.0
"""Host or guest, by evidence."""

from dataclasses import replace

import pytest

from kvmexporter.model.role import Evidence, detect

BARE_METAL = Evidence(clocksources=("tsc", "hpet", "acpi_pm"), machine="Dell Inc. R750")
HOST = replace(BARE_METAL, kvm_device=True)
GUEST = Evidence(
    hypervisor_flag=True,
    signature="KVMKVMKVM",
    kvm_features=0x01007EFB,
    clocksources=("kvm-clock", "tsc", "acpi_pm"),
    ptp_clocks=("KVM virtual PTP",),
    machine="QEMU Standard PC (Q35 + ICH9, 2009)",
)
TCG = replace(GUEST, signature="TCGTCGTCGTCG", kvm_features=None, ptp_clocks=(),
              clocksources=("hpet", "acpi_pm"))  # fmt: skip


@pytest.mark.parametrize(
    ("evidence", "host", "guest"),
    [
        pytest.param(HOST, True, False, id="host"),
        pytest.param(BARE_METAL, True, False, id="host before KVM is loaded"),
        pytest.param(replace(BARE_METAL, vms=3), True, False, id="host in a container"),
        pytest.param(GUEST, False, True, id="guest"),
        pytest.param(replace(GUEST, kvm_device=True), True, True, id="nested"),
        pytest.param(replace(GUEST, vms=1), True, True, id="nested in a container"),
        pytest.param(TCG, False, False, id="emulated"),
        pytest.param(replace(TCG, kvm_device=True), True, False, id="host, emulated"),
        pytest.param(
            replace(GUEST, signature="Microsoft Hv", kvm_features=None, ptp_clocks=(),
                    clocksources=("hyperv_clocksource_tsc_page",), machine="Microsoft"),
            False, False, id="another hypervisor",
        ),
        pytest.param(
            replace(GUEST, signature="", kvm_features=None), False, True, id="guest, no CPUID"
        ),
        pytest.param(
            replace(TCG, signature=""), False, True, id="guest with KVM hidden, by firmware"
        ),
        pytest.param(
            Evidence(ptp_clocks=("KVM virtual PTP",), clocksources=("arch_sys_counter",)),
            False, True, id="arm64 guest",
        ),
        pytest.param(
            Evidence(machine="QEMU KVM Virtual Machine", clocksources=("arch_sys_counter",)),
            False, True, id="arm64 guest, by firmware",
        ),
        pytest.param(
            Evidence(clocksources=("arch_sys_counter",), kvm_device=True),
            True, False, id="arm64 host",
        ),
    ],
)  # fmt: skip
def test_detect(evidence: Evidence, host: bool, guest: bool) -> None:
    """What it is follows from what was seen, and the reason is told."""
    role = detect(evidence)
    assert (role.host, role.guest) == (host, guest)
    assert role.because


@pytest.mark.parametrize(
    ("asked", "host", "guest"),
    [("host", True, False), ("guest", False, True), ("both", True, True)],
)
@pytest.mark.parametrize("evidence", [HOST, GUEST, TCG, Evidence()])
def test_asked_for(evidence: Evidence, asked: str, host: bool, guest: bool) -> None:
    """Who says what it is knows better."""
    role = detect(evidence, asked)
    assert (role.host, role.guest, role.because) == (host, guest, f"--role {asked}")


def test_features() -> None:
    """By QEMU's names; none are claimed or denied where KVM does not name itself."""
    assert dict(detect(GUEST).features) == {
        "kvmclock": True,
        "kvmclock-stable-bit": True,
        "kvm-steal-time": True,
        "kvm-pv-eoi": True,
        "kvm-poll-control": True,
    }
    hidden = dict(detect(replace(GUEST, kvm_features=0)).features)
    assert hidden == dict.fromkeys(hidden, False)
    assert detect(HOST).features == ()


@pytest.mark.parametrize("bits", [1 << 0, 1 << 3, 1 << 0 | 1 << 3])
def test_either_pair_of_msrs_is_a_kvmclock(bits: int) -> None:
    """KVM offers an old and a new pair; one is enough."""
    assert dict(detect(replace(GUEST, kvm_features=bits)).features)["kvmclock"]
