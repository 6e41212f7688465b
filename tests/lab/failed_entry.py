# SPDX-License-Identifier: Apache-2.0
"""A VM of the smallest kind, whose every entry the processor refuses.

    python -m tests.lab.failed_entry 7

Its code segment has a type that no code segment can have (SDM volume 3, 26.3.1.2), so an entry ends
at once as an exit whose code carries a flag: 0x80000021, "failed VM entry, invalid guest state".
It tries that often, says how often that was the outcome, and lives on until its input ends.
"""

import ctypes
import fcntl
import mmap
import os
import struct
import sys
from pathlib import Path

# Numbers of linux/kvm.h.
_KVM_CREATE_VM = 0xAE01
_KVM_GET_VCPU_MMAP_SIZE = 0xAE04
_KVM_CREATE_VCPU = 0xAE41
_KVM_SET_USER_MEMORY_REGION = 0x4020AE46
_KVM_RUN = 0xAE80
_KVM_GET_SREGS = 0x8138AE83
_KVM_SET_SREGS = 0x4138AE84
_SREGS_BYTES = 0x138
_EXIT_REASON = 8  # in struct kvm_run: u32, and a u64 of its own for each reason
_EXIT_DETAIL = 32
_KVM_EXIT_FAIL_ENTRY = 9
FAILED_ENTRY = 0x80000021

_CS_TYPE = 14  # in struct kvm_sregs, which begins with the code segment
_READ_ONLY_DATA = 1


def refused(times: int) -> int:
    """Try to enter the guest; return how often the processor refused its state."""
    with Path("/dev/kvm").open("r+b", buffering=0) as kvm:
        vm = fcntl.ioctl(kvm, _KVM_CREATE_VM, 0)
        vcpu = fcntl.ioctl(vm, _KVM_CREATE_VCPU, 0)
        run = mmap.mmap(vcpu, fcntl.ioctl(kvm, _KVM_GET_VCPU_MMAP_SIZE, 0))
    # None of it is touched, but KVM makes no page tables for a VM without memory.
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    region = struct.pack("<IIQQQ", 0, 0, 0, mmap.PAGESIZE, address)
    fcntl.ioctl(vm, _KVM_SET_USER_MEMORY_REGION, region)
    sregs = bytearray(_SREGS_BYTES)
    fcntl.ioctl(vcpu, _KVM_GET_SREGS, sregs)
    sregs[_CS_TYPE] = _READ_ONLY_DATA
    fcntl.ioctl(vcpu, _KVM_SET_SREGS, bytes(sregs))
    outcomes = []
    for _ in range(times):
        fcntl.ioctl(vcpu, _KVM_RUN, 0)
        (reason,) = struct.unpack_from("<I", run, _EXIT_REASON)
        (detail,) = struct.unpack_from("<Q", run, _EXIT_DETAIL)
        outcomes.append((reason, detail))
    return outcomes.count((_KVM_EXIT_FAIL_ENTRY, FAILED_ENTRY))


if __name__ == "__main__":
    # The vCPU's thread is this one; its descriptors stay open until the end.
    print(refused(int(sys.argv[1])), flush=True)
    os.read(0, 1)
