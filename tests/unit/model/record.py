# SPDX-License-Identifier: Apache-2.0
"""Records what a real QEMU answers to QMP, for the tests of what reads those answers.

    python -m tests.unit.model.record --qemu qemu-system-x86_64 --output tests/unit/model/recordings

writes `OUTPUT/VERSION/CONFIGURATION.json` for every configuration of `configurations.py` (or those
named after the options), VERSION being what QEMU says of itself ("7.2"). In each file:

- `version`: the value of `query-version`;
- `command_line`: QEMU's own, with the paths of this run replaced by ones that are always the same;
- `replies`: what QEMU answered, error or not, by command as `command_key` writes it; of
  `query-qmp-schema` only what belongs to `x-query-virtio-status`, of a NIC's 4,096 VLANs three;
- `fatal`: commands that ended QEMU, with its last words. The VM is then run again without them.

The firmware has run and, where the configuration says so, a driver in the guest has initialised the
first modern virtio devices of PCI bus 0. Costs a few seconds a configuration.

A newer QEMU needs not be installed: unpack its packages and all that they depend on into a
directory, and give `--qemu` a script that mounts /proc, /dev, /tmp and this tree there, in a mount
namespace of its own (`unshare -m`), and executes QEMU by `chroot`. What needs vhost is recorded in
the lab where the host has none:

    python -m tests.lab.boot -- sh -c \
        'python3 -m tests.unit.model.record --output $KVMEXPORTER_LAB_RESULTS pc-vhost'
"""

import argparse
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from tests.guest.build import BUILD
from tests.guest.machine import BareMetalGuest, GuestError
from tests.unit.model.configurations import CONFIGURATIONS, Configuration

Reply = dict[str, Any]
"""`{"return": value}` or `{"error": {"class": …, "desc": …}}`."""

_FIRMWARE_SECONDS = 90.0
_QUEUES = 3
_OWNER = re.compile(r"\{(?:dev|obj) path=([^}]*)\}")
_VLANS = 3
_DIRECTORY = "/run/kvmexporter-recording"
_PROGRAM = "qemu-system-x86_64"

_COMMANDS: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("query-version", {}),
    ("query-status", {}),
    ("query-name", {}),
    ("query-uuid", {}),
    ("query-kvm", {}),
    ("query-cpus-fast", {}),
    ("query-hotpluggable-cpus", {}),
    ("query-memory-size-summary", {}),
    ("query-iothreads", {}),
    ("query-chardev", {}),
    ("query-block", {}),
    ("query-balloon", {}),
    ("query-rx-filter", {}),
    ("query-pci", {}),
    ("query-stats", {"target": "vm"}),
    ("query-stats", {"target": "vcpu"}),
    ("query-stats-schemas", {}),
    ("qom-list", {"path": "/machine"}),
    ("qom-list", {"path": "/machine/peripheral"}),
    ("qom-list", {"path": "/machine/peripheral-anon"}),
    ("qom-list", {"path": "/machine/unattached"}),
    ("human-monitor-command", {"command-line": "info qtree"}),
    ("human-monitor-command", {"command-line": "info network"}),
    ("human-monitor-command", {"command-line": "info mtree -f"}),
    ("human-monitor-command", {"command-line": "info mtree -f -o"}),
    ("query-qmp-schema", {}),
    ("x-query-virtio", {}),
)
# Of vCPU 0: what a guest's clocks depend on.
_CPU_PROPERTIES = (
    "tsc-deadline", "invtsc", "kvmclock", "kvmclock-stable-bit", "x2apic", "hv-time", "hv-stimer",
    "hv-frequencies", "hv-reenlightenment", "type",
)  # fmt: skip
_VIRTIO_PROPERTIES = ("parent_bus", "ioeventfd", "page-per-vq", "vectors")


class RecordingError(Exception):
    """QEMU or what it needs could not be started, or does not answer."""


class FatalCommandError(RecordingError):
    """QEMU ended instead of answering.

    Args:
        command: the name of what it was asked.
    """

    def __init__(self, command: str) -> None:
        super().__init__(f"QEMU ended when asked {command}")
        self.command = command


def command_key(name: str, arguments: Mapping[str, object] | None = None) -> str:
    """How a recording's `replies` name a command.

    `query-pci`, `qom-list {"path":"/machine"}`; for the human monitor its command line alone,
    `info mtree -f -o`.
    """
    if name == "human-monitor-command" and arguments:
        return str(arguments["command-line"])
    if not arguments:
        return name
    return f"{name} {json.dumps(arguments, sort_keys=True, separators=(',', ':'))}"


