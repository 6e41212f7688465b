# SPDX-License-Identifier: Apache-2.0
"""What somebody may have meant."""

import pytest

from kvmexporter.model.suggestion import did_you_mean

KNOWN = ("cert_file", "key_file", "X-Frame-Options")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("cert_fil", "cert_file"),
        ("KEY_FILE", "key_file"),
        ("x-frame-option", "X-Frame-Options"),
        ("keyfile", "key_file"),
    ],
)
def test_what_is_close(written: str, meant: str) -> None:
    """Is named, spelt as it should be."""
    assert did_you_mean(written, KNOWN) == f"; did you mean {meant}?"


def test_what_is_not() -> None:
    """Lists what there is."""
    assert did_you_mean("zzz", map(str, range(17))) == ""
    assert did_you_mean("zzz", KNOWN) == "; there are X-Frame-Options, cert_file, key_file"
