# SPDX-License-Identifier: Apache-2.0
"""Panels on devices: their paths, what they are made of, on hosts and inside guests."""

from dashboards.generate.alerts import ALERTS
from dashboards.generate.panel import VM_LEGEND, Column, Panel, Query
from dashboards.generate.recording import VM

_NO_GUEST = "no exporter runs inside a guest here"
_NO_VIRTIO = "not served (--collector.devices.virtio; kvmexporter dump shows it anyway)"
(_EMULATED,) = (alert for alert in ALERTS if alert.name == "KvmVmEmulatedDeviceInUse")

PATHS = (
    Panel(
        title="Emulated devices",
        about="Accesses to emulated disks and NICs that the VMM handles, the ten devices with "
        "most. Above the dashes the guest works through the device: give it the virtio one.",
        queries=(
            Query(
                f"topk(10, ({_EMULATED.value}) and on ({VM}) kvm_vm_vcpus{{@vm}})",
                "{{device}} · " + VM_LEGEND,
            ),
        ),
        unit="cps",
        warn=_EMULATED.threshold,
        empty="no emulated disk or NIC was accessed",
    ),
    Panel(
        title="Virtqueue sizes",
        kind="table",
        about="Entries of each queue in use. 256 is QEMU's default; block devices and busy NICs "
        "gain from 1024. Only with --collector.devices.virtio.",
        queries=(Query("kvm_vm_virtqueue_size{@vm}", column=Column("Entries")),),
        hidden=("job",),
        empty=_NO_VIRTIO,
    ),
    Panel(
        title="Devices",
        kind="table",
        about="Each device and the path its data takes. emulated NICs and disks want to be "
        "virtio, virtio NICs on "
        "a tap want vhost.",
        queries=(Query('kvm_vm_device_info{@vm, path=~"$path"}'),),
        hidden=("job",),
        empty="no VMM could be asked",
        width=24,
    ),
    Panel(
        title="Virtio features",
        kind="table",
        about="What guests accepted. NET_F_HOST_TSO4 and CSUM absent: small packets only; "
        "RING_F_EVENT_IDX absent: more kicks; BALLOON_F_DEFLATE_ON_OOM absent: a full balloon can "
        "kill guests' processes. Only with --collector.devices.virtio.",
        queries=(Query("kvm_vm_virtio_feature{@vm}"),),
        hidden=("job",),
        empty=_NO_VIRTIO,
        width=24,
    ),
)

BACKENDS = (
    Panel(
        title="Disks",
        kind="table",
        about="How the VMM reads and writes each disk. cache writeback or unsafe can lose data "
        "with the host; aio "
        "threads costs more than native or io_uring.",
        queries=(Query("kvm_vm_disk_info{@vm}"),),
        hidden=("job",),
        empty="no VM has a disk that can be told",
    ),
    Panel(
        title="NICs",
        kind="table",
        about="What is behind each NIC. Without vnet_hdr no offload passes: small packets only.",
        queries=(Query("kvm_vm_nic_info{@vm}"),),
        hidden=("job",),
        empty="no VM has a NIC that can be told",
    ),
    Panel(
        title="Offloads of the host's NICs",
        kind="table",
        about="Segmentation and checksum offloads of taps, bridges and uplinks. They should be "
        "on all along the way; "
        "one that is off makes every packet small.",
        queries=(Query("kvm_host_nic_offload_enabled{@host}", column=Column("On", "bool_yes_no")),),
        hidden=("job",),
        empty="no NIC serves a VM",
        width=24,
    ),
)

GUESTS = (
    Panel(
        title="Virtio devices in guests",
        kind="table",
        about="Each guest's virtio devices. Without a driver the device is idle; intx instead of "
        "msix: all its queues "
        "share one wire and vhost is of little use.",
        queries=(Query("kvm_guest_virtio_device_info{@host}"),),
        hidden=("job",),
        empty=_NO_GUEST,
        width=24,
    ),
    Panel(
        title="Virtio drivers ready in guests",
        kind="table",
        about="Whether the driver has told the device that it drives it. No for long: the driver "
        "failed, see dmesg.",
        queries=(
            Query("kvm_guest_virtio_device_ready{@host}", column=Column("Ready", "bool_yes_no")),
        ),
        hidden=("job",),
        empty=_NO_GUEST,
    ),
    Panel(
        title="Virtio features in guests",
        kind="table",
        about="What driver and device agreed on, as the guest sees it. Compare with Virtio "
        "features of its VM.",
        queries=(Query("kvm_guest_virtio_feature{@host}"),),
        hidden=("job",),
        empty=_NO_GUEST,
    ),
)

HOSTS = (
    Panel(
        title="What hosts can do",
        kind="table",
        about="What VMs need of their host. nested_paging missing: guests' page tables cost "
        "exits; turn it on in the "
        "firmware or in kvm_intel, kvm_amd.",
        queries=(
            Query("kvm_host_virtualization_feature{@host}", column=Column("Can", "bool_yes_no")),
        ),
        hidden=("job",),
        empty="no host is scraped",
    ),
    Panel(
        title="Drivers of hosts",
        kind="table",
        about="Drivers that serve VMs. vhost_net available but not loaded: modprobe it before "
        "the next VM starts.",
        queries=(Query("kvm_host_driver_info{@host}"),),
        hidden=("job",),
        empty="no host is scraped",
    ),
)