class Recorder:
    """A QMP connection that keeps the replies; a context manager.

    Args:
        path: a QMP socket that nobody uses.
        avoid: names of commands that are not to be given.
    """

    def __init__(self, path: Path, avoid: Container[str] = ()) -> None:
        self.replies: dict[str, Reply] = {}
        self._avoid = avoid
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rb")
        self._message()
        self._exchange("qmp_capabilities", {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the socket to others."""
        self._stream.close()
        self._socket.close()

    def _message(self) -> Reply:
        line = self._stream.readline()
        if not line:
            raise RecordingError("QEMU closed its monitor")
        message: Reply = json.loads(line)
        return message

    def _exchange(self, name: str, arguments: Mapping[str, object]) -> Reply:
        request = {"execute": name, **({"arguments": arguments} if arguments else {})}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            message = self._message()
            if "event" not in message:
                return message

    def ask(self, name: str, /, **arguments: object) -> Any:
        """Record a command's reply, and return its value: None if QEMU refused it.

        Raises:
            FatalCommandError: see the class.
        """
        if name in self._avoid:
            return None
        try:
            reply = self._exchange(name, arguments)
        except (ConnectionError, RecordingError) as err:
            raise FatalCommandError(name) from err
        self.replies[command_key(name, arguments)] = _shortened(name, reply)
        return reply.get("return")


def _shortened(command: str, reply: Reply) -> Reply:
    """A reply without what would make the recordings several times as long."""
    if "return" not in reply:
        return reply
    if command == "query-qmp-schema":
        return {"return": _reachable(reply["return"], "x-query-virtio-status")}
    if command == "query-rx-filter":
        filters = [{**nic, "vlan-table": nic["vlan-table"][:_VLANS]} for nic in reply["return"]]
        return {"return": filters}
    return reply


def _reachable(schema: Sequence[dict[str, Any]], root: str) -> list[dict[str, Any]]:
    """The entities of a QMP schema that one of them refers to, itself first."""
    entities = {entity["name"]: entity for entity in schema}
    found: dict[str, dict[str, Any]] = {}
    wanted = [root]
    while wanted:
        name = wanted.pop(0)
        if name in entities and name not in found:
            entity = found[name] = entities[name]
            members = [member["type"] for member in entity.get("members", ()) if "type" in member]
            direct = [entity.get(key) for key in ("arg-type", "ret-type", "element-type")]
            wanted += [*filter(None, direct), *members]
    return list(found.values())


def ask_everything(monitor: Recorder) -> None:
    """Record all commands, those that a VM's devices give rise to as well."""
    for name, arguments in _COMMANDS:
        monitor.ask(name, **arguments)
    for device in monitor.ask("x-query-virtio") or ():
        path = device["path"]
        for name in _VIRTIO_PROPERTIES:
            # Of the device on the bus; on virtio-mmio there is only the one.
            monitor.ask("qom-get", path=path.removesuffix("/virtio-backend"), property=name)
        monitor.ask("x-query-virtio-status", path=path)
        for queue in range(_QUEUES):
            if monitor.ask("x-query-virtio-queue-status", path=path, queue=queue) is None:
                break
        # An error of its own where no vhost runs.
        monitor.ask("x-query-virtio-vhost-queue-status", path=path, queue=0)
    for cpu in monitor.replies["query-cpus-fast"]["return"][:1]:
        for name in _CPU_PROPERTIES:
            monitor.ask("qom-get", path=cpu["qom-path"], property=name)
    monitor.ask("qom-get", path="/machine", property="rtc-time")
    for path in [one["qdev"] for one in monitor.ask("query-block") or () if "qdev" in one]:
        if monitor.ask("qom-get", path=path, property="iothread") is None:
            bus = monitor.ask("qom-get", path=path, property="parent_bus")
            monitor.ask("qom-get", path=bus.rpartition("/")[0], property="iothread")
    regions = monitor.replies["info mtree -f -o"]["return"]
    for owner in sorted(set(_OWNER.findall(regions))):
        monitor.ask("qom-get", path=owner, property="type")


@contextmanager
def _backend(configuration: Configuration, directory: Path) -> Iterator[None]:
    """Run the other process that a configuration needs, if any, until the body is done."""
    if not configuration.backend:
        yield
        return
    command = [word.format(directory=directory) for word in configuration.backend]
    with subprocess.Popen(command) as process:
        try:
            deadline = time.monotonic() + 10
            while not any(directory.iterdir()):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RecordingError(f"{command[0]} did not make its socket")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def record(configuration: Configuration, qemu: str, accel: str) -> dict[str, Any]:
    """Run one VM, as often as a command ends it and once more, and return its recording.

    Args:
        configuration: which.
        qemu: the emulator's program.
        accel: `kvm` or `tcg`.

    Raises:
        RecordingError: see the class.
        GuestError: QEMU did not start, or the guest's driver did not.
    """
    for path in configuration.needs:
        if not Path(path).exists():
            raise RecordingError(f"needs {path}, which this host does not have")
    fatal: dict[str, str] = {}
    while True:
        # Short: a socket's path has 107 bytes at most.
        with TemporaryDirectory(prefix="qmp-") as temporary:
            directory = Path(temporary)
            guest = BareMetalGuest(
                configuration.name,
                devices=tuple(word.format(directory=directory) for word in configuration.devices),
                accel=accel,
                vcpus=2,
                machine=configuration.machine,
                memory_mib=configuration.memory_mib,
                qemu=qemu,
            )
            with _backend(configuration, directory), guest:
                try:
                    return _record_once(configuration, guest, directory, fatal)
                except FatalCommandError as err:
                    fatal[err.command] = _last_words(guest)


def _record_once(
    configuration: Configuration,
    guest: BareMetalGuest,
    directory: Path,
    fatal: Mapping[str, str],
) -> dict[str, Any]:
    if configuration.boots:
        guest.wait_ready(_FIRMWARE_SECONDS)
        for device in configuration.driven:
            guest.run(virtio_init=(1, device))
    with Recorder(guest.qmp_path, avoid=fatal) as monitor:
        ask_everything(monitor)
    recording = {
        "version": monitor.replies["query-version"]["return"],
        "command_line": _command_line(guest.pid),
        "replies": monitor.replies,
        "fatal": dict(fatal),
    }
    paths = (guest.qmp_path.parent, directory, BUILD)
    return _with_paths_replaced(recording, {str(path): _DIRECTORY for path in paths})


def _last_words(guest: BareMetalGuest) -> str:
    """The last line that an ended QEMU printed, and how it ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            guest.check()
        except GuestError as err:
            return str(err).rpartition(f"{_PROGRAM}: ")[2].splitlines()[-1]
        time.sleep(0.05)
    raise RecordingError("QEMU closed its monitor and runs on")


def _command_line(pid: int) -> list[str]:
    """The arguments QEMU runs with, by whatever it was started."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    return [_PROGRAM, *words[words.index("-name") :]]


def _with_paths_replaced(recording: dict[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    text = json.dumps(recording)
    for path, replacement in paths.items():
        text = text.replace(path, replacement)
    result: dict[str, Any] = json.loads(text)
    return result


def release(version: Mapping[str, Any]) -> str:
    """The directory of a version's recordings: "7.2"."""
    return f"{version['qemu']['major']}.{version['qemu']['minor']}"


def _extended(kept: dict[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """A recording, and before its replies those that only a fresh one has."""
    return {**kept, "replies": {**fresh["replies"], **kept["replies"]}}


def written(recording: Mapping[str, Any]) -> str:
    """A recording as text: compact, and one reply a line, so that a new recording can be read."""
    lines = [
        f'"version":{_compact(recording["version"])}',
        f'"command_line":{_compact(recording["command_line"])}',
        f'"fatal":{_compact(recording["fatal"])}',
    ]
    replies = [f"{_compact(key)}:{_compact(value)}" for key, value in recording["replies"].items()]
    lines.append('"replies":{\n' + ",\n".join(replies) + "\n}")
    return "{" + ",\n".join(lines) + "}\n"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record; returns the exit status: 1 if a configuration could not be recorded."""
    parser = argparse.ArgumentParser(prog="python -m tests.unit.model.record")
    parser.add_argument("--qemu", default=_PROGRAM, help="the emulator's program")
    parser.add_argument("--output", type=Path, required=True, help="directory of the recordings")
    parser.add_argument(
        "--add", action="store_true", help="only add replies that a recording does not have yet"
    )
    parser.add_argument("--accel", default="kvm", choices=("kvm", "tcg"))
    names = [configuration.name for configuration in CONFIGURATIONS]
    parser.add_argument("names", nargs="*", metavar="CONFIGURATION", help=", ".join(names))
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"no such configuration: {', '.join(sorted(unknown))}")

    status = 0
    for configuration in CONFIGURATIONS:
        if options.names and configuration.name not in options.names:
            continue
        try:
            recording = record(configuration, options.qemu, options.accel)
        except (GuestError, RecordingError) as err:
            print(f"{configuration.name}: not recorded: {err}", file=sys.stderr)
            status = 1
            continue
        directory = options.output / release(recording["version"])
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{configuration.name}.json"
        if options.add and path.exists():
            recording = _extended(json.loads(path.read_text()), recording)
        path.write_text(written(recording))
        print(f"{path}: {path.stat().st_size} bytes", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
