# SPDX-License-Identifier: Apache-2.0
"""The privileged child that compiles and attaches the BPF programs, and exits.

A script of its own: the standard library and the distribution's bcc, nothing of
kvmexporter but `image.py` beside it. The server starts it with an interpreter that has bcc, as
`loader.py FD`, FD being one end of a Unix stream socket. Over it come, both ways,
JSON messages behind their length (4 bytes, network order):

in   {"sources": [path], "defines": {name: text}, "kernel_headers": path | null,
      "programs": [{"function", "kind": "raw" | "classic", "category", "event"}],
      "maps": [name], "tables": {map: {key: value}},   u32 to u32, written before attaching
      "cache": path | null}                            where to keep what was compiled
out  {"error": {"reason", "remedy"}}           or
     {"maps": {name: {"key_size", "value_size", "max_entries",
                      "fields": {name: [offset, bytes, elements]}}},
      "programs": {function: {"attached": bool, "reason": str}},
      "fds": ["map:NAME" | "program:FUNCTION" | "link:FUNCTION"],
      "headers": path, "seconds": float}
     followed by the descriptors themselves, in that order, as SCM_RIGHTS.

The programs stay attached for as long as somebody holds the link descriptors.
It costs 0.5 s of one core and about 130 MB while it compiles, and a tenth of that when
what was compiled before is still right.
"""

import ctypes
import importlib.util
import json
import os
import platform
import re
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__:
    from kvmexporter.bpf import image
else:  # run as a script, from its directory
    import image  # type: ignore[import-not-found,no-redef] # that very file

_TRACEFS_PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FDS_PER_MESSAGE = 200  # the kernel's SCM_MAX_FD is 253
_EPERM, _EACCES = 1, 13
_MOST_OPEN_PARANOID = 2


