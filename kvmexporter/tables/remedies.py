# SPDX-License-Identifier: Apache-2.0
"""What mends a need that is not met: need → platform → what to do; "" is for all others."""

from collections.abc import Mapping
from typing import Final

_HOST_PRIVILEGED = "docker run --privileged --pid=host, or hostPID and privileged in the pod"

REMEDIES: Final[Mapping[str, Mapping[str, str]]] = {
    "kvm": {
        "": "modprobe kvm_intel or kvm_amd; turn on VT-x or SVM in the firmware's setup",
        "proxmox": "turn on VT-x or SVM in the firmware's setup; nested: qm set ID --cpu host",
        "container": "modprobe kvm_intel or kvm_amd on the host, and pass on /dev/kvm",
    },
    "pid-namespace": {
        "": "run it outside of any container or unshare(1), where the VMs' processes are seen",
        "proxmox": "run it on the node itself, not in an LXC container",
        "container": "docker run --pid=host; in Kubernetes hostPID: true",
    },
    "capabilities": {
        "": "run as root, or give the service what is lacking: systemctl edit kvmexporter, "
        "AmbientCapabilities=",
        "container": "docker run --cap-add for each that is lacking; in Kubernetes "
        "securityContext.capabilities.add",
    },
    "bcc": {
        "debian": "apt-get install python3-bpfcc",
        "ubuntu": "apt-get install python3-bpfcc",
        "fedora": "dnf install python3-bcc",
        "proxmox": "apt-get install python3-bpfcc",
        "container": "use the project's image, which has it, or install python3-bpfcc in yours",
    },
    "kernel-headers": {
        "debian": "apt-get install linux-headers-amd64",
        "ubuntu": "apt-get install linux-headers-generic",
        "fedora": "dnf install kernel-devel",
        "proxmox": "apt-get install proxmox-default-headers",
        "container": "install linux-headers-amd64 in the image, or bind the host's /usr/src and "
        "/lib/modules: -v /usr/src:/usr/src:ro -v /lib/modules:/lib/modules:ro",
    },
    "tracefs": {
        "": "mount -t tracefs nodev /sys/kernel/tracing",
        "container": "bind it: -v /sys/kernel/tracing:/sys/kernel/tracing:ro",
    },
    "perf-events": {
        "": "sysctl kernel.perf_event_paranoid=2 (to keep it: a file in /etc/sysctl.d), or run "
        "with CAP_SYS_ADMIN",
        "container": "on the host: sysctl kernel.perf_event_paranoid=2; or --cap-add SYS_ADMIN",
    },
    "lockdown": {
        "": "nothing is lost but debugfs; without Secure Boot, or with lockdown=none on the "
        "kernel's command line, that is open too",
        "proxmox": "turn off Secure Boot in the firmware's setup if debugfs is wanted",
    },
    "bpf": {
        "": "mend what is not ok above; kvmexporter dump --log.level debug tells what the loader "
        "said",
        "container": _HOST_PRIVILEGED,
    },
    "tracepoints": {
        "": "see to bpf first, if that is not ok; modprobe kvm; a newer kernel has the ones that "
        "are still lacking",
        "container": "see to bpf first, if that is not ok; modprobe kvm on the host",
    },
    "debugfs": {
        "": "mount -t debugfs nodev /sys/kernel/debug, and start as root or with "
        "CAP_DAC_READ_SEARCH; not needed where QEMU 7.1 or newer answers",
        "container": "bind it: -v /sys/kernel/debug:/sys/kernel/debug:ro; not needed where QEMU "
        "7.1 or newer answers",
    },
    "qmp": {
        "": "start QEMU with a second -qmp unix:/run/kvmexporter/NAME.sock,server=on,wait=off, and "
        "run as its user or with CAP_DAC_OVERRIDE; with libvirt: <qemu:commandline> in the domain",
        "fedora": "start QEMU with a second -qmp unix:/run/kvmexporter/NAME.sock,server=on,"
        "wait=off, and run as its user or with CAP_DAC_OVERRIDE; with libvirt, whose QEMU SELinux "
        "confines: --libvirt.monitor",
        "proxmox": "qm set ID --args '-qmp unix:/run/kvmexporter/ID.sock,server=on,wait=off': "
        "Proxmox needs its own socket for itself",
        "container": "bind the directory of the sockets, and run as QEMU's user or with "
        "--cap-add DAC_OVERRIDE",
    },
    "libvirt": {
        "": "start as root, or with CAP_DAC_READ_SEARCH, to read /run/libvirt/qemu; "
        "--libvirt.monitor takes root and apt-get install libvirt-clients",
        "fedora": "start as root, or with CAP_DAC_READ_SEARCH, to read /run/libvirt/qemu; "
        "--libvirt.monitor takes root and dnf install libvirt-client",
        "container": "bind its files: -v /run/libvirt:/run/libvirt:ro; --libvirt.monitor takes "
        "virsh in the image, too",
    },
    "guest-agent": {
        "": "install qemu-guest-agent in the guest, and give QEMU a socket for it: -chardev "
        "socket,id=qga0,path=/run/kvmexporter/NAME.qga,server=on,wait=off -device virtio-serial "
        "-device virtserialport,chardev=qga0,name=org.qemu.guest_agent.0; libvirt's own serves "
        "libvirt alone",
        "fedora": "dnf install qemu-guest-agent in the guest, and for QEMU a second -chardev "
        "socket,id=qga0,path=SOCKET,server=on,wait=off with a virtserialport "
        "org.qemu.guest_agent.0; libvirt's own serves libvirt alone",
        "proxmox": "qm set ID --agent 1, and apt-get install qemu-guest-agent in the guest; start "
        "as root or with CAP_DAC_OVERRIDE",
        "container": "as on the host, and bind the directory of the sockets",
    },
    "schedstat": {
        "": "run a kernel built with CONFIG_SCHEDSTATS, or boot it with delayacct",
    },
    "host-role": {"": "say --role host or --role both if this is a KVM host"},
    "guest-role": {"": "say --role guest or --role both if this is a KVM guest"},
    "clocksource": {
        "": "dmesg | grep -i -e tsc -e clocksource tells why it is not tsc; tsc=reliable on the "
        "kernel's command line if the hardware's is sound",
        "container": "bind /sys; dmesg on the host tells why it is not tsc",
    },
    "adjtimex": {"": "let the sandbox's system call filter pass adjtimex"},
    "kernel-log": {
        "": "grant CAP_SYSLOG, or sysctl kernel.dmesg_restrict=0",
        "container": "--cap-add SYSLOG --device /dev/kmsg",
    },
    "ptp-clock": {
        "": "modprobe ptp_kvm (to keep it: a file in /etc/modules-load.d); start as root, or let a "
        "udev rule give this user /dev/ptp*",
        "container": "modprobe ptp_kvm on the host, and --device /dev/ptp0",
    },
}


def remedies(need: str, platforms: tuple[str, ...]) -> dict[str, str]:
    """Platform → what to do there.

    Raises:
        KeyError: nobody knows what mends this need.
    """
    known = REMEDIES[need]
    return {one: known[one] if one in known else known[""] for one in platforms}
