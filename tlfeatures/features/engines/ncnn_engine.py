"""VGG16 by ncnn, on a CPU, in float32: its convolutions are Winograd's, with fewer multiplications.

Winograd's minimal filtering (Lavin and Gray, "Fast algorithms for convolutional neural networks",
CVPR 2016) is exact but for rounding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.weights import (
    CONV_KERNELS,
    RGB_MEAN,
    TOP_KERNELS,
    Tensors,
    Weights,
    map_of,
)
from tlfeatures.features.engines.engine import BATCH_SIZE
from tlfeatures.features.spec import Spec

_MEAN = np.array(RGB_MEAN, np.float32)
_INPUT = "images"


class NcnnBackbone:
    """VGG16 in ncnn: an image a thread. Rows are the same bits whatever the batch.

    Parameters
    ----------
    names : sequence of str
    tensors : Tensors
    threads : int, optional
        All cores if not given.
    """

    one_shape = False
    most = BATCH_SIZE

    def __init__(self, names: Sequence[str], tensors: Tensors, threads: int | None = None) -> None:
        import ncnn

        self._named = [(name, *name.rpartition(".")[::2]) for name in names]
        self._tensors = tensors
        wanted = {map_of(layer) for _, layer, _ in self._named}
        param, binary, self._maps = _network(tensors, wanted)
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = 1
        options.use_vulkan_compute = False
        # Nothing but float32, on CPUs that have halves, too.
        for name in (name for name in dir(options) if name.startswith(("use_fp16", "use_bf16"))):
            setattr(options, name, False)
        with tempfile.TemporaryDirectory() as folder:  # its readers of memory stop at a zero
            path = Path(folder, "vgg16.bin")
            try:
                path.write_bytes(binary)
            except OSError as error:
                raise EngineError(
                    f"ncnn reads its weights from a file, and {len(binary) / 1e6:.0f} MB can't be "
                    f"written to {Path(folder).parent}: {error.strerror}; make room, set TMPDIR to "
                    "another folder, or give --engine keras"
                ) from error
            if self._net.load_param_mem(param) or self._net.load_model(str(path)):
                raise EngineError("ncnn can't load VGG16; install it again: pip install -U ncnn")
        self._pool = ThreadPoolExecutor(threads or joblib.cpu_count())

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch of shape (b, h, w, 3); see `Backbone`."""
        rows = list(self._pool.map(self._row, images))
        return {name: np.stack([row[name] for row in rows]) for name, *_ in self._named}

    def _row(self, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        import ncnn

        pixels = np.ascontiguousarray((image - _MEAN).transpose(2, 0, 1))
        extractor = self._net.create_extractor()
        extractor.input(_INPUT, ncnn.Mat(pixels))
        maps = {}
        for layer in self._maps:  # shallow ones first: each goes on from the one before
            failed, found = extractor.extract(layer)
            if failed:
                raise EngineError(f"ncnn failed at {layer}: is there enough memory?")
            maps[layer] = np.array(found, np.float32)
        return {
            name: self._pooled(maps[map_of(layer)], layer, pool)
            for name, layer, pool in self._named
        }

    def _pooled(self, features: NDArray[np.float32], layer: str, pool: str) -> NDArray[np.float32]:
        """(channels, h, w) to (d,); Keras flattens channels last."""
        if pool == "avg":
            return np.asarray(features.mean(axis=(1, 2)))
        if pool == "max":
            return np.asarray(features.max(axis=(1, 2)))
        row = features.transpose(1, 2, 0).reshape(-1)
        return _dense(row, layer, self._tensors) if layer in TOP_KERNELS else row


def _network(tensors: Tensors, wanted: set[str]) -> tuple[str, bytes, list[str]]:
    """Write the network up to the last wanted feature map in ncnn's own format.

    Returns
    -------
    (str, bytes, list of str)
        Its layers, their weights, and the wanted maps, shallow ones first.
    """
    lines, binary, order = [f"Input {_INPUT} 0 1 {_INPUT}"], [], []
    layers, before = list(CONV_KERNELS), _INPUT
    for layer, following in zip(layers, [*layers[1:], ""], strict=True):
        kernel, bias = tensors[layer]
        if layer == layers[0]:
            kernel = kernel[:, :, ::-1]  # it was trained on BGR
        # 0: channels; 1: side; 4: padding; 5: a bias; 6: values of the kernel; 9: a ReLU after it
        given = f"0={len(bias)} 1=3 4=1 5=1 6={kernel.size} 9=1"
        lines.append(f"Convolution {layer} 1 1 {before} {layer} {given}")
        # four bytes of zeros say that float32 follows
        binary += [bytes(4), kernel.transpose(3, 2, 0, 1).astype("<f4").tobytes()]
        binary.append(bias.astype("<f4").tobytes())
        order.append(layer)
        before, block = layer, layer.partition("_")[0]
        if not following.startswith(block):
            before = f"{block}_pool"
            # 0: the largest; 1: side; 2: stride; 5: an odd last row is left out
            lines.append(f"Pooling {before} 1 1 {layer} {before} 0=0 1=2 2=2 5=1")
            order.append(before)
        if wanted <= set(order):
            break
    header = f"7767517\n{len(lines)} {len(lines)}\n"
    maps = [layer for layer in order if layer in wanted]
    return header + "\n".join(lines) + "\n", b"".join(binary), maps


def _dense(row: NDArray[np.float32], wanted: str, tensors: Tensors) -> NDArray[np.float32]:
    for layer in TOP_KERNELS:
        kernel, bias = tensors[layer]
        row = row @ kernel + bias
        if layer == "predictions":
            row = np.exp(row - row.max())
            return np.asarray(row / row.sum())
        row = np.maximum(row, np.float32(0))
        if layer == wanted:
            break
    return row


def load_vgg16(
    spec: Spec, names: Sequence[str], weights: Weights, threads: int | None
) -> NcnnBackbone:
    """Build the network."""
    return NcnnBackbone(names, weights.tensors, threads)
