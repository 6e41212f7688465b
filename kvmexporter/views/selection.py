# SPDX-License-Identifier: Apache-2.0
"""A part of a snapshot: some VMs, and everything that is not about a VM."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from kvmexporter.errors import UsageError
from kvmexporter.model.metrics import Family
from kvmexporter.model.vm import SEEING
from kvmexporter.sampler import Snapshot

_MOST_NAMED = 10


def require(snapshot: Snapshot, names: Iterable[str]) -> None:
    """See that VMs of these names run.

    Raises:
        UsageError: one does not; the message says which do.
    """
    running = [vm.name for vm in snapshot.vms]
    for name in names:
        if name not in running:
            more = len(running) - _MOST_NAMED
            known = ", ".join(running[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            if not known and not snapshot.sees_all_vms:
                raise UsageError(f"no VM is called {name!r} as far as can be seen: {SEEING}")
            raise UsageError(f"no VM is called {name!r}; there are: {known or 'none'}")


def only(snapshot: Snapshot, names: Collection[str]) -> Snapshot:
    """The snapshot without other VMs; all of it if no name is given."""
    if not names:
        return snapshot
    return replace(
        snapshot,
        vms=tuple(vm for vm in snapshot.vms if vm.name in names),
        families=tuple(kept for family in snapshot.families if len(kept := _of(family, names))),
        findings=tuple(one for one in snapshot.findings if not one.vm or one.vm in names),
        unknown_addresses=tuple(one for one in snapshot.unknown_addresses if one.vm in names),
    )


def _of(family: Family, names: Collection[str]) -> Family:
    if "vm" not in family.metric.labels:
        return family
    place = family.metric.labels.index("vm")
    kept = Family(family.metric)
    # A finding of the host has no VM's name there.
    for one in family.samples:
        if one.labels[place] in ("", *names):
            kept.add(one.value, *one.labels)
    return kept
