# SPDX-License-Identifier: Apache-2.0
"""The kernel's configuration, in trees of files."""

import gzip
from pathlib import Path

import pytest

from kvmexporter.sources.kernel_config import KernelConfig

TEXT = "# a comment\nCONFIG_KVM=m\nCONFIG_VIRTIO=y\n# CONFIG_TUN is not set\nCONFIG_HZ=250\n"


@pytest.fixture
def procfs(tmp_path: Path) -> Path:
    """Where the kernel says which release it is."""
    release = tmp_path / "proc/sys/kernel/osrelease"
    release.parent.mkdir(parents=True)
    release.write_text("6.12-lab\n")
    return tmp_path / "proc"


def values(config: KernelConfig) -> list[str | None]:
    return [config.value(f"CONFIG_{name}") for name in ("KVM", "VIRTIO", "TUN", "HZ")]


def test_a_file_of_the_distribution_s(tmp_path: Path, procfs: Path) -> None:
    """Of the running release, and of no other."""
    (tmp_path / "config-6.12-lab").write_text(TEXT)
    (tmp_path / "config-6.1").write_text("CONFIG_TUN=y\n")
    assert values(KernelConfig(tmp_path, procfs)) == ["m", "y", "", "250"]


def test_the_kernel_s_own_word(tmp_path: Path, procfs: Path) -> None:
    """Comes first; one that cannot be read is none."""
    (tmp_path / "config-6.12-lab").write_text("CONFIG_KVM=y\n")
    (procfs / "config.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert values(KernelConfig(tmp_path, procfs)) == ["m", "y", "", "250"]
    (procfs / "config.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
    assert values(KernelConfig(tmp_path, procfs)) == ["y", "", "", ""]


def test_nobody_knows(tmp_path: Path, procfs: Path) -> None:
    """Then it is not said that anything is off."""
    assert values(KernelConfig(tmp_path, procfs)) == [None] * 4