class _RefusedError(Exception):
    """Nothing can be loaded: the reason, and what would mend it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def _receive(channel: socket.socket) -> dict[str, Any]:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = channel.recv(size - len(data))
            if not chunk:
                raise EOFError("the server closed the channel")
            data += chunk
        return data

    (size,) = struct.unpack("!I", exactly(4))
    message: dict[str, Any] = json.loads(exactly(size))
    return message


def _send(channel: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    data = json.dumps(message).encode()
    channel.sendall(struct.pack("!I", len(data)) + data)
    for start in range(0, len(fds), _FDS_PER_MESSAGE):
        socket.send_fds(channel, [b"."], fds[start : start + _FDS_PER_MESSAGE])


def _import_bcc() -> Any:
    try:
        import bcc
    except ImportError as err:
        raise _RefusedError(
            f"no bcc in {sys.executable}",
            "install the distribution's package (Debian: python3-bpfcc, Fedora: python3-bcc)",
        ) from err
    if not hasattr(bcc, "BPF"):
        raise _RefusedError(
            f"the bcc module in {sys.executable} is not the BPF Compiler Collection",
            "remove that package and install the distribution's (Debian: python3-bpfcc)",
        )
    return bcc


def _mount_tracefs() -> tuple[str | None, str]:
    """Find tracefs, or mount it.

    Returns:
        Its root and "", or None and why there is none.
    """
    for place in _TRACEFS_PLACES:
        if os.path.ismount(place):
            try:
                os.scandir(f"{place}/events").close()  # access(2) would not count capabilities
            except PermissionError:
                need = "run as root, or with CAP_DAC_READ_SEARCH"
                return None, f"{place} may not be read: {need}"
            return place, ""
    libc = ctypes.CDLL(None, use_errno=True)
    place = _TRACEFS_PLACES[0]
    if libc.mount(b"nodev", place.encode(), b"tracefs", 0, None) == 0:
        return place, ""
    error = os.strerror(ctypes.get_errno())
    return None, f"tracefs is not mounted and cannot be ({error}): mount -t tracefs nodev {place}"


def _require_bpf_permission() -> None:
    """Ask the kernel for the smallest of maps: capabilities alone do not tell."""
    number = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
    if number is None:
        raise _RefusedError(f"no BPF on {platform.machine()} here", "run on x86-64 or arm64")
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = struct.pack("5I", 2, 4, 8, 1, 0).ljust(72, b"\0")  # BPF_MAP_TYPE_ARRAY
    fd = libc.syscall(number, 0, attributes, len(attributes))
    if fd >= 0:
        os.close(fd)
        return
    error = ctypes.get_errno()
    if error in (_EPERM, _EACCES):
        raise _RefusedError(
            "no permission for BPF",
            "run as root, or with CAP_BPF and CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN)",
        )
    raise _RefusedError(
        f"bpf(2) fails: {os.strerror(error)}", "use a kernel with CONFIG_BPF_SYSCALL"
    )


def _source_tree(build: Path) -> Path | None:
    """The tree with the headers themselves that belongs to a build tree."""
    if (build / "include/linux/kconfig.h").exists():
        return build
    source = build.parent / "source"
    if (source / "include/linux/kconfig.h").exists():
        return source
    common = Path(re.sub(r"-[^-]+$", "-common", str(build)))  # Debian's naming
    if (common / "include/linux/kconfig.h").exists():
        return common
    makefile = build / "Makefile"  # Debian's points at the common tree
    if makefile.is_file():
        found = re.search(r"^include\s+(/\S+)/Makefile", makefile.read_text(), re.MULTILINE)
        if found and (Path(found[1]) / "include/linux/kconfig.h").exists():
            return Path(found[1])
    return None


def _find_headers(asked_for: str | None) -> tuple[Path, Path]:
    """The build tree and the source tree of kernel headers to compile with.

    Any version serves: the programs read no kernel structure.
    """
    if asked_for:
        places = [Path(asked_for)]
    else:
        places = [Path("/lib/modules", os.uname().release, "build")]
        places += sorted(Path("/usr/src").glob("linux-headers-*"), reverse=True)
        places += sorted(Path("/usr/src/kernels").glob("*"), reverse=True)
        places += sorted(Path("/lib/modules").glob("*/build"), reverse=True)
    for place in places:
        if (place / "include/generated/autoconf.h").exists():
            source = _source_tree(place.resolve())
            if source:
                return place.resolve(), source
    raise _RefusedError(
        f"no kernel headers in {asked_for}" if asked_for else "no kernel headers",
        "install any version of them (Debian: linux-headers-amd64, Fedora: kernel-devel)"
        + (", or name their directory with --bpf.kernel-headers" if not asked_for else ""),
    )


def _compile(
    bcc: Any, request: dict[str, Any], tracefs: str | None, headers: tuple[Path, Path]
) -> Any:
    build, source = headers
    arch = {"x86_64": "x86", "aarch64": "arm64"}[platform.machine()]
    # bcc builds its own include paths from this tree; the generated headers
    # may live in another one.
    os.environ["BCC_KERNEL_SOURCE"] = str(source)
    cflags = ["-Wno-macro-redefined", "-Wno-unknown-attributes"]
    trees = (
        f"arch/{arch}/include/generated/uapi",
        f"arch/{arch}/include/generated",
        "include/generated/uapi",
        "include",
    )
    cflags += [f"-I{build / tree}" for tree in trees]
    cflags += [f"-D{name}={value}" for name, value in request["defines"].items()]
    for program in request["programs"]:
        if program["kind"] == "classic" and tracefs:
            event = Path(tracefs, "events", program["category"], program["event"], "format")
            if event.exists():
                cflags.append(f"-DHAVE_{program['event'].upper()}")
    text = "".join(
        f'#line 1 "{Path(path).name}"\n{Path(path).read_text()}\n' for path in request["sources"]
    )
    try:
        return bcc.BPF(text=text, cflags=cflags)
    except Exception as err:
        raise _RefusedError(
            f"the BPF programs do not compile with the headers in {build}: {err}",
            "install the headers of another kernel version, or report this with --log.level debug",
        ) from err


def _fields(leaf: Any) -> dict[str, tuple[int, int, int]]:
    """Field name to [offset, bytes, elements] of a C structure, as bcc derived it."""
    fields = {}
    for name, kind in getattr(leaf, "_fields_", ()):
        descriptor = getattr(leaf, name)
        elements = getattr(kind, "_length_", 1)
        fields[name] = descriptor.offset, descriptor.size, elements
    return fields


def _compiled(bcc: Any, bpf: Any, request: dict[str, Any]) -> image.Image:
    """What bcc has made of the sources."""
    # bcc leaves out how these two are called.
    count, name_of = bcc.lib.bpf_num_tables, bcc.lib.bpf_table_name
    count.argtypes, count.restype = (ctypes.c_void_p,), ctypes.c_size_t
    name_of.argtypes, name_of.restype = (ctypes.c_void_p, ctypes.c_size_t), ctypes.c_char_p
    maps = {}
    for number in range(count(bpf.module)):
        name = name_of(bpf.module, number)
        known = name.decode() in request["maps"]
        fields = _fields(bpf[name].Leaf) if known else {}
        maps[name.decode()] = bcc.lib.bpf_table_fd(bpf.module, name), fields
    programs = {}
    for program in request["programs"]:
        # One that bcc could not make, for want of the tracepoint's format, is missing.
        if bcc.lib.bpf_function_size(bpf.module, program["function"].encode()):
            programs[program["function"]] = bpf.dump_func(program["function"])
    return image.image_of(maps, programs)


def _attach(
    made: image.Image, maps: dict[str, int], program: dict[str, str], tracefs: str | None
) -> tuple[int, int]:
    """Load and attach one program: its descriptor and its link's."""
    if program["function"] not in made["programs"]:
        raise OSError(f"{program['function']} was not compiled")
    fd = image.load(made, maps, program["function"], program["kind"])
    try:
        if program["kind"] == "raw":
            return fd, image.attach_raw(fd, program["event"])
        place = Path(str(tracefs), "events", program["category"], program["event"])
        return fd, image.attach_classic(fd, place)
    except OSError:
        os.close(fd)
        raise


