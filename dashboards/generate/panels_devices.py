# SPDX-License-Identifier: Apache-2.0
"""Panels on what devices are made of, on hosts and inside guests."""

from dashboards.generate.panel import Column, Panel, Query

_NO_GUEST = "no exporter runs inside a guest here"

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
