# SPDX-License-Identifier: Apache-2.0
"""Bochs, built without its debugger: Debian's own carries it, and takes four times as long.

The source is Debian's, fetched and verified through apt, mended in one place, and built into the
cache once: some three minutes of two processors.  `python -m tests.lab.bochs` does that and prints
where the program is.
"""

import hashlib
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.lab.archive import Archive, cache_root, replacing

# Which has 3.0.
_RELEASE = "trixie"
_OPTIONS = (
    "--with-nogui",
    "--disable-docbook",
    "--disable-plugins",
    "--disable-readline",
    "--enable-cpu-level=6",
    "--enable-x86-64",
    "--enable-avx",
    "--enable-evex",  # 3.0 does not compile without it
    "--enable-vmx=2",
    "--enable-pci",
    "--enable-cdrom",
    "--enable-a20-pin",
    "--enable-all-optimizations",
    "--enable-fast-function-calls",
)

# At a VM entry Bochs asks whether interrupts are masked while it still takes itself for the host,
# where they are.  A guest that runs with interrupts off, as the host entered it, then keeps the
# host's from exiting (SDM volume 3, 25.2: they do, whatever EFLAGS.IF says), for ever if it spins.
_MENDED = "cpu/vmx.cc"
_BEFORE = "  BX_CPU_THIS_PTR in_vmx_guest = true;\n"
_AFTER = _BEFORE + "  handleInterruptMaskChange();\n"


class BochsError(Exception):
    """It could not be built; the message has the end of what the build said."""


def _run(command: list[str], directory: Path) -> None:
    done = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        env={**os.environ, "CXXFLAGS": "-O2", "CFLAGS": "-O2"},
    )  # fmt: skip
    if done.returncode != 0:
        raise BochsError(f"{' '.join(command)}: {done.stdout[-2000:]}")


def _mend(file: Path) -> None:
    text = file.read_text()
    if text.count(_BEFORE) != 1:
        raise BochsError(f"{file.name} is not that of the version this mends: see {__file__}")
    file.write_text(text.replace(_BEFORE, _AFTER))


def bochs() -> Path:
    """Return the program, built first where the cache has none made with these options.

    Raises:
        ArchiveError: the source cannot be fetched.
        BochsError: it does not compile.
    """
    key = hashlib.sha256(" ".join([_RELEASE, *_OPTIONS, _AFTER]).encode()).hexdigest()[:12]
    home = cache_root() / "bochs" / key
    if not home.exists():
        with (
            tempfile.TemporaryDirectory(prefix="kvmexporter-bochs-", dir="/var/tmp") as name,
            replacing(home) as fresh,
        ):
            archive = Archive(_RELEASE, Path(name) / "apt", sources=True)
            with tarfile.open(archive.source("bochs")) as source:
                source.extractall(name)  # verified by apt
            (tree,) = Path(name).glob("*/configure")
            _mend(tree.parent / _MENDED)
            _run(["./configure", *_OPTIONS], tree.parent)
            _run(["make", f"-j{os.cpu_count() or 1}", "bochs"], tree.parent)
            _run(["install", "-s", "bochs", str(fresh / "bochs")], tree.parent)
    return home / "bochs"


if __name__ == "__main__":
    print(bochs())
