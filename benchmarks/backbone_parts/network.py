"""A backbone that is measured: its settings, its specs, and the framework to compare it with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from common import Way, keras_vgg16, timed
from numpy.typing import NDArray

from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.table import embedding_widths
from tlfeatures.features.calibrate import calibrate, sample_images
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.engines.engine import BATCH_SIZE, LoadedBackbone
from tlfeatures.features.engines.load import find_weights, load_backbone
from tlfeatures.features.engines.onnx_session import session
from tlfeatures.features.images.identify import scan
from tlfeatures.features.settings import Choose, Settings, choose_backbone, make_spec, record_of
from tlfeatures.features.sources.open_source import open_source
from tlfeatures.features.spec import Spec

OPTIONS = ComputeOptions(device="cpu")

Run = Callable[[], object]
Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A backbone at a size of images.

    Attributes
    ----------
    backbone : str
        Its name, or the path of its file.
    weights : str or None
        None for its own.
    size : int
        Height and width of the images, in pixels.
    """

    backbone: str
    weights: str | None
    size: int

    @property
    def title(self) -> str:
        """Name for people."""
        return self.record.name

    @property
    def record(self) -> Backbone:
        """The record of the backbone."""
        return record_of(self._opened[0])

    @cached_property
    def _opened(self) -> Any:
        return choose_backbone(self.settings())

    @cached_property
    def embedding(self) -> str:
        """Name of the default embedding."""
        record = self.record
        return next(iter(embedding_widths(record, [record.default_layer], [], self.height_width)))

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        return self.size, self.size

    def settings(self, way: Way | None = None) -> Settings:
        """The settings of `extract`; engine and precision are left open without a way."""
        engine, precision = way or (None, None)
        return Settings(
            backbone=self.backbone,
            weights=self.weights,
            size=self.size,
            engine=engine,
            precision=precision,
        )

    def options(self, way: Way | None = None) -> list[str]:
        """The options of the command `extract`."""
        options = ["--backbone", self.backbone, "--size", str(self.size), "--device", "cpu"]
        options += ["--weights", self.weights] if self.weights else []
        return options + (["--engine", way[0], "--precision", way[1]] if way else [])

    def spec(self, way: Way | None = None, choose: Choose | None = None) -> Spec:
        """Complete the settings to a spec; without a way, `choose` gives engine and precision."""
        backbone, size = self._opened
        more = {} if choose is None else {"choose": choose}
        return make_spec(self.settings(way), backbone, size, [self.embedding], "cpu", **more)

    def calibrated(self, way: Way, folder: Path) -> Spec:
        """Return a spec; that of an int8 backbone has ranges, measured on images of a folder."""
        spec = self.spec(way)
        if spec.precision != "int8":
            return spec
        return replace(
            spec, quantization=calibrate(spec, sample_images(scan(open_source(folder))), OPTIONS)
        )

    def load(self, spec: Spec, threads: int | None = None) -> LoadedBackbone:
        """Load the backbone of a spec."""
        return load_backbone(spec, [self.embedding], device="cpu", threads=threads)

    def rows(self, loaded: LoadedBackbone, pixels: Pixels) -> Rows:
        """Embed pixels, batch by batch; shape (n, d)."""
        starts = range(0, len(pixels), BATCH_SIZE)
        batches = [pixels[start : start + BATCH_SIZE] for start in starts]
        return np.concatenate([loaded.embed(batch)[self.embedding] for batch in batches])

    def reference(self) -> Framework | None:
        """Return the framework of the network with its own preprocessing; None if we use it."""
        declaration = self.spec().declaration
        if declaration is None:
            return KerasVgg16(self.size, self.weights or "imagenet")
        return OnnxFileAlone(self) if declaration.format == "onnx" else None


# ---- the frameworks, without this package


class Framework:
    """A network as its framework computes it."""

    name = ""

    def rows(self, pixels: Pixels) -> Rows:
        """Embed RGB images, (n, h, w, 3) to (n, d)."""
        raise NotImplementedError


class KerasVgg16(Framework):
    """VGG16 of keras.applications in float32, and Keras's preprocessing."""

    name = "Keras"

    def __init__(self, size: int, weights: str) -> None:
        self._model = keras_vgg16(size, weights)

    def rows(self, pixels: Pixels) -> Rows:
        """Embed images."""
        import keras

        prepared = keras.applications.vgg16.preprocess_input(pixels.astype(np.float32))
        rows: Rows = self._model.predict(prepared, batch_size=BATCH_SIZE, verbose=0)
        return rows


class OnnxFileAlone(Framework):
    """ONNX Runtime on the file of a network, in one thread, and preprocessing by NumPy."""

    name = "ONNX Runtime"

    def __init__(self, network: Network) -> None:
        spec = network.spec()
        weights, declaration = find_weights(spec, [network.embedding]), spec.declaration
        assert weights is not None  # of a network in a file
        assert declaration is not None
        layer = network.embedding.rpartition(".")[0]
        self._declaration = declaration
        self._output = next(each for each in declaration.outputs if each.layer == layer)
        self._session = session(weights.content, threads=1)

    def prepared(self, pixels: Pixels) -> list[NDArray[Any]]:
        """Prepare images, each as a batch of one."""
        declared = self._declaration
        images: NDArray[Any] = pixels if declared.colour == "RGB" else pixels[..., ::-1]
        if declared.numbers == "float32":
            mean, std = np.array(declared.mean or (0, 0, 0)), np.array(declared.std or (1, 1, 1))
            images = ((images - mean) / std).astype(np.float32)
        if declared.layout == "NCHW":
            images = images.transpose(0, 3, 1, 2)
        return [np.ascontiguousarray(image[None]) for image in images]

    def run(self, prepared: NDArray[Any]) -> Rows:
        """Compute the layer of a prepared image."""
        outputs = self._session.run([self._output.tensor], {self._declaration.input: prepared})
        values: Rows = outputs[0]
        if self._output.layout in ("NCHW", "NHWC"):
            values = values.mean(axis=(2, 3) if self._output.layout == "NCHW" else (1, 2))
        return values

    def rows(self, pixels: Pixels) -> Rows:
        """Embed images."""
        return np.concatenate([self.run(image) for image in self.prepared(pixels)])


# ---- turns


def take_turns(runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    """Time runs by turns, every other turn in reverse order; seconds of each turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        load = os.getloadavg()[0]
        for name in list(runs)[:: -1 if number % 2 else 1]:
            seconds[name].append(timed(runs[name]))
        print(f"turn {number + 1}: load before it {load:.1f}", flush=True)
    return seconds


def rates(seconds: Sequence[float], count: int) -> list[float]:
    """Images per second of each turn."""
    return [count / each for each in seconds]
