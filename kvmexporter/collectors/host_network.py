# SPDX-License-Identifier: Apache-2.0
"""Offloads of the host's NICs that VMs' packets pass: taps, their bridges, uplinks.

Asks the kernel by ioctl, one a NIC, and looks up in sysfs how they hang together. However many
there are, a sample asks for a few offloads and looks up a part of the rest: those whose answers are
oldest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model.devices import Virtio
from kvmexporter.model.findings import Finding
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.offload_findings import differing
from kvmexporter.model.offloads import NicOffloads, offloads
from kvmexporter.model.posture import Device, Make
from kvmexporter.needs import CAPABILITIES, PID_NAMESPACE
from kvmexporter.sources.ethtool import active_features

OFFLOAD = Metric(
    "kvm_host_nic_offload_enabled",
    Kind.GAUGE,
    "Whether a NIC of the host takes large packets and leaves checksums to others; of the taps "
    "of VMs, of their bridges, and of the uplinks of those.",
    ("nic", "role", "offload"),
    "SIOCETHTOOL",
)

MAX_NICS = 1024
_MAX_ASKED = 128


@dataclass(frozen=True, slots=True)
class HostNetworkSample:
    """The NICs that matter.

    Attributes:
        roles: NIC → tap, bridge or uplink.
        vm_of: tap → the name of its VM.
        uplinks: tap → its uplink.
        nics: NIC → its offloads.
        idle: taps whose offloads say nothing: of NICs that no driver has set up yet, and of
            emulated ones, which have none.
    """

    roles: Mapping[str, str]
    vm_of: Mapping[str, str]
    uplinks: Mapping[str, str]
    nics: Mapping[str, NicOffloads]
    idle: frozenset[str] = frozenset()


class HostNetworkCollector(Collector[HostNetworkSample]):
    """Offloads on the way of VMs' packets."""

    name = "host_network"
    summary = "offloads of VMs' tap devices, their bridges and uplinks"
    metrics = (OFFLOAD,)
    needs = (PID_NAMESPACE,)
    wants = (CAPABILITIES,)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._known: dict[str, NicOffloads] = {}

    def sample(self, cycle: Cycle) -> HostNetworkSample:
        """Find the NICs, and ask for those whose answers are oldest.

        Raises:
            Unavailable: no VM has a tap device, or the kernel cannot be asked.
        """
        vm_of, idle = self._taps(cycle)
        if not vm_of:
            if self.sources.system.taps.hides_some:
                raise Unavailable(
                    "no VM has a tap device that can be seen",
                    "start as root or with CAP_SYS_PTRACE if VMs have taps",
                )
            raise Unavailable(
                "no VM has a tap device", "nothing is to be done where none is meant to have one"
            )
        roles = dict.fromkeys(vm_of, "tap")
        uplinks = {}
        _, nics = cycle.nics()
        for tap in vm_of:
            if bridge := nics.bridge(tap):
                roles.setdefault(bridge, "bridge")
            if uplink := nics.uplink(tap):
                uplinks[tap] = uplink
                roles.setdefault(uplink, "uplink")
        wanted = list(roles)[:MAX_NICS]
        # Those never asked first, then the one asked longest ago: the dictionary's order.
        order = [nic for nic in wanted if nic not in self._known]
        order += [nic for nic in self._known if nic in roles]
        asked = order[:_MAX_ASKED]
        answers = active_features(asked)
        for nic in asked:
            self._known.pop(nic, None)
            # One that does not answer goes to the end as well, or it would keep others waiting.
            self._known[nic] = offloads(answers[nic]) if nic in answers else {}
        self._known = {nic: known for nic, known in self._known.items() if nic in roles}
        answered = {nic: known for nic, known in self._known.items() if known}
        return HostNetworkSample(roles, vm_of, uplinks, answered, frozenset(idle))

    def families(self, sample: HostNetworkSample) -> Iterable[Family]:
        """A series for each offload of each NIC."""
        family = Family(OFFLOAD)
        for nic, role in sample.roles.items():
            for offload, enabled in sample.nics.get(nic, {}).items():
                family.add(int(enabled), nic, role, offload)
        return (family,)

    def findings(self, sample: HostNetworkSample) -> Iterable[Finding]:
        """Taps that are set up otherwise than their uplinks."""
        judged = {tap: vm for tap, vm in sample.vm_of.items() if tap not in sample.idle}
        return differing(judged, sample.uplinks, sample.nics)

    def _taps(self, cycle: Cycle) -> tuple[dict[str, str], set[str]]:
        """Tap → the name of its VM: those it holds, and those it says it has; the idle ones."""
        taps, nics = cycle.nics()
        found: dict[str, str] = {}
        idle: set[str] = set()
        for vm in cycle.vms:
            held = taps.of(vm.id)
            for tap in held.values():
                found.setdefault(tap, vm.name)
            known = cycle.devices(vm)
            for device in known.posture.devices:
                if not device.netdev:
                    continue
                netdev = device.netdev[1]
                names = [tap for tap in netdev.taps if nics.is_tap(tap)]
                names += [held[fd] for fd in netdev.fds if fd in held]
                for tap in names:
                    found.setdefault(tap, vm.name)
                    if not _is_driven(device, known.virtio.get(device.name)):
                        idle.add(tap)
        return found, idle


def _is_driven(device: Device, state: Virtio | None) -> bool:
    """Whether a guest's driver has said what the NIC is to offload, as far as that is known."""
    if device.make is not Make.PARAVIRTUAL:
        return False
    return state is None or bool(state.features) or state.vhost
