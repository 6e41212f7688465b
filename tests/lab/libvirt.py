# SPDX-License-Identifier: Apache-2.0
"""libvirt on the lab's host: `virtlogd` and `libvirtd` started by hand, domains through `virsh`.

A domain runs the same kernel and initramfs as `LinuxGuest`, with a shell on its second serial
port.  libvirt keeps the monitor to itself, as it does everywhere; `virsh` is the way to ask.
"""

import os
import re
import subprocess
import time
from pathlib import Path

from tests.lab.shell import GuestError, Shell

_START_SECONDS = 120.0

# The lab has no AppArmor and is its own sandbox.
_QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
remember_owner = 0
"""

_DOMAIN = """\
<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>{vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off noxsave</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='host-passthrough' check='none'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{directory}/disk0.raw'/>
      <target dev='vda' bus='virtio'/>
      <alias name='ua-disk0'/>
    </disk>
    <interface type='user'>
      <model type='virtio'/>
      <alias name='ua-net0'/>
    </interface>
    <serial type='file'><source path='{directory}/console.log'/><target port='0'/></serial>
    <serial type='unix'>
      <source mode='bind' path='{directory}/shell.sock'/><target port='1'/>
    </serial>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <controller type='usb' model='none'/>
    <memballoon model='virtio'><stats period='1'/></memballoon>
  </devices>
</domain>
"""

# libvirt's package makes these when it is installed; libvirtd wants to see them even if it does
# not use them.
_ACCOUNTS = {
    "/etc/passwd": "libvirt-qemu:x:64055:64055:Libvirt QEMU:/var/lib/libvirt:/usr/sbin/nologin",
    "/etc/group": "libvirt-qemu:x:64055:",
}


def _add_accounts() -> None:
    for name, line in _ACCOUNTS.items():
        path = Path(name)
        text = path.read_text()
        if not re.search(r"^libvirt-qemu:", text, re.MULTILINE):
            path.write_text(f"{text.rstrip()}\n{line}\n")


class Domain:
    """A running libvirt domain with a shell."""

    def __init__(self, libvirt: "Libvirt", name: str, directory: Path) -> None:
        self._libvirt = libvirt
        self.name = name
        self.directory = directory
        self._shell = Shell(directory / "shell.sock")

    def wait_ready(self, timeout: float) -> None:
        """Wait until the guest has booted and obeys commands."""
        self._shell.connect()
        self._shell.wait_ready(timeout)

    @property
    def pid(self) -> int:
        """QEMU's process id, as libvirt wrote it down."""
        return int(Path(f"/run/libvirt/qemu/{self.name}.pid").read_text())

    @property
    def uuid(self) -> str:
        """The domain's UUID."""
        return self._libvirt.virsh("domuuid", self.name).strip()

    def run(self, command: str, timeout: float = 60) -> str:
        """Run a shell command in the guest and return its output; raise if it fails."""
        output, code = self._shell.run(command, timeout)
        if code != 0:
            raise GuestError(f"{self.name}: exit code {code} from: {command}\n{output}")
        return output

    def destroy(self) -> None:
        """End the domain at once."""
        self._shell.close()
        self._libvirt.virsh("destroy", self.name)


class Libvirt:
    """The daemons, and the domains made through them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self._domains: dict[str, Domain] = {}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        _add_accounts()
        Path("/etc/libvirt/qemu.conf").write_text(_QEMU_CONF)
        Path("/run/libvirt").mkdir(exist_ok=True)
        self._start("virtlogd")
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start `libvirtd` and wait until it answers; it finds the domains that run."""
        self._start("libvirtd")
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._daemons["libvirtd"].poll() is not None:
                said = (self.directory / "libvirtd.log").read_text(errors="replace")
                self.close()
                raise GuestError(f"libvirtd does not answer: {said[-2000:]}")
            time.sleep(0.5)

    def stop_daemon(self) -> None:
        """End `libvirtd`; its domains run on."""
        self._end("libvirtd")

    def _start(self, name: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [name], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _answers(self) -> bool:
        command = ["virsh", "-q", "-c", "qemu:///system", "list"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def virsh(self, *arguments: str) -> str:
        """Run virsh and return its output; raise with its message if it fails."""
        command = ["virsh", "-q", "-c", "qemu:///system", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise GuestError(f"virsh {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def start(self, name: str, *, vcpus: int = 1, memory_mib: int = 192) -> Domain:
        """Start a domain with a disk, a NIC, a balloon with statistics, and wait for its shell."""
        directory = self.directory / name
        directory.mkdir()
        with (directory / "disk0.raw").open("wb") as image:
            image.truncate(64 << 20)
        xml = directory / "domain.xml"
        xml.write_text(
            _DOMAIN.format(
                name=name, vcpus=vcpus, memory_mib=memory_mib, directory=directory,
                kernel=os.environ["KVMEXPORTER_LAB_GUEST_VMLINUX"],
                initrd=os.environ["KVMEXPORTER_LAB_GUEST_INITRAMFS"],
            )
        )  # fmt: skip
        self.virsh("create", str(xml))
        domain = Domain(self, name, directory)
        self._domains[name] = domain
        domain.wait_ready(_START_SECONDS)
        return domain

    def close(self) -> None:
        """Destroy the domains that are left and end the daemons."""
        if self._domains:
            left = set(self.virsh("list", "--name").split())
            for name, domain in self._domains.items():
                if name in left:
                    domain.destroy()
        for name in reversed(list(self._daemons)):
            self._end(name)
