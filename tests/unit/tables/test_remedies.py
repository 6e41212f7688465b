# SPDX-License-Identifier: Apache-2.0
"""What mends a need."""

import pytest

from kvmexporter.model.needs import PLATFORMS
from kvmexporter.tables.remedies import REMEDIES, remedies


@pytest.mark.parametrize("need", sorted(REMEDIES))
def test_every_platform_has_one(need: str) -> None:
    """One line that says what to do, no sentence's end."""
    found = remedies(need, PLATFORMS)
    assert tuple(found) == PLATFORMS
    for text in found.values():
        assert text
        assert "\n" not in text
        assert "  " not in text
        assert not text.endswith(".")


def test_packages_are_the_distribution_s() -> None:
    """Never the one on PyPI that is called bcc and is another thing."""
    found = remedies("bcc", PLATFORMS)
    assert found["debian"] == "apt-get install python3-bpfcc"
    assert found["fedora"] == "dnf install python3-bcc"
    assert not [text for text in found.values() if "pip" in text]


def test_an_unknown_need() -> None:
    """Is a mistake of ours."""
    with pytest.raises(KeyError):
        remedies("luck", PLATFORMS)


def test_no_platform_that_nobody_knows() -> None:
    """In the table."""
    for known in REMEDIES.values():
        assert set(known) <= {"", *PLATFORMS}
