# SPDX-License-Identifier: Apache-2.0
"""The CD that the Intel host boots from: a kernel, and a root file system of what tests need.

Bochs has neither 9p nor virtio, so what the other lab hosts take from the development host's own
files goes onto a CD: the interpreter, bcc, QEMU, the kernel's modules and headers, this tree with
its virtual environment, all under their usual paths.  `intel-init.sh` puts memory on top.
"""

import compileall
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.guest.build import build
from tests.lab.cpio import Cpio
from tests.lab.initramfs import ModuleTree, busybox, libraries
from tests.lab.kernels import Kernel

_HERE = Path(__file__).parent
_TREE = _HERE.parents[1]
_LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
_ISOLINUX = (
    Path("/usr/lib/ISOLINUX/isolinux.bin"),
    Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"),
)
# What reads the CD; everything else is loaded from there.
_MODULES = ("ata_piix", "sd_mod", "sr_mod", "isofs", "overlay")
_PROGRAMS = ("/usr/bin/qemu-system-x86_64",)
# What Python's ctypes loads, which no program says it needs.
_LOADED_BY_NAME = ("libbcc.so.0", "librt.so.1", "libc.so.6")
_DIRECTORIES = (
    "/usr/lib/python3", "/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe", "/etc/passwd",
    "/etc/group", "/etc/nsswitch.conf", "/etc/os-release", "/usr/lib/os-release",
)  # fmt: skip
# Of the virtual environment, what looks at the tree and never runs on a host.
_LEFT_OUT = (
    "kubernetes_validate", "selenium", "mypy", "mypyc", "*__mypyc*.so", "pip", "setuptools",
    "grimp", "grafana_foundation_sdk", "ruff",
)  # fmt: skip
_OF_THE_TREE = ("kvmexporter", "dashboards", "tests", "docs", "pyproject.toml", ".venv")


class CdError(Exception):
    """The image could not be made; the message says what is missing."""


def _initramfs(kernel: Kernel, path: Path) -> None:
    archive = Cpio()
    for directory in ("proc", "sys", "dev", "layers", "new"):
        archive.directory(directory)
    archive.character_device("dev/console", 5, 1)
    archive.character_device("dev/null", 1, 3)
    archive.file("bin/busybox", busybox(), 0o755)
    archive.link("bin/sh", "busybox")
    archive.file("init", _HERE / "intel-init.sh", 0o755)
    modules = ModuleTree(kernel.modules).closure(_MODULES)
    for module in modules:
        archive.file(f"modules/{module.name}", module)
    archive.file("modules/order", "".join(f"{m.name}\n" for m in modules).encode())
    archive.write(path)


def _with_libraries(programs: list[Path]) -> Iterator[Path]:
    """Shared objects that these need, found by the loader that will look for them there."""
    for program in programs:
        yield from libraries(program, Path("/"))


def _contents(kernel: Kernel) -> dict[str, Path]:
    """Path on the CD → file or directory that goes there."""
    python = Path(sys.executable).resolve()
    standard_library = Path(sysconfig.get_path("stdlib"))
    extensions = sorted((standard_library / "lib-dynload").glob("*.so"))
    extensions += sorted((_TREE / ".venv").rglob("*.so"))
    loaded = [_LIBRARIES / name for name in _LOADED_BY_NAME]
    programs = [python, *loaded, *(Path(program) for program in _PROGRAMS), *extensions]
    wanted = {str(path): path for path in (python, standard_library)}
    wanted |= {program: Path(program) for program in (*_PROGRAMS, *_DIRECTORIES)}
    for library in (*loaded, *_with_libraries(programs)):
        # Where the loader finds it, in a directory that is no link, and what it is a link to.
        wanted[str(library.parent.resolve() / library.name)] = library
        wanted[str(library.resolve())] = library.resolve()
    wanted["/usr/bin/python3"] = Path("/usr/bin/python3")
    wanted |= {str(_TREE / name): _TREE / name for name in _OF_THE_TREE}
    wanted |= {f"/usr/lib/modules/{kernel.release}": kernel.modules}
    wanted |= {f"/usr/src/{entry.name}": entry for entry in (kernel.root / "usr/src").iterdir()}
    wanted["/usr/bin/busybox"] = busybox()
    return wanted


def make_cd(kernel: Kernel, environment: str, command: str, path: Path) -> None:
    """Write the image.

    Args:
        kernel: what boots.
        environment: shell lines that export what the command's environment is.
        command: shell lines, run with the tree as the working directory.
        path: of the image, some 700 MB.

    Raises:
        CdError: a program for making it is missing, or failed.
    """
    missing = [str(file) for file in _ISOLINUX if not file.exists()]
    missing += [program for program in ("xorriso",) if not shutil.which(program)]
    if missing:
        raise CdError(f"not installed: {', '.join(missing)}")
    build()
    for name in ("kvmexporter", "tests"):
        # What is not compiled here would be compiled there, a hundred times as slowly.
        compileall.compile_dir(_TREE / name, quiet=1)
    with tempfile.TemporaryDirectory(prefix="kvmexporter-cd-") as name:
        staged = Path(name)
        _initramfs(kernel, staged / "initrd")
        (staged / "isolinux.cfg").write_text(
            "DEFAULT lab\nLABEL lab\n KERNEL vmlinuz\n INITRD initrd\n"
            # A kernel that panics reboots by a triple fault, upon which Bochs ends.
            " APPEND console=ttyS0 loglevel=4 panic=-1 reboot=triple net.ifnames=0 mitigations=off"
            f" nokaslr tsc=reliable lab.tree={_TREE}\n"
        )
        (staged / "environment").write_text(environment)
        (staged / "command").write_text(command)
        grafts = {f"/isolinux/{file.name}": file for file in _ISOLINUX}
        grafts |= {
            "/isolinux/isolinux.cfg": staged / "isolinux.cfg",
            "/isolinux/vmlinuz": kernel.image,
            "/isolinux/initrd": staged / "initrd",
            "/lab/environment": staged / "environment",
            "/lab/command": staged / "command",
        }
        grafts |= {f"/root{there}": here for there, here in _contents(kernel).items()}
        points = staged / "points"
        points.write_text("".join(f"{there}={here}\n" for there, here in grafts.items()))
        done = subprocess.run(
            ["xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-R", "-graft-points",
             "-iso-level", "3", "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat",
             "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
             *(argument for name in _LEFT_OUT for argument in ("-m", name)),
             "-path-list", points],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise CdError(f"xorriso: {done.stderr.strip()[-2000:]}")
