# SPDX-License-Identifier: Apache-2.0
"""Contexts from what a configuration says; what they serve is in test_http_tls.py."""

import re
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.errors import UsageError
from kvmexporter.views.tls import Tls, context, is_allowed
from tests.unit.views.certificates import Authority, encrypted


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pki")


@pytest.fixture(scope="module")
def authority(directory: Path) -> Authority:
    return Authority(directory)


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Tls:
    certificate, key = authority.sign("server")
    return Tls(certificate.read_text(), key.read_text())


def test_nothing_below_tls_1_2(tls: Tls) -> None:
    """By default, and TLS 1.3 if asked for."""
    assert context(tls).minimum_version is ssl.TLSVersion.TLSv1_2
    only = context(replace(tls, versions=("TLS13", "TLS13")))
    assert only.minimum_version is ssl.TLSVersion.TLSv1_3


def test_the_suites_asked_for(tls: Tls) -> None:
    """And those of TLS 1.3, which cannot be chosen."""
    suites = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256")
    made = context(replace(tls, cipher_suites=suites))
    older = [one["name"] for one in made.get_ciphers() if one["protocol"] != "TLSv1.3"]
    assert older == ["ECDHE-ECDSA-AES128-GCM-SHA256"]


@pytest.mark.parametrize(
    ("client_auth", "mode"),
    [
        ("NoClientCert", ssl.CERT_NONE),
        ("VerifyClientCertIfGiven", ssl.CERT_OPTIONAL),
        ("RequireAndVerifyClientCert", ssl.CERT_REQUIRED),
    ],
)
def test_client_certificates(
    tls: Tls, authority: Authority, client_auth: str, mode: ssl.VerifyMode
) -> None:
    """None, verified if given, or required."""
    ca = "" if mode is ssl.CERT_NONE else authority.certificate.read_text()
    made = context(replace(tls, client_auth=client_auth, client_ca=ca))
    assert made.verify_mode is mode


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"key": "no key"}, "certificate and key cannot be used"),
        ({"certificate": ""}, "certificate and key cannot be used"),
        ({"versions": ("TLS13", "TLS12")}, "min_version TLS13 is above max_version TLS12"),
        ({"versions": ("TLS10", "TLS12")}, "TLS10 is broken and not served"),
        ({"versions": ("TLS14", "TLS13")}, "unknown version 'TLS14'; did you mean TLS1"),
        ({"cipher_suites": ("TLS_RC4",)}, "unknown cipher suite 'TLS_RC4'"),
        ({"curves": ("CurveP255",)}, "unknown curve 'CurveP255'; did you mean CurveP256?"),
        ({"curves": ("CurveP384", "CurveP256")}, "only one curve"),
        ({"curves": ("X25519",)}, "X25519 is preferred already"),
        ({"client_auth": "RequireAndVerifyClientCert"}, "takes a client_ca_file"),
        ({"client_auth": "RequireAnyClientCert"}, "does not verify what it asks for"),
        ({"client_auth": "Require"}, "unknown client_auth_type 'Require'"),
        ({"client_ca": "x"}, "client_ca_file without client_auth_type"),
        ({"client_ca": "x", "client_auth": "VerifyClientCertIfGiven"}, "client_ca_file cannot be"),
        ({"allowed_sans": ("a",)}, "client_allowed_sans takes client_auth_type"),
    ],
)
def test_what_cannot_be_served(tls: Tls, changes: dict[str, object], complaint: str) -> None:
    """One line that names it, never something else instead."""
    with pytest.raises(UsageError, match=re.escape(complaint)):
        context(replace(tls, **changes))  # type: ignore[arg-type] # the table's values fit


def test_a_key_of_another_certificate(tls: Tls, authority: Authority) -> None:
    """Is refused here, not when the first client comes."""
    _, other = authority.sign("other")
    with pytest.raises(UsageError, match="key values mismatch"):
        context(replace(tls, key=other.read_text()))


def test_an_encrypted_key(tls: Tls, authority: Authority) -> None:
    """Nobody is asked for its password."""
    _, key = authority.sign("locked")
    with pytest.raises(UsageError, match="the key is encrypted"):
        context(replace(tls, key=encrypted(key).read_text()))


def test_a_key_is_not_shown(tls: Tls) -> None:
    """Whatever logs the configuration."""
    assert "PRIVATE" not in repr(tls)


@pytest.mark.parametrize(
    ("allowed", "is_in"),
    [
        ((), True),
        (("prometheus.example",), True),
        (("other.example", "10.0.0.1"), True),
        (("fe80::0:1",), True),
        (("prometheus",), False),
        (("CN=prometheus.example",), False),
    ],
)
def test_alternative_names(allowed: tuple[str, ...], is_in: bool) -> None:
    """Exactly one of them, in any spelling of an address."""
    peer = {
        "subjectAltName": (
            ("DNS", "prometheus.example"),
            ("IP Address", "10.0.0.1"),
            ("IP Address", "FE80:0:0:0:0:0:0:1"),
        )
    }
    assert is_allowed(peer, allowed) is is_in
