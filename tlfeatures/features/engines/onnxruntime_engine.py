"""Declared ONNX networks by ONNX Runtime, in float32, on a CPU or by CUDA on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.declaration import Declaration
from tlfeatures.features.backbones.onnx_file import OnnxFile
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.engines.check_vector import Floats, check_image
from tlfeatures.features.engines.declared_graph import (
    check_widths,
    declared_model,
    tensors_model,
    verify_check,
)
from tlfeatures.features.engines.engine import BATCH_SIZE, LoadedBackbone
from tlfeatures.features.engines.onnx_session import has_cuda, in_short, session, uses_cuda
from tlfeatures.features.spec import Spec

_GPU_BATCH = 128
_NEAR = 1e-4  # of a row's length; a batch may be summed in another order


def load(
    spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
) -> LoadedBackbone:
    """Load a declared network; see `Engine.load`.

    Raises
    ------
    WeightsError
        If the file isn't one that this package loads, or its check vector differs.
    EngineError
        If ONNX Runtime can't load the network, or finds no GPU where one is asked for.
    """
    declaration = spec.declaration
    assert declaration is not None  # of a spec that names this engine
    file = OnnxFile(weights.content, f"the file of backbone {declaration.name}")

    def runner(batch: int | str, *, gpu: bool) -> Runner:
        model = declared_model(file, declaration, names, spec.size, batch=batch)
        return Runner(model, declaration.name, gpu=gpu)

    verify_check(file, declaration, first_row(declaration.name))
    if device != "cpu" and has_cuda():
        one, any_number = runner(1, gpu=True), runner("n", gpu=True)
        if one.on_gpu:
            return on_gpu(one, any_number, declaration, names, spec.size)
    if device == "gpu":
        raise EngineError(
            "ONNX Runtime finds no GPU with CUDA here: install onnxruntime-gpu in place of "
            "onnxruntime, or leave out --device"
        )
    return OneByOne(runner(1, gpu=False), declaration, names, threads)


def on_gpu(
    one: Runner,
    any_number: Runner,
    declaration: Declaration,
    names: Sequence[str],
    size: tuple[int, int],
) -> LoadedBackbone:
    """Return the backbone that computes whole batches, if the network takes them.

    Parameters
    ----------
    one, any_number : Runner
        The network for one image, and the same for any number of images.
    declaration, names, size
        See `declared_model`.
    """
    if takes_batches(one, any_number, size):
        return WholeBatches(any_number, declaration, names)
    return OneByOne(one, declaration, names, 1)


class OneByOne:
    """A declared network; each thread embeds one image. Rows are the same bits in any batch.

    Parameters
    ----------
    runner : Runner
        The network for one image.
    declaration : Declaration
    names : sequence of str
    threads : int or None
        All cores if None.
    """

    one_shape = False
    most = BATCH_SIZE

    def __init__(
        self, runner: Runner, declaration: Declaration, names: Sequence[str], threads: int | None
    ) -> None:
        import joblib

        self._runner, self._declaration, self._names = runner, declaration, names
        self._pool = ThreadPoolExecutor(threads or joblib.cpu_count())

    def embed(self, images: NDArray[np.uint8]) -> dict[str, Floats]:
        """Embed a batch of shape (b, h, w, 3); see `LoadedBackbone`."""
        rows = list(self._pool.map(lambda image: self._rows(image[None]), images))
        return {name: np.concatenate([row[name] for row in rows]) for name in self._names}

    def _rows(self, images: NDArray[np.uint8]) -> dict[str, Floats]:
        rows = dict(zip(self._names, self._runner(images), strict=True))
        check_widths(rows, self._declaration)
        return rows


class WholeBatches:
    """A declared network on a GPU, which takes a batch at once.

    Parameters
    ----------
    runner : Runner
        The network for any number of images.
    declaration : Declaration
    names : sequence of str
    """

    one_shape = True
    most = _GPU_BATCH

    def __init__(self, runner: Runner, declaration: Declaration, names: Sequence[str]) -> None:
        self._runner, self._declaration, self._names = runner, declaration, names

    def embed(self, images: NDArray[np.uint8]) -> dict[str, Floats]:
        """Embed a batch of shape (b, h, w, 3); see `LoadedBackbone`."""
        rows = dict(zip(self._names, self._runner(images), strict=True))
        check_widths(rows, self._declaration)
        return rows


class Runner:
    """An ONNX model that takes images, in ONNX Runtime.

    Parameters
    ----------
    model : bytes
        See `declared_model`.
    name : str
        Name of the backbone, for messages.
    gpu : bool
        Whether to use a GPU, if there is one.
    """

    def __init__(self, model: bytes, name: str, *, gpu: bool = False) -> None:
        self._name = name
        try:
            self._session = session(model, threads=1, gpu=gpu)
        except Exception as error:  # the runtime has its own classes, which promise nothing
            raise EngineError(
                f"ONNX Runtime can't load backbone {name}: {in_short(error)}"
            ) from error
        self._input = self._session.get_inputs()[0].name

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return uses_cuda(self._session)

    def __call__(self, images: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Give the outputs for images of shape (b, h, w, 3)."""
        try:
            outputs: list[NDArray[Any]] = self._session.run(None, {self._input: images})
        except Exception as error:  # as above; a lack of memory stays in its text
            raise EngineError(
                f"ONNX Runtime failed at backbone {self._name}: {in_short(error)}"
            ) from error
        return outputs


def first_row(name: str) -> Callable[[bytes, NDArray[np.uint8]], Floats]:
    """Return what computes the check vector of a backbone, see `verify_check`."""

    def compute(model: bytes, image: NDArray[np.uint8]) -> Floats:
        return np.asarray(Runner(model, name)(image[None])[0][0], np.float32)

    return compute


def takes_batches(one: Runner, any_number: Runner, size: tuple[int, int]) -> bool:
    """Whether a network gives the same rows for two images at once as for each of them.

    Files may state that they take any number of images, and have been traced with a single one.

    Parameters
    ----------
    one, any_number : Runner
        The network for one image, and the same for any number of images.
    size : (int, int)
        Height and width of the images, in pixels.
    """
    images = np.stack([check_image(size), check_image(size)[::-1, ::-1]])
    alone = [np.concatenate(rows) for rows in zip(one(images[:1]), one(images[1:]), strict=True)]
    try:
        together = any_number(images)
    except EngineError:
        return False
    return all(
        rows.shape == expected.shape
        and np.abs(rows - expected).max() <= _NEAR * np.linalg.norm(expected, axis=1).max()
        for rows, expected in zip(together, alone, strict=True)
    )


class OneImage:
    """A network that gives tensors of its file for one image at a time.

    Parameters
    ----------
    file : OnnxFile
    declaration : Declaration
        Its outputs aren't used.
    tensors : sequence of str
    size : (int, int)
        Height and width of the image, in pixels.

    Raises
    ------
    WeightsError, EngineError
        If the file has no such tensor, or ONNX Runtime can't load the network.
    """

    def __init__(
        self,
        file: OnnxFile,
        declaration: Declaration,
        tensors: Sequence[str],
        size: tuple[int, int],
    ) -> None:
        self._tensors = list(dict.fromkeys(tensors))
        model = tensors_model(file, declaration, self._tensors, size)
        self._runner = Runner(model, declaration.name)

    def run(self, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Give the tensors of an image of shape (h, w, 3), RGB, each with its batch axis."""
        return dict(zip(self._tensors, self._runner(image[None]), strict=True))
