# SPDX-License-Identifier: Apache-2.0
"""The CPUID instruction, the only place where a hypervisor names itself to any program.

Source: Intel SDM volume 2 (CPUID), Documentation/virt/kvm/x86/cpuid.rst. The
instruction takes no privilege. Some microseconds on bare metal, an exit each in a guest:
ask once.
"""

import ctypes
import struct
from collections.abc import Callable

from kvmexporter.model.role import KVM_SIGNATURE
from kvmexporter.sources import machinecode
from kvmexporter.units import khz_to_hz

# leaf, subleaf → eax, ebx, ecx, edx
Cpuid = Callable[[int, int], tuple[int, int, int, int]]

# void cpuid(u32 leaf, u32 subleaf, u32 *registers), System V calling convention.
_CODE = bytes.fromhex(
    "f30f1efa"  # endbr64
    "53"  # push rbx
    "89f8"  # mov eax, edi
    "89f1"  # mov ecx, esi
    "4989d0"  # mov r8, rdx
    "0fa2"  # cpuid
    "418900"  # mov [r8], eax
    "41895804"  # mov [r8+4], ebx
    "41894808"  # mov [r8+8], ecx
    "4189500c"  # mov [r8+12], edx
    "5b"  # pop rbx
    "c3"  # ret
)

_HYPERVISOR_FIRST = 0x40000000
_HYPERVISOR_LAST = 0x40010000
_HYPERVISOR_STEP = 0x100
_KVM_FEATURES = 1
_TSC_LEAF = 0x15
_TIMING_LEAF = 0x10  # above a hypervisor's first: the TSC's and the bus's kHz
_HYPERVISOR_BIT = 1 << 31


def instruction() -> Cpuid | None:
    """The instruction as a function; None where there is none or it may not be mapped."""
    address = machinecode.load(_CODE)
    if address is None:
        return None
    call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(address)

    def cpuid(leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        registers = (ctypes.c_uint32 * 4)()
        call(leaf, subleaf, registers)
        eax, ebx, ecx, edx = registers
        return eax, ebx, ecx, edx

    return cpuid


def hypervisor(cpuid: Cpuid) -> tuple[str, int]:
    """The hypervisor's signature and its first leaf; KVM's, if it is beside another's.

    Returns:
        "" and 0 without a hypervisor, or one that does not tell.
    """
    if not cpuid(1, 0)[2] & _HYPERVISOR_BIT:
        return "", 0
    first = ("", 0)
    for base in range(_HYPERVISOR_FIRST, _HYPERVISOR_LAST, _HYPERVISOR_STEP):
        last, *signature = cpuid(base, 0)
        # A leaf that is not there repeats another leaf's registers.
        if not base <= last < base + _HYPERVISOR_STEP and not (last == 0 and any(signature)):
            continue
        name = _text(signature)
        if name == KVM_SIGNATURE:
            return name, base
        first = first if first[0] else (name, base)
    return first


def kvm_feature_bits(cpuid: Cpuid) -> int | None:
    """KVM's feature bits, None where no KVM names itself."""
    signature, base = hypervisor(cpuid)
    return cpuid(base + _KVM_FEATURES, 0)[0] if signature == KVM_SIGNATURE else None


def tsc_hz(cpuid: Cpuid) -> int | None:
    """The TSC's frequency if the processor or the hypervisor states it, hertz."""
    if cpuid(0, 0)[0] >= _TSC_LEAF:
        denominator, numerator, crystal_hz, _ = cpuid(_TSC_LEAF, 0)
        if denominator and numerator and crystal_hz:
            return crystal_hz * numerator // denominator
    _, base = hypervisor(cpuid)
    if base and cpuid(base, 0)[0] >= base + _TIMING_LEAF:
        return khz_to_hz(cpuid(base + _TIMING_LEAF, 0)[0]) or None
    return None


def _text(registers: list[int]) -> str:
    raw = struct.pack("<3I", *registers).rstrip(b"\0")
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in raw)
