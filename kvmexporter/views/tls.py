# SPDX-License-Identifier: Apache-2.0
"""TLS as a web configuration describes it, as a context that serves it.

Certificates and keys are handed to OpenSSL from memory, as they were read, so that what
was checked is what is used.
"""

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from kvmexporter.errors import UsageError
from kvmexporter.model.suggestion import did_you_mean
from kvmexporter.tables.cipher_suites import CIPHER_SUITES, CURVES, TLS13_SUITES

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert")
_SAN_KINDS = ("DNS", "IP Address", "email", "URI")


@dataclass(frozen=True, slots=True)
class Tls:
    """What a `tls_server_config` says, its files read.

    Attributes:
        certificate: PEM, the server's and those that sign it.
        key: PEM.
        client_ca: PEM, whose client certificates are good; "" for none.
        client_auth: name of `CLIENT_AUTH`.
        allowed_sans: alternative names of which a client needs one; any if empty.
        versions: the lowest and the highest, names of `VERSIONS`.
        cipher_suites: IANA's names, the library's choice if empty.
        prefer_server: whether the server's order of suites counts.
        curves: Go's names, the library's choice if empty.
    """

    certificate: str
    key: str = field(repr=False)
    client_ca: str = ""
    client_auth: str = "NoClientCert"
    allowed_sans: tuple[str, ...] = ()
    versions: tuple[str, str] = ("TLS12", "TLS13")
    cipher_suites: tuple[str, ...] = ()
    prefer_server: bool = True
    curves: tuple[str, ...] = ()


def context(tls: Tls) -> ssl.SSLContext:
    """What serves it.

    Raises:
        UsageError: it cannot be served, and why.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if not tls.prefer_server:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    lowest, highest = (_known(name, VERSIONS, "version") for name in tls.versions)
    if lowest > highest:
        raise UsageError(f"min_version {tls.versions[0]} is above max_version {tls.versions[1]}")
    made.minimum_version, made.maximum_version = lowest, highest
    if tls.cipher_suites:
        made.set_ciphers(_ciphers(tls.cipher_suites))
    if tls.curves:
        made.set_ecdh_curve(_curve(tls.curves))
    _load_certificate(made, tls)
    _trust_clients(made, tls)
    return made


def _known(name: str, known: Mapping[str, Any], what: str) -> Any:
    if name in ("TLS10", "TLS11", "SSL30"):
        raise UsageError(f"{name} is broken and not served: TLS12 is the lowest")
    if name in _UNVERIFIED:
        raise UsageError(
            f"client_auth_type {name} does not verify what it asks for: "
            "write RequireAndVerifyClientCert or VerifyClientCertIfGiven"
        )
    if name not in known:
        raise UsageError(f"unknown {what} {name!r}{did_you_mean(name, known)}")
    return known[name]


def _ciphers(suites: Sequence[str]) -> str:
    chosen = [
        _known(name, CIPHER_SUITES, "cipher suite") for name in suites if name not in TLS13_SUITES
    ]
    return ":".join(chosen) or "DEFAULT"


def _curve(curves: Sequence[str]) -> str:
    if "X25519" in curves:
        raise UsageError("curve_preferences: X25519 is preferred already: leave the list out")
    found = [_known(name, CURVES, "curve") for name in curves]
    if len(found) > 1:
        raise UsageError("curve_preferences: only one curve can be asked for here, or none")
    return str(found[0])


def _load_certificate(made: ssl.SSLContext, tls: Tls) -> None:
    def no_password() -> str:
        raise UsageError("the key is encrypted: give it without a password")

    with _InMemory(tls.certificate) as certificate, _InMemory(tls.key) as key:
        try:
            made.load_cert_chain(certificate, key, no_password)
        except ssl.SSLError as err:
            raise UsageError(f"certificate and key cannot be used: {_reason(err)}") from err


def _trust_clients(made: ssl.SSLContext, tls: Tls) -> None:
    made.verify_mode = _known(tls.client_auth, CLIENT_AUTH, "client_auth_type")
    if made.verify_mode is ssl.CERT_NONE:
        if tls.client_ca:
            raise UsageError(
                "client_ca_file without client_auth_type verifies nobody: "
                "add client_auth_type: RequireAndVerifyClientCert"
            )
    elif not tls.client_ca:
        raise UsageError(f"client_auth_type {tls.client_auth} takes a client_ca_file")
    if tls.allowed_sans and made.verify_mode is not ssl.CERT_REQUIRED:
        raise UsageError("client_allowed_sans takes client_auth_type: RequireAndVerifyClientCert")
    if tls.client_ca:
        try:
            made.load_verify_locations(cadata=tls.client_ca)
        except ssl.SSLError as err:
            raise UsageError(f"client_ca_file cannot be used: {_reason(err)}") from err


def _reason(err: ssl.SSLError) -> str:
    return (err.reason or "it is not PEM").lower().replace("_", " ")


class _InMemory:
    """A file that has a path and no place."""

    def __init__(self, text: str) -> None:
        self._file = os.memfd_create("pem", os.MFD_CLOEXEC)
        os.write(self._file, text.encode())

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._file}"

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def is_allowed(peer: Mapping[str, Any], allowed_sans: Sequence[str]) -> bool:
    """Whether a client's certificate has one of the alternative names.

    Args:
        peer: the verified certificate, as `SSLSocket.getpeercert` gives it.
        allowed_sans: exact DNS names, IP addresses, e-mail addresses or URIs; empty allows all.
    """
    if not allowed_sans:
        return True
    names = {_normal(value) for kind, value in peer.get("subjectAltName", ()) if kind in _SAN_KINDS}
    return any(_normal(one) in names for one in allowed_sans)


def _normal(name: str) -> str:
    try:
        return str(ip_address(name))
    except ValueError:
        return name
