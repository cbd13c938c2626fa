"""Adding the backbone of a spec, and its embedding, to the ONNX graph of a model."""

from __future__ import annotations

import numpy as np

from tlfeatures.errors import ModelError
from tlfeatures.features.combined import parts_of
from tlfeatures.features.engines.load import find_weights
from tlfeatures.features.engines.onnx_backbone import backbone_nodes
from tlfeatures.features.engines.onnx_graph import Graph, Value, row_squares
from tlfeatures.features.spec import Spec
from tlfeatures.models.export.declared import add_declared
from tlfeatures.models.fitted_head import FittedHead


def only_spec(model: FittedHead) -> Spec:
    """Return the spec of a model of one backbone.

    Raises
    ------
    ModelError
        If the model has several backbones.
    """
    if model.spec is None:
        names = ", ".join(part.name for part in model.backbones)
        raise ModelError(
            f"the model has several backbones ({names}) and can't be exported: label images with "
            "`tlfeatures predict`, or fit on the embedding of one backbone"
        )
    return model.spec


def add_backbone(
    graph: Graph, images: Value, spec: Spec, embedding: str, weights: str | None = None
) -> Value:
    """Add the backbone of a spec to a graph.

    Parameters
    ----------
    graph : Graph
    images : name of a value of shape (n, h, w, 3), uint8
        RGB, of the spec's size.
    spec : Spec
    embedding : str
        `LAYER.POOLING`, or several joined as `A+B`.
    weights : str, optional
        File of the weights, if it is not the file in the spec.

    Returns
    -------
    str
        Name of a value of shape (n, d), float32.

    Raises
    ------
    WeightsError
        If the weights are missing, or are not the weights of the spec.
    SpecError
        If this version can't prepare images as the spec requires.
    ModelError
        If this backbone has no ONNX form.
    """
    parts = parts_of(embedding)
    if spec.declaration is not None and spec.declaration.format != "onnx":
        raise ModelError(
            f"a model on the Keras network {spec.backbone} can't be exported: label images with "
            "`tlfeatures predict`, or fit on vgg16 or an ONNX network"
        )
    opened = find_weights(spec, parts, weights)
    if spec.declaration is not None and opened is not None:
        rows = add_declared(graph, images, spec.declaration, spec.size, parts, opened.content)
        return _joined(graph, rows)
    tensors = opened.tensors if opened else None
    rows = backbone_nodes(graph, images, spec.in_float32(), parts, tensors)
    return _joined(graph, rows)


def _joined(graph: Graph, parts: list[Value]) -> Value:
    """Join embeddings like `tlfeatures.features.combined.join`."""
    if len(parts) == 1:
        return parts[0]
    least = np.array(1e-30, np.float32)  # a row of zeros remains a row of zeros
    scaled = [
        graph.op("Div", rows, graph.op("Max", graph.op("Sqrt", row_squares(graph, rows)), least))
        for rows in parts
    ]
    return graph.op("Concat", *scaled, axis=1)
