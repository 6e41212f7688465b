# SPDX-License-Identifier: Apache-2.0
"""CPUID: real, and of processors that are not here."""

import platform
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvmexporter.sources.cpuid import Cpuid, hypervisor, instruction, kvm_feature_bits, tsc_hz

Registers = tuple[int, int, int, int]
VIRTUAL: Registers = (0, 0, 1 << 31, 0)


def processor(leaves: Mapping[int, Registers]) -> Cpuid:
    """A processor with these leaves; zeros elsewhere."""
    return lambda leaf, _subleaf: leaves.get(leaf, (0, 0, 0, 0))


def leaf(last: int, signature: bytes) -> Registers:
    ebx, ecx, edx = struct.unpack("<3I", signature.ljust(12, b"\0"))
    return last, ebx, ecx, edx


KVM = leaf(0x40000001, b"KVMKVMKVM")


@pytest.mark.parametrize(
    ("leaves", "expected"),
    [
        pytest.param({1: VIRTUAL, 0x40000000: KVM}, ("KVMKVMKVM", 0x40000000), id="KVM"),
        pytest.param(
            {1: VIRTUAL, 0x40000000: leaf(0, b"KVMKVMKVM")},
            ("KVMKVMKVM", 0x40000000), id="an old KVM, whose last leaf is 0",
        ),
        pytest.param(
            {1: VIRTUAL, 0x40000000: leaf(0x40000006, b"Microsoft Hv"),
             0x40000100: leaf(0x40000101, b"KVMKVMKVM")},
            ("KVMKVMKVM", 0x40000100), id="KVM with Hyper-V's enlightenments",
        ),
        pytest.param(
            {1: VIRTUAL, 0x40000000: leaf(0x40000001, b"TCGTCGTCGTCG")},
            ("TCGTCGTCGTCG", 0x40000000), id="TCG",
        ),
        pytest.param({1: VIRTUAL}, ("", 0), id="hidden"),
        pytest.param({0x40000000: KVM}, ("", 0), id="bare metal that repeats a leaf"),
        pytest.param(
            {1: VIRTUAL, 0x40000000: leaf(0x40000001, b'"\n{}\x00\xff')},
            ('"?{}??', 0x40000000), id="a hostile name",
        ),
    ],
)  # fmt: skip
def test_hypervisor(leaves: Mapping[int, Registers], expected: tuple[str, int]) -> None:
    """Who is below, and where its leaves begin."""
    assert hypervisor(processor(leaves)) == expected


def test_features() -> None:
    """From the leaf after KVM's own, wherever that is; none without KVM."""
    assert kvm_feature_bits(processor({1: VIRTUAL, 0x40000000: KVM, 0x40000001: (7, 0, 0, 0)})) == 7
    hyperv = {
        1: VIRTUAL,
        0x40000000: leaf(0x40000006, b"Microsoft Hv"),
        0x40000001: (0x31237648, 0, 0, 0),
        0x40000100: leaf(0x40000101, b"KVMKVMKVM"),
        0x40000101: (11, 0, 0, 0),
    }
    assert kvm_feature_bits(processor(hyperv)) == 11
    assert kvm_feature_bits(processor({})) is None


@pytest.mark.parametrize(
    ("leaves", "hz"),
    [
        pytest.param({0: (0x16, 0, 0, 0), 0x15: (2, 216, 24_000_000, 0)}, 2_592_000_000, id="15h"),
        pytest.param({0: (0x16, 0, 0, 0), 0x15: (2, 216, 0, 0)}, None, id="no crystal"),
        pytest.param({0: (0x10, 0, 0, 0), 0x15: (2, 216, 24_000_000, 0)}, None, id="no leaf 15h"),
        pytest.param(
            {1: VIRTUAL, 0x40000000: leaf(0x40000010, b"KVMKVMKVM"),
             0x40000010: (2_596_142, 0, 0, 0)},
            2_596_142_000, id="the hypervisor's",
        ),
        pytest.param(
            {1: VIRTUAL, 0x40000000: KVM, 0x40000010: (5, 0, 0, 0)}, None, id="no such leaf"
        ),
        pytest.param({}, None, id="nothing"),
    ],
)  # fmt: skip
def test_tsc_hz(leaves: Mapping[int, Registers], hz: int | None) -> None:
    """Only where it is stated."""
    assert tsc_hz(processor(leaves)) == hz


def test_this_processor() -> None:
    """The real instruction agrees with what the kernel says of the processor."""
    cpuid = instruction()
    if platform.machine() != "x86_64":
        assert cpuid is None
        return
    assert cpuid is not None
    _, ebx, ecx, edx = cpuid(0, 0)
    vendor = struct.pack("<3I", ebx, edx, ecx).decode()
    cpuinfo = Path("/proc/cpuinfo").read_text()
    assert f"vendor_id\t: {vendor}\n" in cpuinfo
    flags = cpuinfo.split("flags\t\t: ")[1].split("\n")[0].split()
    assert bool(hypervisor(cpuid)[0]) <= ("hypervisor" in flags)


def test_no_memory_is_writable_and_executable() -> None:
    """The code is mapped to be run, and to nothing else."""
    assert instruction() is not None or platform.machine() != "x86_64"
    lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = [line.split()[1] for line in lines if "memfd:code" in line]
    assert set(mapped) <= {"r-xp"}
    assert mapped or platform.machine() != "x86_64"
