# SPDX-License-Identifier: Apache-2.0
"""What this system is, by evidence: a KVM host, a KVM guest, or both.

Source: Documentation/virt/kvm/x86/cpuid.rst (Linux 7.2).
"""

from dataclasses import dataclass
from typing import Final

from kvmexporter.model.amounts import amount

ROLES: Final = ("auto", "host", "guest", "both")

KVM_SIGNATURE = "KVMKVMKVM"

# product_name or sys_vendor of machines that are KVM's; asked only where the processor does
# not name the hypervisor.
_KVM_MACHINES = ("KVM", "QEMU", "Amazon EC2", "Google Compute Engine", "OpenStack", "oVirt", "RHEV")

# KVM_FEATURE_* of include/uapi/asm/kvm_para.h, by the names that QEMU's -cpu gives them.
_FEATURES = {
    "kvmclock": (1 << 0) | (1 << 3),
    "kvmclock-stable-bit": 1 << 24,
    "kvm-steal-time": 1 << 5,
    "kvm-pv-eoi": 1 << 6,
    "kvm-poll-control": 1 << 12,
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen.

    Attributes:
        kvm_device: whether /dev/kvm is there.
        vms: VMs that run.
        hypervisor_flag: whether the processor says that it is virtual.
        signature: the hypervisor's, as CPUID has it; "" if it has none or was not to be read.
        kvm_features: KVM's feature bits in CPUID, None without that signature.
        clocksources: available ones.
        ptp_clocks: names of the PTP clocks.
        machine: what the firmware says of vendor and product.
    """

    kvm_device: bool = False
    vms: int = 0
    hypervisor_flag: bool = False
    signature: str = ""
    kvm_features: int | None = None
    clocksources: tuple[str, ...] = ()
    ptp_clocks: tuple[str, ...] = ()
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Role:
    """Whose clocks are looked at here.

    Attributes:
        host: whether as a host's.
        guest: whether as a guest's.
        because: the evidence, in a few words.
        features: KVM's paravirtual features, by QEMU's names → whether the guest has it;
            empty if unknown.
    """

    host: bool
    guest: bool
    because: str
    features: tuple[tuple[str, bool], ...] = ()


def detect(evidence: Evidence, asked: str = "auto") -> Role:
    """The role that the evidence speaks for, or the one that was asked for.

    A system that shows no hypervisor is a host even before KVM is loaded there.

    Args:
        evidence: what was seen.
        asked: one of `ROLES`.
    """
    features = kvm_features(evidence.kvm_features)
    if asked != "auto":
        return Role(
            asked in ("host", "both"), asked in ("guest", "both"), f"--role {asked}", features
        )
    guest = _guest_because(evidence)
    host = ""
    if evidence.vms:
        host = amount(evidence.vms, "VM", "run")
    elif evidence.kvm_device:
        host = "/dev/kvm is there"
    elif not guest and not evidence.hypervisor_flag and not evidence.signature:
        host = "no sign of a hypervisor"
    below = f"{evidence.signature} below" if evidence.signature else "no sign of KVM below"
    because = f"{host or 'no /dev/kvm and no VM'}; {guest or below}"
    return Role(bool(host), bool(guest), because, features)


def _guest_because(evidence: Evidence) -> str:
    """Why this is a KVM guest, "" if nothing says so."""
    if evidence.signature == KVM_SIGNATURE:
        return f"CPUID says {KVM_SIGNATURE}"
    if "kvm-clock" in evidence.clocksources:
        return "there is a kvm-clock"
    if any(clock == "KVM virtual PTP" for clock in evidence.ptp_clocks):
        return "there is a KVM virtual PTP clock"
    # TCG and other hypervisors present QEMU's firmware too, and name themselves.
    if not evidence.signature and any(name in evidence.machine for name in _KVM_MACHINES):
        return f"the firmware says {evidence.machine}"
    return ""


def kvm_features(bits: int | None) -> tuple[tuple[str, bool], ...]:
    """KVM's paravirtual features by QEMU's names; empty if unknown."""
    if bits is None:
        return ()
    return tuple((name, bool(bits & mask)) for name, mask in _FEATURES.items())
