# SPDX-License-Identifier: Apache-2.0
"""The two initramfs images of a kernel: the lab's own and that of the Linux guests inside.

Both are busybox, some modules of that kernel and an `init` of ours (`host-init.sh`,
`guest-init.sh`).  They are built on the development host, once per kernel and content, into the
kernel's cache directory.  The guest's also carries `qemu-ga` with its libraries.
"""

import hashlib
import re
import subprocess
from pathlib import Path

from tests.lab.archive import cache_root
from tests.lab.cpio import Cpio
from tests.lab.kernels import Kernel
from tests.lab.packages import lab_packages

_HERE = Path(__file__).parent

# What the lab's host needs to mount its root; everything else it loads from there.
_HOST_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")

# Loaded by the guest for every machine.
_GUEST_MODULES = ("virtio_pci",)
# Loaded by the guest when a device asks for them (modalias), or by name in a test.
_GUEST_OPTIONAL = (
    "virtio_blk", "virtio_net", "virtio_balloon", "virtio_scsi", "virtio_console", "virtio_rng",
    "sd_mod", "ata_piix", "ata_generic", "ahci", "e1000", "ptp_kvm", "ptp_vmclock", "i6300esb",
)  # fmt: skip
# The drivers differ by kernel; one that a kernel has neither as a module nor built in is left out
# only if it is named here.
_MAY_LACK = frozenset({"ptp_vmclock", "virtio_rng"})


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".ko").replace("-", "_")


class ModuleTree:
    """The modules of a kernel and what they depend on, as depmod wrote it down."""

    def __init__(self, modules: Path) -> None:
        self._modules = modules
        self._depends: dict[str, list[str]] = {}
        for line in (modules / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            # depmod lists the nearest first; loading wants the farthest first.
            self._depends[_name(path)] = [*reversed(needs.split()), path]
        builtin = (modules / "modules.builtin").read_text().split()
        self._builtin = {_name(path) for path in builtin}

    def has(self, name: str) -> bool:
        """Say whether the kernel has the module, loadable or built in."""
        key = name.replace("-", "_")
        return key in self._depends or key in self._builtin

    def closure(self, names: tuple[str, ...]) -> list[Path]:
        """Return the files of these modules and all they need, in an order that loads."""
        ordered: dict[str, Path] = {}
        for name in names:
            key = name.replace("-", "_")
            if key in self._builtin:
                continue
            if key not in self._depends:
                raise KeyError(f"{self._modules} has no module {name}")
            for path in self._depends[key]:
                ordered.setdefault(path, self._modules / path)
        return list(ordered.values())


def busybox() -> Path:
    """Return the statically linked program that every `init` here is run by."""
    layered = lab_packages() / "usr/bin/busybox"
    return layered if layered.exists() else Path("/bin/busybox")


def _base(init: str) -> Cpio:
    archive = Cpio()
    for directory in ("proc", "sys", "dev", "run", "tmp", "etc", "root", "sbin"):
        archive.directory(directory)
    # Without these two init has no standard output before devtmpfs is mounted.
    archive.character_device("dev/console", 5, 1)
    archive.character_device("dev/null", 1, 3)
    archive.file("bin/busybox", busybox(), 0o755)
    archive.link("bin/sh", "busybox")
    archive.file("init", _HERE / init, 0o755)
    return archive


def _key(*texts: str) -> str:
    # The program that builds is part of what was built.
    digest = hashlib.sha256(Path(__file__).read_bytes() + (_HERE / "cpio.py").read_bytes())
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()[:12]


def _directory(kernel: Kernel) -> Path:
    directory = cache_root() / "initramfs"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / kernel.version


def host_initramfs(kernel: Kernel) -> Path:
    """Return the initramfs that boots the lab's host: it mounts the root and hands over."""
    init = (_HERE / "host-init.sh").read_text()
    path = _directory(kernel).with_suffix(f"{_directory(kernel).suffix}-host-{_key(init)}.cpio")
    if not path.exists():
        archive = _base("host-init.sh")
        modules = ModuleTree(kernel.modules).closure(_HOST_MODULES)
        for module in modules:
            archive.file(f"modules/{module.name}", module)
        archive.file("modules/order", "".join(f"{m.name}\n" for m in modules).encode())
        archive.write(path)
    return path


def libraries(program: Path, layer: Path) -> list[Path]:
    """Return the shared objects that a program needs, those of the layer first."""
    # The layer's libraries are the ones the program was built against.
    environment = {"LD_LIBRARY_PATH": str(layer / "usr/lib/x86_64-linux-gnu")}
    text = subprocess.run(
        ["ldd", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    if "not found" in text:
        raise FileNotFoundError(f"{program}: {text}")
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", text)]


def guest_initramfs(kernel: Kernel) -> Path:
    """Return the initramfs of the Linux guests: a shell that obeys over the serial line."""
    init = (_HERE / "guest-init.sh").read_text()
    path = _directory(kernel).with_suffix(f"{_directory(kernel).suffix}-guest-{_key(init)}.cpio")
    if path.exists():
        return path
    archive = _base("guest-init.sh")
    tree = ModuleTree(kernel.modules)
    wanted = tuple(n for n in _GUEST_OPTIONAL if n not in _MAY_LACK or tree.has(n))
    modules = tree.closure(_GUEST_MODULES + wanted)
    inside = f"lib/modules/{kernel.release}"
    for module in modules:
        archive.file(f"{inside}/{module.relative_to(kernel.modules)}", module)
    # modprobe reads the whole tree's indexes otherwise, at the speed of a nested guest.
    names = {_name(module.name) for module in modules}
    for index, column in (("modules.dep", 0), ("modules.alias", -1), ("modules.softdep", 1)):
        lines = (kernel.modules / index).read_text().splitlines()
        kept = [line for line in lines if line and _name(line.split()[column].rstrip(":")) in names]
        archive.file(f"{inside}/{index}", "".join(f"{line}\n" for line in kept).encode())
    layer = lab_packages()
    agent = layer / "usr/sbin/qemu-ga"
    agent = agent if agent.exists() else Path("/usr/sbin/qemu-ga")
    archive.file("usr/sbin/qemu-ga", agent, 0o755)
    for library in libraries(agent, layer):
        # Where the loader looks first, whatever directory the host keeps them in.
        folder = "lib64" if library.name.startswith("ld-") else "lib/x86_64-linux-gnu"
        archive.file(f"{folder}/{library.name}", library, 0o755)
    archive.write(path)
    return path
