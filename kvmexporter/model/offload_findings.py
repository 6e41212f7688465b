# SPDX-License-Identifier: Apache-2.0
"""Offloads of the NICs that a VM's packets pass: tap, bridge, uplink."""

from collections.abc import Iterable, Mapping

from kvmexporter.model.findings import Finding, Place, Remedy, Rule, Severity
from kvmexporter.model.offloads import NicOffloads

# Those whose difference costs: a packet of 64 KiB that one side makes has to be cut up for the
# other in software.
_COMPARED = ("tso", "gso", "tx-checksum")

TAP_OFFLOADS_DIFFER = Rule(
    "tap-offloads-differ",
    "A VM's tap and its uplink differ in segmentation or checksum offload",
    (Severity.WARNING,),
    "what the one leaves to the other's hardware has to be done by the host's processors, packet "
    "by packet; where it was turned off on purpose, it has to be off on the whole path",
    (
        Remedy(Place.HOST, "ethtool -k TAP and ethtool -k UPLINK show both; "
               "ethtool -K NIC tso on gso on tx on"),
        Remedy(Place.QEMU, "where the guest is to keep from large packets: "
               "-device virtio-net-pci,host_tso4=off,host_tso6=off,guest_tso4=off,guest_tso6=off"),
        Remedy(Place.LIBVIRT, "the same: <driver><host tso4='off' tso6='off'/>"
               "<guest tso4='off' tso6='off'/></driver>"),
    ),
)  # fmt: skip

RULES = (TAP_OFFLOADS_DIFFER,)


def differing(
    vm_of: Mapping[str, str], uplinks: Mapping[str, str], nics: Mapping[str, NicOffloads]
) -> Iterable[Finding]:
    """Taps whose offloads are not those of their uplink.

    Args:
        vm_of: tap → its VM's name.
        uplinks: tap → the NIC that its packets leave the host by.
        nics: NIC → its offloads.
    """
    for tap, vm in vm_of.items():
        uplink = uplinks.get(tap, "")
        if tap not in nics or uplink not in nics:
            continue
        ours, theirs = nics[tap], nics[uplink]
        differ = [
            f"{name} is {_word(ours[name])} at {tap}, {_word(theirs[name])} at {uplink}"
            for name in _COMPARED
            if name in ours and name in theirs and ours[name] != theirs[name]
        ]
        if differ:
            yield TAP_OFFLOADS_DIFFER.finding(tap, "; ".join(differ), vm=vm)


def _word(enabled: bool) -> str:
    return "on" if enabled else "off"
