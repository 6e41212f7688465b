# SPDX-License-Identifier: Apache-2.0
"""Debian packages of any release, fetched and unpacked beside the system instead of into it.

Reads the system's own apt configuration (mirror, proxy, keyring) and gives it private package
lists and a private archive directory, so that neither the installed packages nor the system's
lists change.  What is downloaded is verified by apt as always.  Costs one `apt-get update` per
release (about 10 MB) and the packages themselves.
"""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})


class ArchiveError(Exception):
    """apt or dpkg refused: the message is theirs."""


def cache_root() -> Path:
    """Return the directory outside the tree that holds everything the lab downloads."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "kvmexporter" / "lab"


def host_release() -> str:
    """Return the code name of the release this system runs ("bookworm")."""
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise ArchiveError("/etc/os-release has no VERSION_CODENAME: the lab wants a Debian host")


def _run(command: list[str], cwd: Path | None = None) -> str:
    # A private state directory still shares the front-end lock's path with nobody, so several
    # labs may prepare themselves at once; apt's own messages go into the error.
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ArchiveError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def mirrors() -> dict[str, str]:
    """Return the system's Debian mirrors: apt's Label ("Debian", "Debian-Security") → URI.

    Raises:
        ArchiveError: apt has none, or has not yet read what they are.
    """
    found: dict[str, str] = {}
    stanzas = _run(["apt-get", "indextargets", "Created-By: Packages"]).split("\n\n")
    for stanza in stanzas:
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", stanza, re.MULTILINE))
        if fields.get("Origin") == "Debian" and "Repo-URI" in fields:
            found.setdefault(fields.get("Label", ""), fields["Repo-URI"])
    if "Debian" not in found:
        raise ArchiveError("apt knows no Debian mirror: run `apt-get update` first")
    return found


class Archive:
    """One Debian release as apt sees it through a private configuration.

    Args:
        release: code name ("bookworm", "trixie", "sid").
        state: directory for lists and downloads; removed by whoever made it.
        backports: add the release's backports, and prefer them.
        sources: know source packages, too.
    """

    def __init__(
        self, release: str, state: Path, *, backports: bool = False, sources: bool = False
    ) -> None:
        self.release = release
        lists, debs = state / "lists", state / "debs"
        for directory in (lists / "partial", debs / "partial", state / "cache"):
            directory.mkdir(parents=True, exist_ok=True)
        known = mirrors()
        suites = [(known["Debian"], release)]
        if release != "sid" and "Debian-Security" in known:
            suites.append((known["Debian-Security"], f"{release}-security"))
        if backports:
            suites.append((known["Debian"], f"{release}-backports"))
        listed = state / "sources.list"
        listed.write_text(
            "".join(
                f"{kind} [signed-by={KEYRING}] {uri} {suite} main\n"
                for uri, suite in suites
                for kind in (("deb", "deb-src") if sources else ("deb",))
            )
        )
        self._debs = debs
        self._options = [
            f"-oDir::Etc::SourceList={listed}",
            "-oDir::Etc::SourceParts=/dev/null",
            # The pins of the system are about its own releases.
            "-oDir::Etc::Preferences=/dev/null",
            "-oDir::Etc::PreferencesParts=/dev/null",
            f"-oDir::State::Lists={lists}",
            f"-oDir::Cache={state / 'cache'}",
            f"-oDir::Cache::Archives={debs}",
            "-oAcquire::Languages=none",
            "-oAPT::Get::List-Cleanup=false",
            "-oAPT::Sandbox::User=root",
            "-oDebug::NoLocking=true",
        ]
        if backports:
            self._options.append(f"-oAPT::Default-Release={release}-backports")
        self._apt("apt-get", "-qq", "update")

    def _apt(self, program: str, *args: str) -> str:
        return _run([program, *self._options, *args], cwd=self._debs)

    def version(self, package: str) -> str:
        """Return the newest version of a package in the release; raise if it has none."""
        return self._fields(package)["Version"]

    def depends(self, package: str) -> list[str]:
        """Return the names a package depends on, first alternatives only."""
        names: list[str] = []
        for clause in self._fields(package).get("Depends", "").split(","):
            match = re.match(r"\s*([a-z0-9][a-z0-9+.-]+)", clause)
            if match:
                names.append(match.group(1))
        return names

    def _fields(self, package: str) -> dict[str, str]:
        text = self._apt("apt-cache", "show", "--no-all-versions", package)
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", text, re.MULTILINE))
        if "Version" not in fields:
            raise ArchiveError(f"{self.release} has no package {package}")
        return fields

    def download(self, packages: Iterable[str]) -> list[Path]:
        """Download exactly these packages and return their files."""
        self._apt("apt-get", "-q", "download", *packages)
        return sorted(self._debs.glob("*.deb"))

    def download_missing(self, packages: Iterable[str]) -> list[Path]:
        """Download these packages and all they need that the system does not have installed."""
        self._apt(
            "apt-get", "-q", "-y", "--no-install-recommends", "--download-only",
            "install", *packages,
        )  # fmt: skip
        return sorted(self._debs.glob("*.deb"))

    def source(self, package: str) -> Path:
        """Download the upstream source of a package, as Debian has it, and return its archive.

        The archive alone, by the address and the digest that apt has verified: what Debian adds
        is for making packages.
        """
        told = self._apt("apt-get", "--print-uris", "--download-only", "-qq", "source", package)
        found = re.search(r"^'(\S+)' (\S+\.orig\.tar\.\w+) \d+ (\w+:\w+)$", told, re.MULTILINE)
        if found is None:
            raise ArchiveError(f"{self.release} has no source of {package}")
        uri, name, digest = found.groups()
        target = self._debs / name
        self._apt("/usr/lib/apt/apt-helper", "download-file", uri, str(target), digest)
        return target


def merged_path(name: str) -> str:
    """Return a package's path as a system with a merged /usr has it ("./lib/x" → "usr/lib/x")."""
    path = name.removeprefix("./").lstrip("/")
    return f"usr/{path}" if path.split("/", 1)[0] in _MERGED else path


def unpack(deb: Path, target: Path, keep: Callable[[str], bool]) -> None:
    """Unpack a package's files under `target`, with a merged /usr.

    Args:
        deb: the package file.
        target: an existing directory.
        keep: asked for every path, as `merged_path` gives it.
    """
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as dpkg,
        tarfile.open(fileobj=dpkg.stdout, mode="r|") as tar,
    ):
        # What apt verified may hold absolute links (`build` of the headers does). Pythons that
        # know no filters unpack them as they are.
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", lambda member, _: member)
        # What apt verified may hold absolute links (`build` of the headers does).  Python before
        # 3.11.4 trusts an archive without being told to.
        if hasattr(tarfile, "fully_trusted_filter"):
            tar.extraction_filter = tarfile.fully_trusted_filter
        for member in tar:
            member.name = merged_path(member.name)
            if not member.name or member.name == "." or not keep(member.name):
                continue
            if member.islnk():
                member.linkname = merged_path(member.linkname)
            tar.extract(member, target)
    if dpkg.returncode != 0:
        raise ArchiveError(f"dpkg-deb --fsys-tarfile {deb}: exit code {dpkg.returncode}")


@contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """Give a directory to fill; it becomes `final` in one step, or vanishes if the body raises."""
    final.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        fresh.chmod(0o755)
        yield fresh
        if final.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{final.name}.old.", dir=final.parent))
            final.rename(old / "old")
            fresh.rename(final)
            shutil.rmtree(old)
        else:
            fresh.rename(final)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
