# SPDX-License-Identifier: Apache-2.0
"""The table against the OpenSSL that is here."""

import ssl
import subprocess

import pytest

from kvmexporter.tables.cipher_suites import CIPHER_SUITES, CURVES, TLS13_SUITES


@pytest.mark.parametrize(("iana", "openssl"), CIPHER_SUITES.items())
def test_openssl_knows_each_suite_by_both_names(iana: str, openssl: str) -> None:
    """As `openssl ciphers -stdname` pairs them."""
    listed = subprocess.run(
        ["openssl", "ciphers", "-stdname", f"{openssl}:@SECLEVEL=0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    pairs = {line.split()[2]: line.split()[0] for line in listed.splitlines()}
    assert pairs[openssl] == iana


def test_the_suites_of_tls_1_3() -> None:
    """Are those of the library."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offered = {one["name"] for one in context.get_ciphers() if one["protocol"] == "TLSv1.3"}
    assert offered == TLS13_SUITES


@pytest.mark.parametrize("curve", CURVES.values())
def test_openssl_takes_each_curve(curve: str) -> None:
    """By that name."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(curve)
