# SPDX-License-Identifier: Apache-2.0
"""The Debian kernels that the lab boots: image, modules and headers, unpacked into the cache.

`python -m tests.lab.kernels 6.1` prepares one (`newest` takes the archive's newest) and prints
where it is.  A kernel's directory is laid out like a root file system and is mounted as a layer
of the lab's, so inside the lab everything is where an installed kernel has it.  A kernel that is
already there is used as it is; `--refresh` replaces it.  Costs 80 to 120 MB of download and about
250 MB of disk per kernel.
"""

import argparse
import json
import lzma
import re
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab.archive import Archive, ArchiveError, cache_root, replacing, unpack
from tests.lab.packages import lab_packages

# Oldest first; the last one is the archive's newest.
RELEASES = ("bookworm", "trixie", "sid")
_WANTED = re.compile(r"linux-(image|binary|modules|headers|base)-")
_LAYOUT = 2

# What a host and its guests in the lab can ever load.  The rest is nine tenths of the package.
_MODULES = re.compile(
    r"""kernel/(
      arch/ | virt/ | crypto/ | lib/ | block/ | mm/
    | fs/(9p|overlayfs|netfs|fscache|fuse|ext4|jbd2|btrfs|xfs|squashfs|isofs|autofs|nls|fat)/
    | fs/configfs/
    | fs/[^/]*$
    | net/(9p|core|sched|bridge|802|llc|ipv4|ipv6|netfilter|packet|unix|vmw_vsock|xdp|tls)/
    | drivers/(acpi|ata|block|cdrom|char|clocksource|cpuidle|dca|dax|firmware|i2c|input|iommu|pci
              |pps|ptp|scsi|thermal|vdpa|vfio|vhost|video|virt|virtio|watchdog)/
    | drivers/net/[^/]*$
    | drivers/net/ethernet/(intel|realtek|amd)/
    | drivers/net/(phy|mdio)/
    | drivers/crypto/ccp/ | drivers/misc/(eeprom|pvpanic)/
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel in the cache; paths are absolute."""

    series: str
    """ "6.1" """
    version: str
    """Debian's version, "6.1.176-1"."""
    release: str
    """What `uname -r` says, "6.1.0-50-amd64"."""
    root: Path
    """The layer: `usr/lib/modules/…`, `usr/src/linux-headers-…`, `boot/vmlinuz`."""

    @property
    def image(self) -> Path:
        """The bzImage."""
        return self.root / "boot/vmlinuz"

    @property
    def modules(self) -> Path:
        """The module tree, `…/usr/lib/modules/<release>`."""
        return self.root / "usr/lib/modules" / self.release

    @property
    def headers(self) -> Path:
        """The generated headers, `…/usr/src/linux-headers-<release>`; `-common` is beside."""
        return self.root / "usr/src" / f"linux-headers-{self.release}"


def _directory() -> Path:
    return cache_root() / "kernels"


def _load(series: str) -> Kernel | None:
    root = _directory() / series
    try:
        facts = json.loads((root / "kernel.json").read_text())
    except FileNotFoundError:
        return None
    if facts.pop("layout") != _LAYOUT:
        return None
    return Kernel(root=root, **facts)


def _series(version: str) -> str:
    match = re.match(r"(\d+\.\d+)\b", version)
    if match is None:
        raise ArchiveError(f"no kernel version in {version!r}")
    return match.group(1)


def kernel(series: str, refresh: bool = False) -> Kernel:
    """Return a kernel of the cache, downloading and unpacking it first where needed.

    Args:
        series: "6.1", "6.12", … or "newest".
        refresh: ask the archive even if the cache has it.

    Raises:
        ArchiveError: no release of the archive has that series, or apt failed.
    """
    if series != "newest" and not refresh and (found := _load(series)):
        return found
    releases = RELEASES[-1:] if series == "newest" else RELEASES
    seen: list[str] = []
    for release in releases:
        with tempfile.TemporaryDirectory(prefix="kvmexporter-apt-") as state:
            archive = Archive(release, Path(state))
            version = archive.version("linux-image-amd64")
            seen.append(f"{version} ({release})")
            if series not in ("newest", _series(version)):
                continue
            found = _load(_series(version))
            if found and found.version == version:
                return found
            return _fetch(archive, version)
    raise ArchiveError(f"no release has kernel {series}; the archive has {', '.join(seen)}")


def _closure(archive: Archive) -> list[str]:
    # The split differs by release (image alone; binary and modules), the names' pattern does not.
    wanted: set[str] = set()
    queue = ["linux-image-amd64", "linux-headers-amd64"]
    while queue:
        for name in archive.depends(queue.pop()):
            if _WANTED.match(name) and name not in wanted:
                wanted.add(name)
                queue.append(name)
    return sorted(wanted)


def _keep(path: str) -> bool:
    if path.startswith("usr/lib/modules/"):
        inside = path.split("/", 4)[4:]
        if not inside or not inside[0].endswith((".ko", ".ko.xz")):
            return True
        return _MODULES.match(inside[0]) is not None
    if path.startswith("usr/src/linux-headers-"):
        # bcc reads headers; build rules and other architectures are two thirds of the tree.
        return re.search(r"-common/arch/(?!x86)", path) is None
    return path.startswith("boot/")


def _fetch(archive: Archive, version: str) -> Kernel:
    with replacing(_directory() / _series(version)) as root:
        for deb in archive.download(_closure(archive)):
            unpack(deb, root, _keep)
        (release,) = (entry.name for entry in (root / "usr/lib/modules").iterdir())
        (image,) = [
            *(root / "boot").glob("vmlinuz*"),
            *(root / "usr/lib/modules" / release).glob("vmlinuz*"),
        ]
        (root / "boot").mkdir(exist_ok=True)
        image.rename(root / "boot/vmlinuz")
        for leftover in (root / "boot").glob("*-*"):
            leftover.unlink()
        # Decompressing here saves it at every boot of an emulated machine.
        for packed in (root / "usr/lib/modules").rglob("*.ko.xz"):
            packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
            packed.unlink()
        depmod(root, release)
        made = Kernel(_series(version), version, release, root)
        facts = {key: value for key, value in asdict(made).items() if key != "root"}
        (root / "kernel.json").write_text(json.dumps({"layout": _LAYOUT, **facts}))
    found = _load(made.series)
    if found is None:
        raise ArchiveError(f"{_directory() / made.series} vanished")
    return found


def depmod(root: Path, release: str) -> None:
    """Write a module tree's indexes (`root`/usr/lib/modules/`release`)."""
    # depmod looks for /lib/modules below its base, and the layer has a merged /usr.
    link = root / "lib"
    link.symlink_to("usr/lib")
    try:
        # kmod does what its name says, and /usr/sbin/depmod is an absolute link out of the layer.
        layered = lab_packages() / "usr/bin/kmod"
        kmod = str(layered) if layered.exists() else shutil.which("kmod")
        if kmod is None:
            raise ArchiveError("no kmod, neither in the lab's packages nor on this system")
        done = subprocess.run(
            ["depmod", "-b", root, release],
            executable=kmod, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ArchiveError(f"depmod -b {root} {release}: {done.stderr.strip()}")
    finally:
        link.unlink()


def main() -> None:
    """Prepare the kernels named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.kernels", description=__doc__)
    parser.add_argument("series", nargs="+", help="6.1, 6.12, … or newest")
    parser.add_argument("--refresh", action="store_true", help="look for a newer one")
    args = parser.parse_args()
    for series in args.series:
        found = kernel(series, args.refresh)
        print(f"{found.series}\t{found.version}\t{found.release}\t{found.root}")


if __name__ == "__main__":
    main()