def _why_not(program: dict[str, str], tracefs: str | None, no_tracefs: str) -> str:
    """What a user can do about a program that is not attached; "" if it is none of that."""
    if not tracefs:
        return no_tracefs if program["kind"] == "classic" else ""
    category = Path(tracefs, "events", program["category"])
    if not category.is_dir():
        return f"no {program['category']} tracepoints: modprobe {program['category']}"
    if not (category / program["event"] / "format").exists():
        return f"no tracepoint {program['category']}:{program['event']} in this kernel"
    if program["kind"] == "classic" and _perf_is_closed():
        return "perf events are closed: sysctl kernel.perf_event_paranoid=2, or CAP_SYS_ADMIN"
    return ""


def _perf_is_closed() -> bool:
    """Whether the distribution's kernel keeps perf events, on which such a program hangs, to root.

    Debian and Ubuntu default to 3 and 4, values that their own patch gives that meaning.
    """
    try:
        return int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) > _MOST_OPEN_PARANOID
    except (OSError, ValueError):
        return False


def _get(request: dict[str, Any], tracefs: str | None) -> tuple[image.Image, tuple[Path, Path]]:
    """The compiled programs, kept from another time if they are, and what they were made with."""
    directory = Path(request["cache"]) if request.get("cache") else None
    headers = refused = kept = None
    try:
        headers = _find_headers(request["kernel_headers"])
    except _RefusedError as err:
        refused = err
    if headers and directory:
        key = image.key_of(*_ingredients(request, tracefs, headers))
        kept = image.read(directory, key)
    bcc = None if kept else _import_bcc()
    _require_bpf_permission()
    if refused or not headers:
        assert refused
        raise refused
    if kept:
        return kept, headers
    bpf = _compile(bcc, request, tracefs, headers)
    made = _compiled(bcc, bpf, request)
    bpf.cleanup()
    if directory:
        image.keep(directory, key, made)
    return made, headers


def _ingredients(
    request: dict[str, Any], tracefs: str | None, headers: tuple[Path, Path]
) -> list[object]:
    """All that the compiled programs depend on."""
    bcc = importlib.util.find_spec("bcc")
    files = [*request["sources"], __file__, image.__file__]
    formats = [
        Path(str(tracefs), "events", one["category"], one["event"], "format")
        for one in request["programs"]
        if one["kind"] == "classic"
    ]
    stamps = [bcc.origin if bcc else None, headers[0] / "include/generated/autoconf.h"]
    return [
        request["defines"], request["maps"], request["programs"], platform.machine(),
        [Path(name).read_text() for name in files],
        [path.read_text() if path.exists() else "" for path in formats],
        [(str(path), Path(path).stat().st_mtime_ns) for path in stamps if path],
    ]  # fmt: skip


def _load(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Do it all.

    Returns:
        The manifest, and the descriptors in its order.
    """
    started = time.monotonic()
    tracefs, no_tracefs = _mount_tracefs()
    made, headers = _get(request, tracefs)

    names: list[str] = []
    fds: list[int] = []
    maps: dict[str, Any] = {}
    programs: dict[str, Any] = {}
    descriptors = image.make_maps(made)
    for name in request["maps"]:
        sizes = ("key_size", "value_size", "max_entries", "fields")
        maps[name] = {size: made["maps"][name][size] for size in sizes}
        names.append(f"map:{name}")
        fds.append(descriptors[name])
    for name, rows in request["tables"].items():
        image.fill(descriptors[name], rows)
    for program in request["programs"]:
        function = program["function"]
        try:
            program_fd, link_fd = _attach(made, descriptors, program, tracefs)
        except OSError as err:  # one probe must not cost the others
            reason = _why_not(program, tracefs, no_tracefs) or str(err.strerror or err)
            programs[function] = {"attached": False, "reason": reason}
            continue
        programs[function] = {"attached": True, "reason": ""}
        names += [f"program:{function}", f"link:{function}"]
        fds += [program_fd, link_fd]
    manifest = {
        "maps": maps,
        "programs": programs,
        "fds": names,
        "headers": str(headers[0]),
        "seconds": time.monotonic() - started,
    }
    return manifest, fds


def main() -> None:
    """Serve one request on the descriptor named on the command line."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    request = _receive(channel)
    try:
        manifest, fds = _load(request)
    except _RefusedError as err:
        _send(channel, {"error": {"reason": err.reason, "remedy": err.remedy}})
    else:
        _send(channel, manifest, fds)
    channel.close()


if __name__ == "__main__":
    main()
