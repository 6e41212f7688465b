# SPDX-License-Identifier: Apache-2.0
"""Numbers of things."""

import pytest

from kvmexporter.model.amounts import amount


@pytest.mark.parametrize(
    ("count", "noun", "verb", "words"),
    [
        (0, "VM", "", "0 VMs"),
        (1, "VM", "", "1 VM"),
        (2.0, "VM", "", "2 VMs"),
        (1009, "setting", "", "1,009 settings"),
        (1, "VM", "run", "1 VM runs"),
        (3, "VM", "run", "3 VMs run"),
    ],
)
def test_amount(count: float, noun: str, verb: str, words: str) -> None:
    """One is told from several, by what it does as well."""
    assert amount(count, noun, verb) == words
