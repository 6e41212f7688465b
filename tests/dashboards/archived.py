# SPDX-License-Identifier: Apache-2.0
"""The newest Prometheus of Debian's archive, unpacked beside the system's own."""

import tempfile
from pathlib import Path

from tests.lab.archive import Archive, cache_root, replacing, unpack
from tests.lab.kernels import RELEASES

_PROGRAM = "usr/bin/prometheus"


def newest_prometheus() -> Path:
    """Return the program, downloaded and unpacked first where the cache has none or an older one.

    Raises:
        ArchiveError: apt failed.
    """
    with tempfile.TemporaryDirectory(prefix="kvmexporter-apt-") as state:
        archive = Archive(RELEASES[-1], Path(state))
        root = cache_root() / "prometheus" / archive.version("prometheus")
        if not root.exists():
            with replacing(root) as fresh:
                for deb in archive.download(["prometheus"]):
                    unpack(deb, fresh, lambda path: _PROGRAM.startswith(path))
    return root / _PROGRAM
