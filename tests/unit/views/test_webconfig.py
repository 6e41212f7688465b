# SPDX-License-Identifier: Apache-2.0
"""Web configurations, good and bad."""

import re
from pathlib import Path

import pytest

from kvmexporter.errors import UsageError
from kvmexporter.views.webconfig import RateLimit, load

HASH = "$2y$10$" + "a" * 53
WHOLE = f"""
tls_server_config:
  cert_file: server.pem
  key_file: keys/server.key
  client_ca_file: {{ca}}
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus.example]
  min_version: TLS13
  max_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [X25519]
http_server_config:
  http2: true
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: ""
basic_auth_users:
  prometheus: {HASH}
rate_limit:
  interval: 1m30s
  burst: 5
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "web.yml"
    path.write_text(text)
    return path


def test_all_of_it(tmp_path: Path) -> None:
    """Every key is followed; relative paths begin at the file."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "server.pem").write_text("certificate")
    (tmp_path / "keys/server.key").write_text("key")
    ca = tmp_path / "ca.pem"
    ca.write_text("authority")
    path = written(tmp_path, WHOLE.format(ca=ca))
    config = load(path)
    tls = config.tls
    assert tls
    assert (tls.certificate, tls.key, tls.client_ca) == ("certificate", "key", "authority")
    assert tls.client_auth == "RequireAndVerifyClientCert"
    assert tls.allowed_sans == ("prometheus.example",)
    assert tls.versions == ("TLS13", "TLS13")
    assert tls.cipher_suites == ("TLS_AES_128_GCM_SHA256",)
    assert not tls.prefer_server
    assert tls.curves == ("X25519",)
    assert config.headers == {"X-Frame-Options": "deny"}
    assert config.users == {"prometheus": HASH}
    assert config.rate_limit == RateLimit(90.0, 5)
    assert tuple(config.files) == (path, tmp_path / "server.pem", tmp_path / "keys/server.key", ca)
    assert HASH not in repr(config)


def test_inline_certificates(tmp_path: Path) -> None:
    """Need no file."""
    config = load(written(tmp_path, "tls_server_config: {cert: a, key: b, client_ca: c}"))
    assert config.tls
    assert (config.tls.certificate, config.tls.key, config.tls.client_ca) == ("a", "b", "c")


@pytest.mark.parametrize("text", ["", "{}", "tls_server_config:\n", "basic_auth_users: {}"])
def test_nothing(text: str, tmp_path: Path) -> None:
    """Is plain HTTP for everybody."""
    config = load(written(tmp_path, text))
    assert (config.tls, dict(config.users), dict(config.headers)) == (None, {}, {})
    assert config.rate_limit is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tls_server_conf: {}", "unknown key tls_server_conf; did you mean tls_server_config?"),
        (
            "tls_server_config: {certfile: x}",
            "unknown key tls_server_config.certfile; did you mean cert_file?",
        ),
        (
            "http_server_config: {headers: {X-Frame-Option: deny}}",
            "unknown key http_server_config.headers.X-Frame-Option; did you mean X-Frame-Options?",
        ),
        ("- a", "it is not a mapping"),
        ("tls_server_config: [1]", "tls_server_config is not a mapping"),
        ("tls_server_config: {key: b}", "tls_server_config.cert_file is missing"),
        ("tls_server_config: {cert: a, cert_file: b}", "exclude each other"),
        ("tls_server_config: {cert_file: /nowhere}", "/nowhere: No such file or directory"),
        ("tls_server_config: {cert_file: /}", "tls_server_config.cert_file: /: Is a directory"),
        ("tls_server_config: {cert_file: 7}", "tls_server_config.cert_file is not text"),
        (
            "tls_server_config: {cert: a, key: b, cipher_suites: x}",
            "tls_server_config.cipher_suites is not a list",
        ),
        (
            "tls_server_config: {cert: a, key: b, cipher_suites: [1]}",
            "tls_server_config.cipher_suites is not a list of texts",
        ),
        ("http_server_config: {http2: 1}", "http_server_config.http2 is not true or false"),
        ("http_server_config: {headers: {X-Frame-Options: no}}", "is not text"),
        ("http_server_config: {headers: {X-Frame-Options: allow}}", "neither deny nor sameorigin"),
        ("http_server_config: {headers: {X-Content-Type-Options: x}}", "is not nosniff"),
        (
            'http_server_config: {headers: {Content-Security-Policy: "a\\r\\nSet-Cookie: b"}}',
            "has what no header can have",
        ),
        ("basic_auth_users: [a]", "basic_auth_users is not a mapping"),
        ("basic_auth_users: {a: secret}", "basic_auth_users.a is not a bcrypt hash"),
        ("basic_auth_users: {a:b: " + HASH + "}", "cannot be a user's name"),
        (
            "basic_auth_users: {a: $2y$31$" + "a" * 53 + "}",
            "basic_auth_users.a: a cost of 31 is not 4 to 16",
        ),
        ("rate_limit: {interval: 5}", "'5' is not a duration"),
        ("rate_limit: {interval: 1y}", "'1y' is not a duration"),
        ("rate_limit: {interval: 1s, burst: 0}", "burst 0 lets nobody in"),
        ("rate_limit: {interval: 1s, burst: true}", "rate_limit.burst is not a number"),
        ("a: 1\nb: [", "line 2: "),
        ("basic_auth_users: {}\nbasic_auth_users: {}", "line 1: a key is there twice"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
    ],
)
def test_what_is_wrong(text: str, complaint: str, tmp_path: Path) -> None:
    """One line that names the file and what is wrong in it, and never shows a password."""
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=re.escape(complaint)) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "secret" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    """Is named."""
    path = tmp_path / "web.yml"
    with pytest.raises(UsageError, match=re.escape(f"{path}: No such file or directory")):
        load(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * (1 << 20) + b"##"])
def test_what_is_no_configuration(content: bytes, tmp_path: Path) -> None:
    """Is refused before anything reads it."""
    path = tmp_path / "web.yml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"not text|more than"):
        load(path)
