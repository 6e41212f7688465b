# SPDX-License-Identifier: Apache-2.0
"""A command in the sandbox of the unit that is shipped: `python -m tests.sandbox COMMAND…`.

Does what systemd does for each setting of deploy/systemd/kvmexporter.service, on a machine that
systemd does not run. One that nobody here knows is an error. Takes root.
"""

import ctypes
import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests import service
from tests.seccomp import Filter

USER = 65530  # nobody else's
CGROUP = "kvmexporter-sandbox"

# What begins and ends it is not what holds it.
_NOT_THE_SANDBOX = {"Type", "ExecStart", "ExecReload", "Restart", "RestartSec", "RemoveIPC"}

# linux/sched.h, linux/mount.h, linux/keyctl.h, asm/unistd_64.h.
_NEWNS, _NEWUTS, _NEWIPC = 0x00020000, 0x04000000, 0x08000000
_NAMESPACES = (_NEWNS, 0x02000000, _NEWUTS, _NEWIPC, 0x10000000, 0x20000000, 0x40000000)
_MOUNT_ATTR_RDONLY = 1
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_JOIN_SESSION_KEYRING = 1
_SYS_KEYCTL, _SYS_MOUNT_SETATTR = 250, 442
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
_ALL_FAMILIES = range(64)
_REAL_TIME = (1, 2, 6)  # SCHED_FIFO, SCHED_RR, SCHED_DEADLINE
_MISC_MAJOR = 10
_CLOSED = ("null", "zero", "full", "random", "urandom", "tty")

TREE = Path(__file__).resolve().parents[1]
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _read_only(path: str, read_only: bool) -> None:
    """What is mounted there, and below."""
    if Path(path).exists():
        flags = (_MOUNT_ATTR_RDONLY, 0) if read_only else (0, _MOUNT_ATTR_RDONLY)
        attributes = (ctypes.c_uint64 * 4)(*flags, 0, 0)
        place = path.encode()
        _checked(
            _libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, place, _AT_RECURSIVE, attributes, 32), path
        )


def _groups() -> dict[str, Path]:
    """Controller → where its groups are: one hierarchy each in version 1, else one of all."""
    root = Path("/sys/fs/cgroup")
    if (root / "memory").is_dir():
        return {kind: root / kind for kind in ("memory", "pids")}
    return dict.fromkeys(("memory", "pids"), root)


def _cgroup(memory: str, tasks: str) -> None:
    """A group of its own, with these limits."""
    for kind, root in _groups().items():
        version_2 = (root / "cgroup.subtree_control").exists()
        if version_2:
            (root / "cgroup.subtree_control").write_text(f"+{kind}")
        group = root / CGROUP
        group.mkdir(exist_ok=True)
        limits = {"memory.max" if version_2 else "memory.limit_in_bytes": memory, "pids.max": tasks}
        for name, limit in limits.items():
            if name.startswith(kind):
                (group / name).write_text(limit)
        (group / "cgroup.procs").write_text(str(os.getpid()))


def most_used() -> tuple[int, int]:
    """Bytes of memory at most so far, and tasks: at most, or now where the kernel keeps no most."""
    memory, tasks = (root / CGROUP for root in _groups().values())
    peaks = ("memory.max_usage_in_bytes", "memory.peak"), ("pids.peak", "pids.current")
    most_bytes, most_tasks = (
        next(int((group / name).read_text()) for name in names if (group / name).exists())
        for group, names in zip((memory, tasks), peaks, strict=True)
    )
    return most_bytes, most_tasks


def remove_cgroup() -> None:
    """When all that was in it has ended."""
    for group in {root / CGROUP for root in _groups().values()}:
        group.rmdir()


def size(text: str) -> int:
    """Bytes that systemd understands by this."""
    return int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]]


def _devices() -> None:
    """Only those of every closed set, and the ones that are allowed."""
    wanted = [Path("/dev") / name for name in _CLOSED]
    for value in service.settings()["DeviceAllow"]:
        name = value.split()[0]
        if name == "char-misc":
            wanted += [path for path in Path("/dev").iterdir() if _is_misc(path)]
        elif name == "char-ptp":
            wanted += Path("/dev").glob("ptp*")
        else:
            wanted.append(Path(name))
    new = Path("/dev/shm")
    _mount("-t", "tmpfs", "none", new)
    for path in filter(Path.exists, wanted):
        (new / path.name).touch()
        _mount("--bind", path, new / path.name)
    _mount("--rbind", new, "/dev")


def _is_misc(path: Path) -> bool:
    about = path.lstat()
    return stat.S_ISCHR(about.st_mode) and os.major(about.st_rdev) == _MISC_MAJOR


def _empty(path: str, mode: str) -> None:
    """An empty file system, but for this tree if it is below: the command is run from there."""
    tree = os.open(TREE, os.O_PATH)
    _mount("-t", "tmpfs", "-o", f"mode={mode}", "none", path)
    if TREE.is_relative_to(path):
        TREE.mkdir(parents=True)
        # As it is: its name leads elsewhere by now.
        _mount("--no-canonicalize", "--bind", f"/proc/{os.getpid()}/fd/{tree}", TREE)
    os.close(tree)


def _inaccessible(*paths: str) -> None:
    for path in filter(os.path.isdir, paths):
        _empty(path, "711" if TREE.is_relative_to(path) else "000")
        _mount("-o", "remount,ro", path)


def _private_tmp() -> None:
    for path in ("/tmp", "/var/tmp"):
        _empty(path, "1777")


def _system_is_read_only() -> None:
    _read_only("/", True)
    for path in ("/dev", "/proc", "/sys"):
        _read_only(path, False)


