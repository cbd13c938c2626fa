"""Which files of published weights are on this machine already.

Nothing is downloaded, and no weights are loaded: that checks their hash and replaces damaged files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.download import (
    CachedFile,
    cache_folder,
    decide_sources,
    keras_home,
)
from tlfeatures.features.backbones.recipes.published import cached_path
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.table import BACKBONES


@dataclass(frozen=True)
class KeptWeights:
    """A file of weights on this machine.

    Attributes
    ----------
    path : str
    bytes : int
    damage : str or None
        Why the file can't be used, as far as it shows without loading the weights; None if it
        seems complete.
    """

    path: str
    bytes: int
    damage: str | None


@dataclass(frozen=True)
class _Place:
    path: Path
    sha256: str | None = None  # of an ONNX file; None for a file of Keras weights, which is HDF5

    def damage(self) -> str | None:
        if self.sha256 is None:
            from tlfeatures.features.backbones.weights_file import damage_of_hdf5

            return damage_of_hdf5(self.path)
        sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return None if sha256 == self.sha256 else f"it has sha256 {sha256}, expected {self.sha256}"


def find_kept_weights(name: str) -> KeptWeights | None:
    """Find the file of a backbone's published weights.

    Parameters
    ----------
    name : str
        Of a backbone in the table or in the catalogue.

    Returns
    -------
    KeptWeights or None
        The first complete file in the order in which loading tries them, else the first damaged
        one; None if there is no file.
    """
    damaged = None
    for place in _places(name):
        try:
            kept = KeptWeights(str(place.path), place.path.stat().st_size, place.damage())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # such as a file or a folder that can't be read
            kept = KeptWeights(str(place.path), 0, error.strerror or str(error))
        if kept.damage is None:
            return kept
        damaged = damaged or kept
    return damaged


def _places(name: str) -> Iterator[_Place]:
    if name in BACKBONES:
        yield from _published_places(BACKBONES[name])
        return
    network = NAMED[name]
    if network.recipe is not None:
        yield _Place(cached_path(network), network.recipe.onnx_sha256)
    if network.application is not None:
        yield _Place(keras_home() / "models" / network.application.file)


def _published_places(backbone: Backbone) -> Iterator[_Place]:
    if backbone.published is None:
        return
    sources = decide_sources(
        backbone.name, backbone.published, keras_home(), cache_folder(), top=False
    )
    for source in sources:
        if isinstance(source, CachedFile):
            yield _Place(source.path)
