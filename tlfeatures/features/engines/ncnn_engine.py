"""Backbones by ncnn, on a CPU, in float32. Its Winograd convolutions need fewer multiplications.

Winograd's minimal filtering (Lavin and Gray, "Fast algorithms for convolutional neural networks",
CVPR 2016) is exact but for rounding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.network import Network
from tlfeatures.features.backbones.record import Preprocessing
from tlfeatures.features.backbones.table import find_backbone
from tlfeatures.features.backbones.tensors import Tensors, Weights
from tlfeatures.features.engines.engine import BATCH_SIZE
from tlfeatures.features.spec import Spec

_INPUT = "images"


class NcnnBackbone:
    """A backbone in ncnn; each thread embeds one image. Rows are the same bits in any batch.

    Parameters
    ----------
    spec, names, device, weights, threads
        See `Engine.load`. It computes on the CPU.

    Raises
    ------
    EngineError
        If ncnn can't be given its weights.
    """

    one_shape = False
    most = BATCH_SIZE

    def __init__(
        self, spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
    ) -> None:
        import joblib

        self._backbone = backbone = find_backbone(spec.backbone)
        self._parts = [(name, *name.rpartition(".")[::2]) for name in names]
        self._tensors = tensors = weights.tensors
        wanted = {backbone.network.map_of(layer) for _, layer, _ in self._parts}
        reverse = backbone.preprocessing.channels == "BGR"
        param, binary, self._maps = _ncnn_files(backbone.network, tensors, wanted, reverse=reverse)
        self._net = _load_net(param, binary, backbone.title)
        self._pool = ThreadPoolExecutor(threads or joblib.cpu_count())

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch of shape (b, h, w, 3); see `LoadedBackbone`."""
        rows = list(self._pool.map(self._row, images))
        return {name: np.stack([row[name] for row in rows]) for name, *_ in self._parts}

    def _row(self, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        import ncnn

        pixels = _preprocessed(image, self._backbone.preprocessing)
        # A name of its own: ncnn reads this memory later, and doesn't keep it.
        channels_first = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        extractor = self._net.create_extractor()
        extractor.input(_INPUT, ncnn.Mat(channels_first))
        maps = {}
        for layer in self._maps:  # shallow ones first: each goes on from the one before
            failed, features = extractor.extract(layer)
            if failed:
                raise EngineError(f"ncnn failed at {layer}: is there enough memory?")
            maps[layer] = np.array(features, np.float32)
        map_of = self._backbone.network.map_of
        return {
            name: self._pooled(maps[map_of(layer)], layer, pool)
            for name, layer, pool in self._parts
        }

    def _pooled(self, features: NDArray[np.float32], layer: str, pool: str) -> NDArray[np.float32]:
        """(channels, h, w) to (d,); Keras flattens channels last."""
        if pool == "avg":
            return np.asarray(features.mean(axis=(1, 2)))
        if pool == "max":
            return np.asarray(features.max(axis=(1, 2)))
        row = features.transpose(1, 2, 0).reshape(-1)
        network = self._backbone.network
        return _dense(row, layer, network, self._tensors) if layer in network.top else row


def _preprocessed(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Do to (h, w, 3) what the record says, but leave the channels in the order RGB."""
    pixels = image.astype(np.float32)
    for step, values in preprocessing.steps(rgb=True):
        operation = np.subtract if step == "subtract" else np.divide
        operation(pixels, np.array(values, np.float32), out=pixels)
    return pixels


def _load_net(param: str, binary: bytes, title: str) -> Any:
    """Give an `ncnn.Net` of a network in ncnn's own format."""
    import ncnn

    net = ncnn.Net()
    options = net.opt
    options.num_threads = 1
    options.use_vulkan_compute = False
    # Compute in float32 only, also on CPUs that have halves.
    for name in (name for name in dir(options) if name.startswith(("use_fp16", "use_bf16"))):
        setattr(options, name, False)
    with tempfile.TemporaryDirectory() as folder:  # ncnn's readers of memory stop at a zero
        path = Path(folder, "weights.bin")
        try:
            path.write_bytes(binary)
        except OSError as error:
            raise EngineError(
                f"ncnn reads its weights from a file, and {len(binary) / 1e6:.0f} MB can't be "
                f"written to {Path(folder).parent}: {error.strerror}; make room, set TMPDIR to "
                "another folder, or give --engine keras"
            ) from error
        if net.load_param_mem(param) or net.load_model(str(path)):
            raise EngineError(f"ncnn can't load {title}; install it again: pip install -U ncnn")
    return net


def _ncnn_files(
    network: Network, tensors: Tensors, wanted: set[str], *, reverse: bool
) -> tuple[str, bytes, list[str]]:
    """Write the network up to the last wanted feature map in ncnn's own format.

    Parameters
    ----------
    network : Network
    tensors : Tensors
    wanted : set of str
        Feature maps.
    reverse : bool
        Whether the first kernel was trained on BGR, and gets RGB.

    Returns
    -------
    (str, bytes, list of str)
        Its layers, their weights, and the wanted maps, shallow ones first.
    """
    lines, binary, order = [f"Input {_INPUT} 0 1 {_INPUT}"], [], []
    before = _INPUT
    for layer, pool in network.steps(wanted):
        kernel, bias = tensors[layer]
        if reverse and before == _INPUT:
            kernel = kernel[:, :, ::-1]
        # 0: channels; 1: side; 4: padding; 5: a bias; 6: values of the kernel; 9: a ReLU after it
        options = f"0={len(bias)} 1=3 4=1 5=1 6={kernel.size} 9=1"
        lines.append(f"Convolution {layer} 1 1 {before} {layer} {options}")
        # four bytes of zeros say that float32 follows
        binary += [bytes(4), kernel.transpose(3, 2, 0, 1).astype("<f4").tobytes()]
        binary.append(bias.astype("<f4").tobytes())
        order.append(layer)
        before = layer
        if pool is not None:
            # 0: the largest; 1: side; 2: stride; 5: an odd last row is left out
            lines.append(f"Pooling {pool} 1 1 {layer} {pool} 0=0 1=2 2=2 5=1")
            order.append(pool)
            before = pool
    header = f"7767517\n{len(lines)} {len(lines)}\n"
    maps = [layer for layer in order if layer in wanted]
    return header + "\n".join(lines) + "\n", b"".join(binary), maps


def _dense(
    row: NDArray[np.float32], wanted: str, network: Network, tensors: Tensors
) -> NDArray[np.float32]:
    last = list(network.top)[-1]
    for layer in network.top:
        kernel, bias = tensors[layer]
        row = row @ kernel + bias
        if layer == last:
            row = np.exp(row - row.max())
            return np.asarray(row / row.sum())
        row = np.maximum(row, np.float32(0))
        if layer == wanted:
            break
    return row
