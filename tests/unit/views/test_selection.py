# SPDX-License-Identifier: Apache-2.0
"""A part of a snapshot."""

from dataclasses import replace

import pytest

from kvmexporter.errors import UsageError
from kvmexporter.views.selection import only, require
from tests.unit.snapshots import snapshot, vm
from tests.unit.views.samples import CRITICAL, HOSTILE, everything


def test_one_vm() -> None:
    """Nothing of the others, everything of the host."""
    kept = only(everything(), [HOSTILE])
    assert [one.name for one in kept.vms] == [HOSTILE]
    assert kept.findings == (CRITICAL,)
    assert kept.unknown_addresses == ()
    vms = {
        one.labels[family.metric.labels.index("vm")]
        for family in kept.families
        if "vm" in family.metric.labels
        for one in family.samples
    }
    assert vms == {HOSTILE}
    names = {family.metric.name for family in kept.families}
    assert "kvm_host_clock_synchronized" in names
    assert "kvm_vm_exits_total" not in names


def test_no_name_is_all() -> None:
    """Nothing is left out."""
    whole = everything()
    assert only(whole, []) is whole


def test_a_vm_that_does_not_run() -> None:
    """Is misuse, and the message says which do."""
    require(everything(), ["web"])
    with pytest.raises(UsageError, match=r"no VM is called 'wbe'; there are: web, <img"):
        require(everything(), ["web", "wbe"])


def test_a_vm_that_cannot_be_seen() -> None:
    """May run all the same."""
    with pytest.raises(UsageError, match=r"there are: none$"):
        require(snapshot(), ["web"])
    with pytest.raises(UsageError, match=r"as far as can be seen: .*CAP_SYS_PTRACE"):
        require(replace(snapshot(), sees_all_vms=False), ["web"])
    with pytest.raises(UsageError, match="there are: none"):
        require(snapshot(), ["web"])
    with pytest.raises(UsageError, match="a9 and 3 more"):
        require(snapshot(vms=[vm(f"a{i}") for i in range(13)]), ["web"])
