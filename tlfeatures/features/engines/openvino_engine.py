"""Backbones by OpenVINO, on a CPU: the graph that `export` writes, also in bfloat16 and int8."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.table import find_backbone
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.engines.engine import BATCH_SIZE, fitting_batch
from tlfeatures.features.engines.onnx_backbone import backbone_nodes
from tlfeatures.features.engines.onnx_graph import Graph
from tlfeatures.features.spec import Spec

_CHUNK = 8  # images of a request; several requests run at once, and larger ones are no faster

# Precision of the layers that aren't quantised.
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


class OpenVINOBackbone:
    """A backbone in OpenVINO. Rows are the same bits whatever the batch.

    It is compiled for the first batch.

    Parameters
    ----------
    spec, names, device, weights, threads
        See `Engine.load`. It computes on the CPU.

    Raises
    ------
    EngineError
        If this CPU doesn't have the spec's precision.
    """

    one_shape = False
    most = BATCH_SIZE

    def __init__(
        self, spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
    ) -> None:
        import openvino

        self._backbone = find_backbone(spec.backbone)
        self._names = names
        self._core = openvino.Core()
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if spec.precision == "bfloat16" and "BF16" not in able:
            raise EngineError("OpenVINO has no bfloat16 on this CPU: give --engine keras")
        self._model = self._core.read_model(_onnx_model(spec, names, weights), b"")
        self._options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": _HINTS[spec.precision],
            **({} if threads is None else {"INFERENCE_NUM_THREADS": threads}),
        }
        self._lock = threading.Lock()  # clones of a cross-validation share one instance
        self._requests = functools.cache(self._compiled)

    def _compiled(self, chunk: int) -> Any:
        import openvino

        model = self._model.clone()
        model.reshape([chunk, *list(model.inputs[0].partial_shape)[1:]])
        return openvino.AsyncInferQueue(self._core.compile_model(model, "CPU", self._options))

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch of shape (b, h, w, 3); see `LoadedBackbone`."""
        chunk = fitting_batch(self._backbone, images.shape[1:3], _CHUNK)
        chunk = chunk if len(images) >= chunk else 1  # a few images need no padding
        requests = self._requests(chunk)
        chunks = -(-len(images) // chunk)
        results: list[dict[str, NDArray[np.float32]]] = [{}] * chunks

        def keep(request: Any, number: int) -> None:
            results[number] = {
                name: np.array(tensor.data, np.float32)  # a copy: OpenVINO writes into it again
                for name, tensor in zip(self._names, request.output_tensors, strict=True)
            }

        with self._lock:
            requests.set_callback(keep)
            for number in range(chunks):
                part = images[number * chunk : (number + 1) * chunk]
                if len(part) < chunk:
                    part = np.resize(part, (chunk, *part.shape[1:]))
                requests.start_async({0: np.ascontiguousarray(part)}, number)
            requests.wait_all()
        return {
            name: np.concatenate([result[name] for result in results])[: len(images)]
            for name in self._names
        }


def _onnx_model(spec: Spec, names: Sequence[str], weights: Weights) -> bytes:
    """Write the backbone as an ONNX model whose outputs are the wanted embeddings."""
    graph = Graph()
    rows = backbone_nodes(graph, "images", spec, names, weights.tensors)
    outputs = {
        name: (value, np.float32, ("n", "d")) for name, value in zip(names, rows, strict=True)
    }
    model = graph.model({"images": (np.uint8, ("n", *spec.size, 3))}, outputs)
    return bytes(model.SerializeToString())
