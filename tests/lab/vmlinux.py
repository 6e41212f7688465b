# SPDX-License-Identifier: Apache-2.0
"""The uncompressed kernel inside a bzImage, for booting through the PVH entry point.

A kernel's own decompressor runs inside the machine that boots, and both of the lab's machines are
emulated: unpacking on the development host saves seconds at every boot.  The offsets are those of
Linux's Documentation/arch/x86/boot.rst (`setup_sects`, `payload_offset`, `payload_length`).
"""

import lzma
import struct
import subprocess
from pathlib import Path

from tests.lab.archive import ArchiveError, cache_root
from tests.lab.kernels import Kernel
from tests.lab.packages import lab_packages

_SETUP_SECTS = 0x1F1
_PAYLOAD = 0x248
_SECTOR = 512
_XZ = b"\xfd7zXZ\0"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ELF = b"\x7fELF"


def _zstd(packed: bytes) -> bytes:
    layered = lab_packages() / "usr/bin/zstd"
    program = str(layered) if layered.exists() else "zstd"
    # The payload is followed by its size, which zstd takes for the start of a broken frame.
    done = subprocess.run([program, "-dcq"], input=packed[:-4], capture_output=True, check=False)
    if done.returncode != 0:
        raise ArchiveError(f"zstd -d: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def payload(image: bytes) -> bytes:
    """Return the ELF file inside a bzImage."""
    start = (image[_SETUP_SECTS] + 1) * _SECTOR
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    packed = image[start + offset : start + offset + length]
    if packed.startswith(_XZ):
        unpacked = lzma.LZMADecompressor().decompress(packed)
    elif packed.startswith(_ZSTD):
        unpacked = _zstd(packed)
    else:
        raise ArchiveError(f"the kernel is compressed in an unknown way ({packed[:6].hex()})")
    if not unpacked.startswith(_ELF):
        raise ArchiveError("the kernel's payload is no ELF file")
    return unpacked


def vmlinux(kernel: Kernel) -> Path:
    """Return the kernel's ELF file, unpacked into the cache first where needed."""
    directory = cache_root() / "vmlinux"
    path = directory / kernel.version
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(payload(kernel.image.read_bytes()))
        fresh.rename(path)
    return path