def _tunables() -> None:
    _mount("--bind", "/proc/sys", "/proc/sys")
    for path in ("/proc/sys", "/sys"):
        _read_only(path, True)


def _families() -> Filter:
    """Of sockets."""
    one = Filter()
    allowed = {_FAMILIES[name] for name in service.words("RestrictAddressFamilies")}
    for family in set(_ALL_FAMILIES) - allowed:
        one.refuse_value("socket", 0, family, errno.EAFNOSUPPORT)
    return one


def _namespaces() -> Filter:
    one = Filter()
    for flag in _NAMESPACES:
        one.refuse_bits("unshare", 0, flag)
        one.refuse_bits("clone", 0, flag)
    one.refuse("setns")
    one.refuse("clone3", errno.ENOSYS)
    return one


def _real_time() -> Filter:
    one = Filter()
    for policy in _REAL_TIME:
        one.refuse_value("sched_setscheduler", 1, policy)
    return one


def _set_ids() -> Filter:
    one = Filter()
    for bits in (stat.S_ISUID, stat.S_ISGID):
        one.refuse_bits("chmod", 1, bits)
        one.refuse_bits("fchmod", 1, bits)
        one.refuse_bits("fchmodat", 2, bits)
    return one


def _personality() -> Filter:
    one = Filter()
    one.refuse_others("personality", 0, 0)
    return one


def _host_name() -> Filter:
    one = Filter()
    one.refuse("sethostname")
    one.refuse("setdomainname")
    return one


def _calls() -> Filter:
    (name,) = service.words("SystemCallErrorNumber")
    one = Filter(getattr(errno, name))
    one.allow(service.allowed_calls())
    return one


_FILTERS: Mapping[str, Callable[[], Filter]] = {
    "RestrictAddressFamilies": _families,
    "RestrictNamespaces": _namespaces,
    "RestrictRealtime": _real_time,
    "RestrictSUIDSGID": _set_ids,
    "LockPersonality": _personality,
    "ProtectHostname": _host_name,
    "SystemCallFilter": _calls,  # last: what sets up the others may not be in it
}
_MOUNTS: Mapping[str, tuple[str, Callable[[], None]]] = {
    "ProtectSystem": ("strict", _system_is_read_only),
    "DevicePolicy": ("closed", _devices),
    "ProtectKernelTunables": ("yes", _tunables),
    "ProtectControlGroups": ("yes", lambda: _read_only("/sys/fs/cgroup", True)),
    "ProtectHome": ("yes", lambda: _inaccessible("/home", "/root", "/run/user")),
    "PrivateTmp": ("yes", _private_tmp),
}
_LIMITS = {"LimitNOFILE": resource.RLIMIT_NOFILE, "LimitMEMLOCK": resource.RLIMIT_MEMLOCK}
# Each with the one value that is known here, or None where any is taken.
_OTHERS: Mapping[str, str | None] = {
    "User": "kvmexporter", "Group": "kvmexporter", "AmbientCapabilities": None,
    "CapabilityBoundingSet": None, "NoNewPrivileges": "yes", "MemoryMax": None, "TasksMax": None,
    "PrivateMounts": "yes", "PrivateIPC": "yes", "UMask": None, "KeyringMode": "private",
    "DeviceAllow": None, "SystemCallArchitectures": "native", "SystemCallErrorNumber": None,
}  # fmt: skip


def check(settings: Mapping[str, Sequence[str]] | None = None) -> None:
    """Every setting of the unit is one that is applied here, with a value that is.

    Raises:
        ValueError: which is not.
    """
    for key, values in (settings or service.settings()).items():
        if key in _NOT_THE_SANDBOX or key in _LIMITS or key in _FILTERS:
            continue
        known = _MOUNTS[key][0] if key in _MOUNTS else _OTHERS.get(key, "")
        if known is not None and list(values) != [known]:
            raise ValueError(f"{key}={values}: nobody here knows how to apply that")


def _limit(number: int, text: str) -> None:
    """At most what this machine gives; to give more takes CAP_SYS_RESOURCE."""
    _, most = resource.getrlimit(number)
    limit = resource.RLIM_INFINITY if text == "infinity" else int(text)
    if most != resource.RLIM_INFINITY and (limit == resource.RLIM_INFINITY or limit > most):
        limit = most
    resource.setrlimit(number, (limit, limit))


def _value(key: str) -> str:
    (value,) = service.words(key)
    return value


def enter(command: list[str]) -> None:
    """Become the command, in the sandbox."""
    check()
    given = service.settings()
    _checked(_libc.unshare(_NEWNS | _NEWIPC | _NEWUTS), "unshare")
    _mount("--make-rprivate", "/")
    _cgroup(_value("MemoryMax"), _value("TasksMax"))
    for key, number in _LIMITS.items():
        _limit(number, _value(key))
    filters = [make() for key, make in _FILTERS.items() if key in given]
    for key, (_, apply) in _MOUNTS.items():
        if key in given:
            apply()
    os.umask(int(_value("UMask"), 8))
    _checked(_libc.syscall(_SYS_KEYCTL, _JOIN_SESSION_KEYRING, None), "keyctl")
    bounding, ambient = (
        ",".join(
            ["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in service.words(key))]
        )
        for key in ("CapabilityBoundingSet", "AmbientCapabilities")
    )
    prefix = [
        "setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--no-new-privs",
        "--bounding-set", bounding, "--inh-caps", ambient, "--ambient-caps", ambient,
    ]  # fmt: skip
    for one in filters:
        one.load()
    os.execvp(prefix[0], [*prefix, *command])


if __name__ == "__main__":
    enter(sys.argv[1:])
