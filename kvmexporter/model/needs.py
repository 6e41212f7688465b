# SPDX-License-Identifier: Apache-2.0
"""What a collector needs of a system, and how it stands with that: the words of `doctor`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PLATFORMS: Final = ("debian", "ubuntu", "fedora", "proxmox", "container")


class Standing(StrEnum):
    """How it stands, best first."""

    OK = "ok"
    DEGRADED = "degraded"
    MISSING = "missing"


_STANDINGS = list(Standing)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it stands with a need, and what was seen; a remedy where the check knows the best."""

    standing: Standing
    seen: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line: a need or a collector.

    Attributes:
        name: of the need or the collector.
        verdict: how it stands.
        remedies: platform → what to do there; empty if it is ok.
        concerned: who needs it; of a collector: what it needs and has not.
    """

    name: str
    verdict: Verdict
    remedies: Mapping[str, str]
    concerned: tuple[str, ...]


def worst(standings: Iterable[Standing]) -> Standing:
    """The worst of them; ok if there is none."""
    return max(standings, key=_STANDINGS.index, default=Standing.OK)


def at_most_degraded(standing: Standing) -> Standing:
    """How a collector stands that could do without it."""
    return Standing.DEGRADED if standing is Standing.MISSING else standing


def platform(os_release: str, has_pve: bool, is_container: bool) -> str:
    """Which remedies fit here.

    Args:
        os_release: the content of /etc/os-release.
        has_pve: whether Proxmox VE's configuration is there.
        is_container: whether this runs in a container.
    """
    if is_container:
        return "container"
    if has_pve:
        return "proxmox"
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    words = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    for name, family in (
        ("ubuntu", {"ubuntu"}),
        ("fedora", {"fedora", "rhel", "centos"}),
    ):
        if family & set(words):
            return name
    return "debian"
