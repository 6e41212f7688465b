# SPDX-License-Identifier: Apache-2.0
"""Builds the guest program with the system's C compiler, when its sources are newer."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "src"
BUILD = Path(__file__).parent / "build"

_FLAGS = (
    # A 32-bit program that stands alone and runs where only general registers are set up.
    *("-m32", "-march=i686", "-std=gnu11", "-O2"),
    *("-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-no-pie", "-mgeneral-regs-only"),
    # Nothing behind its back: no run-time support, no calls that the sources do not make.
    *("-fno-stack-protector", "-fcf-protection=none", "-fno-asynchronous-unwind-tables"),
    "-fno-tree-loop-distribute-patterns",
    *("-Wall", "-Wextra", "-Werror"),
    *("-Wl,--build-id=none", "-Wl,-z,noexecstack"),
)


class BuildError(Exception):
    """The compiler is missing or refuses the sources."""


def build(directory: Path = BUILD) -> Path:
    """Makes sure that an up-to-date `guest.elf` lies in `directory`, and returns its path.

    Several test processes may do this at once: the file is replaced in one step.

    Raises:
        BuildError: with the compiler's own words.
    """
    target = directory / "guest.elf"
    inputs = [
        Path(__file__),
        *(p for p in SOURCES.iterdir() if p.suffix in {".c", ".h", ".S", ".ld"}),
    ]
    if target.exists() and target.stat().st_mtime > max(p.stat().st_mtime for p in inputs):
        return target
    compiler = shutil.which("gcc")
    if compiler is None:
        raise BuildError("gcc is not installed; on Debian: apt-get install gcc")
    directory.mkdir(parents=True, exist_ok=True)
    units = sorted(str(p) for p in inputs if p.suffix in {".c", ".S"})
    descriptor, fresh = tempfile.mkstemp(dir=directory, prefix="guest.", suffix=".tmp")
    os.close(descriptor)
    try:
        command = [compiler, *_FLAGS, "-T", str(SOURCES / "link.ld"), "-o", fresh, *units]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildError(f"{' '.join(command)}\n{done.stderr}")
        Path(fresh).replace(target)
    finally:
        Path(fresh).unlink(missing_ok=True)
    return target
