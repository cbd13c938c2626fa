"""A backbone's weights: the published ones, random ones, or those of a file."""

from __future__ import annotations

import functools
from pathlib import Path

from tlfeatures.errors import ParameterError, WeightsError
from tlfeatures.features.backbones.download import load_published
from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.tensors import Weights, identify, random_tensors
from tlfeatures.features.backbones.weights_file import read_keras_file
from tlfeatures.files import reason_of

IMAGENET, RANDOM = "imagenet", "random"

_MOST_BYTES = 2**31  # of a file of weights that is read as a whole


def load_weights(
    backbone: Backbone, source: str, *, top: bool = False, random_state: int | None = None
) -> Weights:
    """Get the weights of a backbone.

    Parameters
    ----------
    backbone : Backbone
    source : str
        `imagenet`, `random`, or the path of an HDF5 file of Keras weights.
    top : bool
        Whether the dense layers are needed too.
    random_state : int or None
        Seed of random weights; None counts as 0, so that a run can be repeated.

    Raises
    ------
    ParameterError
        If there is no such file.
    WeightsError
        If they can't be obtained, or are another network's.
    """
    if source == IMAGENET:
        return load_published(backbone, top=top)
    network = backbone.network
    if source == RANDOM:
        return identify(network, random_tensors(network, top=top, seed=random_state or 0))
    path = Path(checked_source(source)).expanduser()
    return identify(network, read_keras_file(path, network, top=top))


def weights_sha256(
    backbone: Backbone, source: str, *, top: bool = False, random_state: int | None = None
) -> tuple[str, str | None]:
    """Hash weights (see `Weights`); those of a file are read once as long as it stays the same."""
    if source in (IMAGENET, RANDOM):
        weights = load_weights(backbone, source, top=top, random_state=random_state)
        return weights.sha256, weights.top_sha256
    status = Path(checked_source(source)).expanduser().stat()
    return _file_sha256(backbone, source, top, status.st_mtime_ns, status.st_size)


@functools.lru_cache
def _file_sha256(
    backbone: Backbone, source: str, top: bool, mtime: int, size: int
) -> tuple[str, str | None]:
    weights = load_weights(backbone, source, top=top)
    return weights.sha256, weights.top_sha256


def published_sha256(backbone: Backbone, source: str, *, top: bool) -> str | None:
    """Return the hash of the convolution tensors if the record states it; opens no file."""
    if source != IMAGENET or top or backbone.published is None:
        return None
    return backbone.published.sha256


def read_weights(source: str) -> bytes:
    """Read the file of a source of weights, once; empty for `imagenet` and `random`.

    Raises
    ------
    WeightsError
        If it can't be read, or is empty or too large.
    """
    if source in (IMAGENET, RANDOM):
        return b""
    path = Path(source).expanduser()
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise WeightsError(
            f"the weights in {path} can't be read ({reason_of(error)}): give the file with "
            "--weights PATH"
        ) from error
    if not content:
        raise WeightsError(f"{path} is empty, expected Keras weights")
    if len(content) > _MOST_BYTES:
        raise WeightsError(f"{path} has more than {_MOST_BYTES:,} bytes, expected Keras weights")
    return content


def checked_source(source: str) -> str:
    """Return a source of weights (see `load_weights`).

    Raises
    ------
    ParameterError
        If it is the path of a file that does not exist.
    """
    if source not in (IMAGENET, RANDOM) and not Path(source).expanduser().is_file():
        raise ParameterError(
            f"there is no file {source}; --weights takes imagenet, random or the path of an HDF5 "
            "file of Keras weights; for a backbone of your own, the path of its ONNX file"
        )
    return source
