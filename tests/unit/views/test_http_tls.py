# SPDX-License-Identifier: Apache-2.0
"""TLS, client certificates, passwords and their rotation, with real curl."""

import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import bcrypt
import pytest

from tests.unit.procfs_tree import ProcfsTree
from tests.unit.views.certificates import Authority
from tests.unit.views.pace import Pace

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 15.0
PASSWORD = "open sesame"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
REFUSED_HANDSHAKE = {35, 52, 55, 56}  # curl's exit codes for what TLS 1.2 and 1.3 make of it


class Served:
    """A server that follows a web configuration."""

    def __init__(self, directory: Path, config: str) -> None:
        self.directory = directory
        self.authority = Authority(directory)
        self.authority.sign("server")
        self.path = directory / "web.yml"
        self.path.write_text(config)
        self.log = (directory / "log").open("w+")
        (directory / "proc").mkdir()
        tree = ProcfsTree(directory / "proc")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.views.endpoint", str(tree.root), "/metrics",
             f"--web-config={self.path}"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        self.port = 0

    def curl(
        self, *arguments: str, scheme: str = "https", path: str = "/metrics"
    ) -> tuple[int, int]:
        """Exit code and status of one request."""
        done = subprocess.run(
            ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10",
             "--cacert", self.authority.certificate, *arguments,
             f"{scheme}://localhost:{self.port}{path}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, int(done.stdout or 0)

    def said(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text()

    def wait(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self.said():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def serial(self) -> str:
        """Of the certificate that is served now."""
        shown = subprocess.run(
            f"openssl s_client -connect localhost:{self.port} </dev/null 2>/dev/null"
            " | openssl x509 -noout -serial",
            shell=True, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return shown.stdout.strip()


@contextmanager
def served(directory: Path, config: str) -> Iterator[Served]:
    one = Served(directory, config)
    try:
        assert one.process.stdout
        one.port = int(one.process.stdout.readline() or 0)
        assert one.port, one.said()
        yield one
        assert "Traceback" not in one.said()
    finally:
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(WAIT_SECONDS)
        one.log.close()
        if one.process.stdout:
            one.process.stdout.close()


TLS = "tls_server_config: {cert_file: server.pem, key_file: server.key"
MUTUAL = TLS + ", client_ca_file: authority.pem, client_auth_type: RequireAndVerifyClientCert"


def test_tls(tmp_path: Path) -> None:
    """1.2 and 1.3 and nothing older; plain HTTP is no answer."""
    with served(tmp_path, TLS + "}\nhttp_server_config: {headers: {X-Frame-Options: deny}}") as one:
        assert one.curl() == (0, 200)
        assert one.curl("--tls-max", "1.2") == (0, 200)
        assert one.curl("--tlsv1.3") == (0, 200)
        older = one.curl("--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0")
        assert older[0] in REFUSED_HANDSHAKE
        assert one.curl(scheme="http")[0] in REFUSED_HANDSHAKE
        assert one.curl() == (0, 200)


def test_client_certificates(tmp_path: Path) -> None:
    """Of our authority, and with the right name; none other, and none at all."""
    config = MUTUAL + ", client_allowed_sans: [prometheus.example]}"
    with served(tmp_path, config) as one:
        good = one.authority.sign("good", "DNS:prometheus.example")
        misnamed = one.authority.sign("misnamed", "DNS:other.example")
        stranger = Authority(tmp_path, "stranger").sign("impostor", "DNS:prometheus.example")

        def ask(pair: tuple[Path, Path]) -> tuple[int, int]:
            return one.curl("--cert", str(pair[0]), "--key", str(pair[1]))

        assert ask(good) == (0, 200)
        assert ask(misnamed) == (0, 403)
        assert ask(stranger)[0] in REFUSED_HANDSHAKE
        assert one.curl()[0] in REFUSED_HANDSHAKE


def test_passwords(tmp_path: Path) -> None:
    """The right one, for every path; whoever is refused learns how to ask and nothing else."""
    with served(tmp_path, f"{TLS}}}\nbasic_auth_users: {{prometheus: {HASH}}}") as one:
        for path in ("/metrics", "/", "/-/healthy", "/-/ready"):
            assert one.curl("-u", f"prometheus:{PASSWORD}", path=path) == (0, 200)
        for path in ("/metrics", "/", "/-/healthy", "/nowhere"):
            assert one.curl(path=path) == (0, 401)
            assert one.curl("-u", "prometheus:wrong", path=path) == (0, 401)
            assert one.curl("-u", f"nobody:{PASSWORD}", path=path) == (0, 401)
        shown = subprocess.run(
            ["curl", "-sik", f"https://localhost:{one.port}/metrics"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert 'Www-Authenticate: Basic realm="kvmexporter"' in shown
        assert shown.endswith("\n\n401 Unauthorized\n")


def test_headers(tmp_path: Path) -> None:
    """Those of the configuration, in every answer; a page's own policy stays."""
    headers = "{X-Frame-Options: deny, Content-Security-Policy: sandbox}"
    with served(tmp_path, f"http_server_config: {{headers: {headers}}}") as one:
        for path in ("/metrics", "/", "/nowhere"):
            shown = subprocess.run(
                ["curl", "-si", f"http://localhost:{one.port}{path}"],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            assert "X-Frame-Options: deny" in shown
            assert ("Content-Security-Policy: sandbox" in shown) == (path != "/")


def test_a_limit_of_requests(tmp_path: Path) -> None:
    """As many as there are tokens."""
    with served(tmp_path, "rate_limit: {interval: 1h, burst: 3}") as one:
        answers = [one.curl(scheme="http") for _ in range(5)]
        assert answers == [(0, 200)] * 3 + [(0, 429)] * 2


def test_rotation_under_load(tmp_path: Path) -> None:
    """Certificates change three times and not one of the requests meanwhile fails."""
    with served(tmp_path, f"{TLS}}}\nbasic_auth_users: {{prometheus: {HASH}}}") as one:
        ended = threading.Event()
        answers: list[tuple[int, int]] = []

        def ask() -> None:
            while not ended.is_set():
                answers.append(one.curl("-u", f"prometheus:{PASSWORD}"))

        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        serials = [one.serial()]
        for number in range(3):
            certificate, key = one.authority.sign(f"next{number}")
            key.replace(tmp_path / "server.key")
            time.sleep(0.1)  # between the two, they do not fit
            certificate.replace(tmp_path / "server.pem")
            deadline = time.monotonic() + WAIT_SECONDS
            while one.serial() == serials[-1]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            serials.append(one.serial())
        ended.set()
        for asker in askers:
            asker.join()
        assert len(set(serials)) == 4
        assert len(answers) > 20
        assert set(answers) == {(0, 200)}


def test_a_bad_configuration_is_kept_out(tmp_path: Path) -> None:
    """With one line in the log; the one before serves on, and a good one is taken."""
    users = f"\nbasic_auth_users: {{prometheus: {HASH}}}"
    with served(tmp_path, TLS + "}" + users) as one:
        one.path.write_text("tls_server_confg: {}")
        one.wait("kept out")
        time.sleep(1.2)
        assert one.said().count("kept out") == 1
        assert one.curl("-u", f"prometheus:{PASSWORD}") == (0, 200)
        assert one.curl() == (0, 401)
        one.path.write_text(TLS + "}")
        deadline = time.monotonic() + WAIT_SECONDS
        while one.curl() != (0, 200):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_tls_may_come_and_go(tmp_path: Path) -> None:
    """On SIGHUP, at once."""
    with served(tmp_path, "") as one:
        assert one.curl(scheme="http") == (0, 200)
        one.path.write_text(TLS + "}")
        one.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + WAIT_SECONDS
        while one.curl() != (0, 200):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_guesser_does_not_delay_a_scrape(tmp_path: Path) -> None:
    """Who guesses as fast as it can is put off; who knows the password waits for nothing."""
    dear = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()

    def basic(password: str) -> dict[str, str]:
        return {"Authorization": "Basic " + b64encode(f"a:{password}".encode()).decode()}

    def guess(port: int, guesser: int) -> set[int]:
        connection = HTTPConnection("127.0.0.1", port, 30, source_address=("127.0.0.2", 0))
        statuses = set()
        for number in range(10):
            connection.request("GET", "/metrics", headers=basic(f"{guesser}-{number}"))
            answer = connection.getresponse()
            answer.read()
            statuses.add(answer.status)
        connection.close()
        return statuses

    with served(tmp_path, f"basic_auth_users: {{a: {dear}}}") as one:
        assert one.curl("-u", f"a:{PASSWORD}", scheme="http") == (0, 200)
        with Pace(one.port, basic(PASSWORD)) as pace, ThreadPoolExecutor(8) as guessers:
            guesses = [guessers.submit(guess, one.port, number) for number in range(8)]
            statuses = set().union(*(done.result() for done in guesses))
        assert pace.failures == []
        assert pace.scrapes > 10
        assert pace.slowest < 1.0
        assert statuses == {401, 503}


@pytest.mark.parametrize("config", ["tls_server_config: {cert_file: x}", "nope: 1"])
def test_a_bad_configuration_at_the_start(config: str, tmp_path: Path) -> None:
    """Ends it with one line and exit code 2."""
    path = tmp_path / "web.yml"
    path.write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "kvmexporter", "serve", "--no-bpf",
         "--web.listen-address", "127.0.0.1:0", "--web.config.file", path],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"kvmexporter: {path}: ")
    assert done.stderr.count("\n") == 1
