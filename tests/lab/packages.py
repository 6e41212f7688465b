# SPDX-License-Identifier: Apache-2.0
"""The lab's own programs, unpacked beside the system: `packages.txt` and an emulator.

The packages of the list become a layer over the host's file system inside the lab.

They are not installed, because installing libvirt or an agent starts services and the lab wants
to start them itself.  What the host already has is not fetched again: the lab's root is the
host's.  `python -m tests.lab.packages` prepares the layer and prints where it is.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lab.archive import Archive, cache_root, host_release, replacing, unpack

_LIST = Path(__file__).with_name("packages.txt")


def package_names() -> list[str]:
    """Return the names in `packages.txt`: one a line, a `#` begins the reason."""
    lines = (line.partition("#")[0].strip() for line in _LIST.read_text().splitlines())
    return [line for line in lines if line]


def _keep(path: str) -> bool:
    return not path.startswith(("usr/share/doc/", "usr/share/man/", "usr/share/locale/"))


def lab_packages() -> Path:
    """Return the layer's directory, made first where the list has changed since."""
    names = package_names()
    key = hashlib.sha256(" ".join([host_release(), *names]).encode()).hexdigest()[:12]
    layer = cache_root() / "packages" / key
    if layer.exists():
        return layer
    with (
        tempfile.TemporaryDirectory(prefix="kvmexporter-apt-") as state,
        replacing(layer) as root,
    ):
        for deb in Archive(host_release(), Path(state)).download_missing(names):
            unpack(deb, root, _keep)
    return layer


# From this version on, QEMU locks a page while it translates it.  Before, a processor could go on
# running code that another had just patched, and a kernel of two processors that patches itself
# (static keys: every first and last VM does that) died of a stray breakpoint or hung, about once
# in ten minutes.
_EMULATOR = (8, 1)
_EMULATOR_PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")


def _installed_emulator() -> tuple[int, ...]:
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        return ()
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"version (\d+)\.(\d+)", text)
    return tuple(int(part) for part in match.groups()) if match else ()


def emulator() -> str:
    """Return the QEMU that emulates the lab's host: the system's, or the backports' if that is old.

    The guests inside run on the system's own.
    """
    if _installed_emulator() >= _EMULATOR:
        return "qemu-system-x86_64"
    root = cache_root() / "emulator" / host_release()
    if not root.exists():
        with (
            tempfile.TemporaryDirectory(prefix="kvmexporter-apt-") as state,
            replacing(root) as fresh,
        ):
            archive = Archive(host_release(), Path(state), backports=True)
            for deb in archive.download(_EMULATOR_PACKAGES):
                unpack(deb, fresh, _keep)
    return str(root / "usr/bin/qemu-system-x86_64")


if __name__ == "__main__":
    print(lab_packages())
    print(emulator())
