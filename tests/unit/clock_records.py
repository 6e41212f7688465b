# SPDX-License-Identifier: Apache-2.0
"""Records of VMs' clocks as the BPF side writes them; the layout is read from the C itself."""

import struct

from kvmexporter.bpf.request import MAX_VMS
from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from tests.unit.vcpu_records import MAX_VCPUS, struct_layout


def clocks_layout() -> MapLayout:
    """The map of clocks, by process."""
    size, fields = struct_layout("vm_clock")
    return MapLayout(4, size, MAX_VMS, dict(fields))


def offsets_layout() -> MapLayout:
    """The map of TSC offsets, by process and vCPU."""
    size, fields = struct_layout("tsc_offset")
    return MapLayout(struct_layout("tsc_offset_key")[0], size, MAX_VCPUS, dict(fields))


def _value(layout: MapLayout, values: dict[str, int]) -> bytes:
    data = bytearray(layout.value_size)
    for name, value in values.items():
        offset, size, _ = layout.fields[name]
        data[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(data)


def write_clock(clocks: BpfMap, tgid: int, created_ns: int = 20_000_000_000, **values: int) -> None:
    """Write a VM's clock; master_clock and host_clock as in the C: 0, or 1 + the value."""
    value = _value(clocks.layout, {"created_ns": created_ns, **values})
    clocks.set(struct.pack("I", tgid), value)


def write_offset(
    offsets: BpfMap,
    tgid: int,
    vcpu_id: int,
    offset: int,
    writes: int = 1,
    created_ns: int = 20_000_000_000,
) -> None:
    """Write what is added to the TSC for a vCPU, modulo 2^64."""
    values = {"created_ns": created_ns, "offset": offset % (1 << 64), "writes": writes}
    offsets.set(struct.pack("II", tgid, vcpu_id), _value(offsets.layout, values))
