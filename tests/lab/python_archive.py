# SPDX-License-Identifier: Apache-2.0
"""Python, the exporter and what they load, as an archive for a guest that has no more than a shell.

Made on the development host, beside the two initramfs images, of this interpreter's own files: what
`IMPORTS` loads, the encodings, and the shared libraries that these are linked to. A guest unpacks
it into memory (`GUEST_SETUP`) and runs `chroot /python /usr/bin/python3.11 ...`.
"""

import compileall
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import kvmexporter

# Everything that `serve` and `dump` load, some of it when it is first used.
IMPORTS = (
    "kvmexporter.cli.main, kvmexporter.cli.serve, kvmexporter.cli.dump, kvmexporter.views.http, "
    "kvmexporter.views.text, kvmexporter.views.json, kvmexporter.views.exposition, "
    "prometheus_client, rich.console, rich.table, click, encodings.idna, encodings.utf_8, "
    "encodings.latin_1, encodings.ascii, concurrent.futures.thread, pwd, runpy"
)
_LIST = f"""
import {IMPORTS}
import sys
for module in list(sys.modules.values()):
    for path in (getattr(module, "__file__", None), getattr(module, "__cached__", None)):
        if path: print(path)
"""
PYTHON = f"/usr/bin/python3.{sys.version_info.minor}"
GUEST_SETUP = """
mkdir -p /python && mount -t tmpfs -o size=160m python /python &&
tar -xf {disk} -C /python && for d in proc sys dev; do
    mkdir -p /python/$d && mount --rbind /$d /python/$d || mount -o bind /$d /python/$d; done
"""


def _loaded() -> list[Path]:
    """The files of the modules, sources and byte code, as this interpreter finds them."""
    done = subprocess.run([sys.executable, "-c", _LIST], capture_output=True, text=True, check=True)
    return [Path(line) for line in dict.fromkeys(done.stdout.split("\n")) if line]


def _whole_packages(site: Path, files: Iterable[Path]) -> list[Path]:
    """All of the packages that some files are of: what they load later is not known yet."""
    tops = {path.relative_to(site).parts[0] for path in files if path.is_relative_to(site)}
    return [path for top in sorted(tops) for path in sorted((site / top).rglob("*"))]


def _libraries(binaries: Iterable[Path]) -> set[Path]:
    # ldd says nothing but "not a dynamic executable" of a static one.
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False)
    words = [word for word in done.stdout.split() if word.startswith("/") and ":" not in word]
    return {Path(word) for word in words}


def _place(path: Path, package: Path, site: Path) -> str:
    """Where a file goes in the archive."""
    library = f"usr/lib/python3.{sys.version_info.minor}"
    for root in (site, package.parent):
        if path.is_relative_to(root):
            return f"{library}/{path.relative_to(root)}"
    return str(path).lstrip("/")


def build(archive: Path) -> None:
    """Write the archive, some 20 MB, in about a second."""
    package = Path(kvmexporter.__file__).parent
    site = Path(sys.prefix) / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    python = Path(PYTHON)
    files = [path for path in _loaded() if path.exists() and not path.is_relative_to(package)]
    files += [path for path in _whole_packages(site, files) if path.is_file()]
    libraries = _libraries([python, *(path for path in files if path.suffix == ".so")])
    with tarfile.open(archive, "w") as tar, TemporaryDirectory() as scratch:
        added: set[str] = set()
        # Its own byte code may be older than the source, or not be there.
        copy = Path(scratch) / "kvmexporter"
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(copy, quiet=1)
        tar.add(copy, _place(package, package, site))
        for path in [python, *files, *sorted(libraries)]:
            place = _place(path, package, site)
            if place not in added:
                added.add(place)
                tar.add(path.resolve(), place)
        for link, target in (("lib", "usr/lib"), ("lib64", "usr/lib64")):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            if not any(name.startswith(f"{link}/") for name in added):
                tar.addfile(entry)
