# SPDX-License-Identifier: Apache-2.0
"""Processors: what a VM is given of the host's, and what the host gives VMs."""

from collections.abc import Iterable, Mapping

from kvmexporter.model.findings import (
    Finding,
    Place,
    Remedy,
    Rule,
    Severity,
    qemu_and_libvirt,
)

# What QEMU makes up rather than takes from a real processor of the last fifteen years.
_BASELINE = frozenset(
    {
        "qemu64", "qemu32", "kvm64", "kvm32", "486", "pentium", "pentium2", "pentium3",
        "coreduo", "core2duo", "athlon", "phenom", "n270", "Conroe", "Penryn",
        "Opteron_G1", "Opteron_G2",
    }
)  # fmt: skip

CPU_MODEL_BASELINE = Rule(
    "cpu-model-baseline",
    "A VM has a processor of the lowest common denominator",
    (Severity.WARNING,),
    "but for what its command line adds by name, the guest sees neither AES, AVX, PCID nor the "
    "TSC-deadline timer of the host: encryption, page table changes and timers are several times "
    "as expensive",
    qemu_and_libvirt(
        "-cpu host, or a named model of the host's generation", "<cpu mode='host-passthrough'/>"
    ),
)
HOST_WITHOUT_VIRTUALIZATION = Rule(
    "host-without-virtualization",
    "KVM cannot be used: the host's processor shows neither VT-x nor SVM",
    (Severity.CRITICAL,),
    "without them KVM has nothing to run guests on, and QEMU emulates every instruction",
    (
        Remedy(Place.HOST, "turn on VT-x or SVM in the firmware; if this host is a VM itself, "
               "turn on nesting at its own host"),
        *qemu_and_libvirt(
            "there, for a host that is a VM: -cpu host", "<cpu mode='host-passthrough'/>"
        ),
    ),
)  # fmt: skip
HOST_WITHOUT_NESTED_PAGING = Rule(
    "host-without-nested-paging",
    "KVM runs without EPT or NPT",
    (Severity.CRITICAL,),
    "each change of a guest's page tables is an exit, and KVM keeps shadow copies of them all",
    (
        Remedy(
            Place.HOST,
            "load kvm_intel without ept=0, kvm_amd without npt=0; see /etc/modprobe.d",
        ),
    ),
)
HOST_WITHOUT_VHOST_NET = Rule(
    "host-without-vhost-net",
    "The host has no vhost-net",
    (Severity.WARNING,),
    "virtio NICs of all VMs are served by their VMMs, a copy and two changes of context a packet "
    "more",
    (Remedy(Place.HOST, "modprobe vhost_net; echo vhost_net > /etc/modules-load.d/vhost.conf"),),
)

RULES = (
    CPU_MODEL_BASELINE,
    HOST_WITHOUT_VIRTUALIZATION,
    HOST_WITHOUT_NESTED_PAGING,
    HOST_WITHOUT_VHOST_NET,
)


def cpu_model(vm: str, model: str) -> Iterable[Finding]:
    """A VM whose processor is QEMU's invention.

    Args:
        vm: its name.
        model: QEMU's name of the model; "" if it is not known.
    """
    # Models have versions: qemu64-v1.
    base = model.partition("-v")[0]
    if base in _BASELINE:
        yield CPU_MODEL_BASELINE.finding("cpu", f"its processor model is {model}", vm=vm)


def host(
    hardware: Mapping[str, bool], kvm: bool, nested_paging: bool | None, vhost_net: bool
) -> Iterable[Finding]:
    """What a KVM host lacks.

    Args:
        hardware: feature → whether the processor has it: vmx and svm; empty on another
            architecture.
        kvm: whether KVM can be used: some need neither.
        nested_paging: whether KVM uses EPT or NPT; None if it does not say.
        vhost_net: whether vhost-net can be used.
    """
    if hardware and not any(hardware.values()) and not kvm:
        yield HOST_WITHOUT_VIRTUALIZATION.finding("cpu", "/proc/cpuinfo shows neither vmx nor svm")
    if nested_paging is False:
        yield HOST_WITHOUT_NESTED_PAGING.finding("kvm", "the module's parameter is N")
    if not vhost_net:
        yield HOST_WITHOUT_VHOST_NET.finding("vhost_net", "/dev/vhost-net is not there")
