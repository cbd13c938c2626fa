"""A network of `keras.applications` with its weights: Keras's own, random ones, or those of a file.

Keras's own ImageNet weights are downloaded into Keras's folder, where it finds them. It checks
the hashes of most files; the spec has the hash of all tensors.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError, ParameterError, WeightsError
from tlfeatures.features.backbones.catalogue import NAMED
from tlfeatures.features.backbones.download import keras_home
from tlfeatures.features.backbones.hdf5_links import check_hdf5
from tlfeatures.features.backbones.named_network import Application, NamedNetwork
from tlfeatures.features.backbones.web import download_file
from tlfeatures.features.backbones.weights import RANDOM
from tlfeatures.features.engines.onnx_session import in_short

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

_OF_PIXELS = {"mean", "variance", "count"}  # weights of Keras's layer Normalization


def build_application(
    named: NamedNetwork, source: str, content: bytes, size: tuple[int, int], seed: int
) -> keras.Model:
    """Build a network without its top, with its weights.

    Parameters
    ----------
    named : NamedNetwork
        Of `keras.applications`.
    source : str
        `random`, or anything else for the ImageNet weights of Keras.
    content : bytes
        The bytes of a file of Keras weights, in place of `source`; else empty.
    size : (int, int)
        Height and width of the images, in pixels.
    seed : int
        Of random weights.

    Raises
    ------
    EngineError
        If this version of Keras has no such network.
    WeightsError
        If the weights can't be obtained, or are another network's.
    ParameterError
        If the network takes no weights of a file.
    """
    application = named.application
    assert application is not None  # of a network that Keras builds
    if content:
        return _with_file(named, application, content, size)
    if source == RANDOM:
        network = _construct(application, None, size)
        _draw(network, seed)
        return network
    return _with_imagenet(named, application, size)


def weights_sha256(network: keras.Model) -> str:
    """Hash the bytes of all weights, as float32, in the order of `network.weights`."""
    import keras

    hasher = hashlib.sha256()
    for variable in network.weights:
        tensor = np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
        hasher.update(np.ascontiguousarray(tensor).tobytes())
    return hasher.hexdigest()


def _construct(application: Application, weights: str | None, size: tuple[int, int]) -> Any:
    import keras

    construct = getattr(keras.applications, application.network, None)
    if construct is None:
        raise EngineError(f"this version of Keras has no network {application.network}")
    try:
        return construct(weights=weights, include_top=False, input_shape=(*size, 3))
    except RuntimeError as error:  # some backends lack what a network's layers need
        backend = keras.config.backend()
        raise EngineError(
            f"Keras can't build {application.network} on {backend}: {in_short(error)}; set "
            "KERAS_BACKEND=tensorflow"
        ) from error


def _with_imagenet(
    named: NamedNetwork, application: Application, size: tuple[int, int]
) -> keras.Model:
    obtain_imagenet(named)
    side = named.default_size
    own_size = (side, side) if application.weights_by_size else size
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):  # Keras prints what it downloads
            network = _construct(application, "imagenet", own_size)
    except EngineError:
        raise
    except Exception as error:  # Keras raises Exception itself where a download fails
        logger.debug("%s", printed.getvalue())
        raise WeightsError(_not_obtained(named, error)) from error
    if own_size == size:
        return network
    resized = _construct(application, None, size)
    resized.set_weights(network.get_weights())
    return resized


def obtain_imagenet(named: NamedNetwork) -> None:
    """Download the file of a network's ImageNet weights into Keras's folder, if it isn't there.

    Raises
    ------
    WeightsError
        If it can't be downloaded.
    """
    application = named.application
    assert application is not None  # of a network that Keras builds
    path = keras_home() / "models" / application.file
    if path.is_file():
        return
    try:
        download_file(application.url, path)  # Keras checks the hashes of most files
    except WeightsError as error:
        raise WeightsError(_not_obtained(named, error)) from error


def _not_obtained(named: NamedNetwork, error: Exception) -> str:
    here = [
        other.name
        for other in NAMED.values()
        if other.application and (keras_home() / "models" / other.application.file).is_file()
    ]
    recipes = [other.name for other in NAMED.values() if other.recipe]
    reason = str(error) if isinstance(error, WeightsError) else in_short(error)
    file = named.application.file if named.application else "the file"
    kept = f"; on this machine: {', '.join(here)}" if here else ""
    return (
        f"the ImageNet weights of {named.title} can't be obtained: {reason}. Copy "
        f"{file} into {keras_home() / 'models'}, or choose a backbone that needs no host of Keras: "
        f"vgg16, {', '.join(recipes)}{kept}"
    )


def _with_file(
    named: NamedNetwork, application: Application, content: bytes, size: tuple[int, int]
) -> keras.Model:
    if application.own_weights_only:
        raise ParameterError(
            f"Keras adds a layer to {application.network} for its own ImageNet weights alone, so "
            f"that those of a file would give other features: use --weights imagenet (the file "
            f"{application.file} in {keras_home() / 'models'} is used without a download)"
        )
    title = f"the file of weights of {named.title}"
    names = check_hdf5(content, title)
    network = _construct(application, None, size)
    legacy = "layer_names" in names or "model_weights" in names
    with private_file(content, "x.h5" if legacy else "x.weights.h5") as path:
        load_all_weights(network, path, title)
    return network


def load_all_weights(network: keras.Model, path: Path, title: str) -> None:
    """Load the weights of a file, none of which may be missing.

    Keras only warns of some missing weights, and keeps random ones. So all are NaN before.

    Parameters
    ----------
    network : keras.Model
    path : Path
        A file that was checked, see `check_hdf5`.
    title : str
        What the file is, for messages.

    Raises
    ------
    WeightsError
        If the file is another network's, or a weight is missing or isn't a number.
    """
    network.set_weights([_not_set(values) for values in network.get_weights()])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network.load_weights(path)
    except Exception as error:  # whatever h5py and Keras raise for other layers or shapes
        raise WeightsError(f"{title} doesn't fit the network: {in_short(error)}") from error
    if any(np.isnan(np.asarray(values, np.float32)).any() for values in network.get_weights()):
        raise WeightsError(f"{title} doesn't fit the network: a weight is missing or no number")


def _not_set(values: NDArray[Any]) -> NDArray[Any]:
    return values if np.issubdtype(values.dtype, np.integer) else np.full_like(values, np.nan)


@contextlib.contextmanager
def private_file(content: bytes, name: str) -> Iterator[Path]:
    """Write the bytes that were checked where nobody else can change them."""
    with tempfile.TemporaryDirectory(prefix="tlfeatures-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


def _draw(network: keras.Model, seed: int) -> None:
    """Draw weights by NumPy: normal kernels, scaled by their number of inputs (He et al. 2015)."""
    for number, variable in enumerate(network.weights):
        if variable.name not in _OF_PIXELS:
            generator = np.random.default_rng([seed, number])
            variable.assign(_random(variable.name, tuple(variable.shape), generator))


def _random(
    name: str, shape: tuple[int, ...], generator: np.random.Generator
) -> NDArray[np.float32]:
    if len(shape) < 2:
        # The scales of normalisations; Keras names those of ConvNeXt variable_1, variable_2, ...
        is_scale = name in ("gamma", "moving_variance") or name.startswith("variable")
        return np.full(shape, float(is_scale), np.float32)
    depthwise = "depthwise" in name or (len(shape) == 4 and shape[-1] == 1)
    inputs = math.prod(shape[:2] if depthwise else shape[:-1])
    return generator.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / inputs))
