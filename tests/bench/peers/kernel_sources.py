# SPDX-License-Identifier: Apache-2.0
"""kvm_stat, which Debian has in the kernel's sources alone: fetched once, some 140 MB."""

import tarfile
import tempfile
from pathlib import Path

from tests.lab.archive import Archive, ArchiveError, cache_root, host_release, replacing, unpack

_PACKAGE = "linux-source-6.1"
_SCRIPT = "tools/kvm/kvm_stat/kvm_stat"


def kvm_stat() -> Path:
    """The script, fetched first where it is not there yet.

    Raises:
        ArchiveError: the archive has no such sources, or they no such script.
    """
    home = cache_root() / "kvm_stat" / _PACKAGE
    if not home.exists():
        with (
            tempfile.TemporaryDirectory(prefix="kvmexporter-apt-") as state,
            replacing(home) as fresh,
        ):
            (deb,) = Archive(host_release(), Path(state)).download([_PACKAGE])
            unpack(deb, Path(state), lambda path: path.endswith(".tar.xz"))
            _take(next(Path(state).glob("usr/src/*.tar.xz")), fresh / "kvm_stat")
    return home / "kvm_stat"


def _take(sources: Path, target: Path) -> None:
    with tarfile.open(sources, mode="r|xz") as tar:
        for member in tar:
            if member.name.endswith(f"/{_SCRIPT}") and (file := tar.extractfile(member)):
                target.write_bytes(file.read())
                return
    raise ArchiveError(f"{sources.name} has no {_SCRIPT}")


if __name__ == "__main__":
    print(kvm_stat())
