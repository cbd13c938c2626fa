"""Backbones by OpenVINO, on a CPU, also in bfloat16 and int8.

It computes the graph that `export` writes, of VGG16 or of a declared ONNX network.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import EngineError
from tlfeatures.features.backbones.onnx_file import OnnxFile
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.engines.declared_graph import check_widths, declared_model, verify_check
from tlfeatures.features.engines.engine import BATCH_SIZE, fitting_batch
from tlfeatures.features.engines.onnx_backbone import backbone_nodes
from tlfeatures.features.engines.onnx_graph import Graph
from tlfeatures.features.engines.onnx_session import in_short
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
        If this CPU doesn't have the spec's precision, or OpenVINO can't load a declared network.
    WeightsError
        If the file of a declared network isn't one that this package loads, or its check vector
        differs.
    """

    one_shape = False
    most = BATCH_SIZE

    def __init__(
        self, spec: Spec, names: Sequence[str], device: str, weights: Weights, threads: int | None
    ) -> None:
        openvino = _openvino()
        self._names = names
        self._core = openvino.Core()
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if spec.precision == "bfloat16" and "BF16" not in able:
            other = "--engine keras" if spec.declaration is None else "--precision float32"
            raise EngineError(f"OpenVINO has no bfloat16 on this CPU: give {other}")
        self._declaration = spec.declaration
        self._threads = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
        if spec.declaration is None:
            self._chunk = fitting_batch(spec.find_backbone(), spec.size, _CHUNK)
            self._model = self._read(_described_model(spec, names, weights))
        else:
            self._chunk = 1  # a declared network may take one image only
            file = OnnxFile(weights.content, f"the file of backbone {spec.backbone}")
            verify_check(file, spec.declaration, self._first_row)
            model = declared_model(file, spec.declaration, names, spec.size, spec.quantization)
            self._model = self._read(model)
        self._options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": _HINTS[spec.precision],
            **self._threads,
        }
        self._lock = threading.Lock()  # clones of a cross-validation share one instance
        self._requests = functools.cache(self._compiled)

    @contextlib.contextmanager
    def _step(self, failure: str) -> Iterator[None]:
        """Name the backbone in errors of OpenVINO, which may not know a declared network."""
        try:
            yield
        except RuntimeError as error:
            if self._declaration is None:
                raise  # a lack of memory, which `embed` recognises by the whole message
            raise EngineError(
                f"OpenVINO {failure} backbone {self._declaration.name}; give --engine "
                f"onnxruntime: {in_short(error)}"
            ) from error

    def _read(self, model: bytes) -> Any:
        with self._step("can't load"):
            return self._core.read_model(model, b"")

    def _first_row(self, model: bytes, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the first output of an image, in float32."""
        options = {"INFERENCE_PRECISION_HINT": "f32", **self._threads}
        with self._step("failed at"):
            compiled = self._core.compile_model(self._read(model), "CPU", options)
            return np.array(compiled({0: image[None]})[0][0], np.float32)

    def _compiled(self, chunk: int) -> Any:
        import openvino

        model = self._model.clone()
        model.reshape([chunk, *list(model.inputs[0].partial_shape)[1:]])
        with self._step("can't compile"):
            compiled = self._core.compile_model(model, "CPU", self._options)
        return openvino.AsyncInferQueue(compiled)

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch of shape (b, h, w, 3); see `LoadedBackbone`."""
        chunk = self._chunk if len(images) >= self._chunk else 1  # a few images need no padding
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
            with self._step("failed at"):
                requests.wait_all()
        if self._declaration is not None:
            for result in results:
                check_widths(result, self._declaration)
        return {
            name: np.concatenate([result[name] for result in results])[: len(images)]
            for name in self._names
        }


def _openvino() -> Any:
    """Import OpenVINO without the package that would report each import to a web service.

    OpenVINO goes on without that package if it can't be imported.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    reports = "openvino_telemetry"
    if "openvino" not in modules and reports not in modules:
        modules[reports] = None  # Python's way to say that a module can't be imported
        try:
            import openvino
        finally:
            modules.pop(reports, None)
    import openvino

    return openvino


def _described_model(spec: Spec, names: Sequence[str], weights: Weights) -> bytes:
    """Write a described backbone as an ONNX model whose outputs are the wanted embeddings."""
    graph = Graph()
    rows = backbone_nodes(graph, "images", spec, names, weights.tensors)
    outputs = {
        name: (value, np.float32, ("n", "d")) for name, value in zip(names, rows, strict=True)
    }
    model = graph.model({"images": (np.uint8, ("n", *spec.size, 3))}, outputs)
    return bytes(model.SerializeToString())
