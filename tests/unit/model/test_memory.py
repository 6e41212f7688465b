# SPDX-License-Identifier: Apache-2.0
"""What procfs and sysfs say of memory."""

from kvmexporter.model.memory import (
    HostMemory,
    Ksm,
    host_memory,
    kib_fields,
    ksm,
    merged_bytes,
    process_kinds,
)

KIB = 1024
STATUS = """\
Name:\tqemu-system-x86
Umask:\t0022
VmRSS:\t     325 kB
RssAnon:\t     246 kB
RssFile:\t      78 kB
RssShmem:\t       1 kB
VmSwap:\t       7 kB
HugetlbPages:\t    2048 kB
Threads:\t4
"""
KSM_STAT = """\
ksm_rmap_items 11
ksm_zero_pages 3
ksm_merging_pages 13
ksm_process_profit -704
ksm_merge_any: no
"""
NUMBERS = {
    "run": 1, "pages_shared": 2, "pages_sharing": 3, "pages_unshared": 5, "pages_volatile": 7,
    "full_scans": 11, "general_profit": -640,
}  # fmt: skip


def test_a_process() -> None:
    """Each kind in bytes; those that an old kernel does not tell are left out."""
    expected = {"anonymous": 246, "file": 78, "shared": 1, "swapped": 7, "hugetlb": 2048}
    assert process_kinds(STATUS.encode()) == {
        kind: amount * KIB for kind, amount in expected.items()
    }
    assert process_kinds(b"VmRSS:\t 3 kB\nVmSwap:\t 5 kB\n") == {"swapped": 5 * KIB}
    assert process_kinds(b"") == {}


def test_the_host() -> None:
    """Total, available, swap."""
    text = "MemTotal: 16 kB\nMemFree: 3 kB\nMemAvailable: 5 kB\nSwapTotal: 7 kB\n"
    assert host_memory(text) == HostMemory(16 * KIB, 5 * KIB, 7 * KIB)
    assert host_memory("") == HostMemory(0, 0, 0)


def test_only_amounts() -> None:
    """Lines without a unit, with a sign or of other shapes say nothing."""
    assert kib_fields("a: 1 kB\nb: 2\nc: -3 kB\nd: x kB\ne\n: kB\nf: 4 kB 5\n") == {"a": KIB}


def test_merged() -> None:
    """Pages in bytes, where the kernel tells."""
    assert merged_bytes(KSM_STAT, 4096) == 13 * 4096
    assert merged_bytes("ksm_rmap_items 11\n", 4096) is None
    assert merged_bytes("ksm_merging_pages many\n", 4096) is None


def test_ksm() -> None:
    """Amounts in bytes; the profit is bytes already, and may be a loss."""
    found = ksm(NUMBERS, 4096)
    assert found == Ksm(1, 2 * 4096, 3 * 4096, 5 * 4096, 7 * 4096, -640, 11)
    assert found.saved == -640
    assert ksm({}, 4096) is None


def test_ksm_of_older_kernels() -> None:
    """Without the profit, what was merged is what is saved."""
    numbers = {name: value for name, value in NUMBERS.items() if name != "general_profit"}
    found = ksm(numbers, 4096)
    assert found
    assert found.saved == 3 * 4096
