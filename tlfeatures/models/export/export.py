"""`export`: a model as one ONNX file, from pixels to probabilities, for ONNX Runtime alone.

The graph takes ``images``, uint8 RGB of shape (n, h, w, 3), of the spec's size and of any number,
and gives ``probabilities``, float32 of shape (n, k), and ``label``, text of shape (n,).
Preprocessing, backbone and pooling are float32, the head float64.

Its ``metadata_props``, texts: ``format`` ("tlfeatures onnx"), ``format_version``, ``head``,
``embedding``, ``precision``, ``model_precision`` (of the embeddings that the head was fitted on),
and as JSON ``labels`` (the classes, in the order of the probabilities), ``spec`` (how images become
embeddings), ``model`` (facts of the model file: how it was fitted and scored, and its operating
point, whose threshold ``label`` follows), ``versions``. Its ``doc_string`` says how to prepare an
image.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tlfeatures.errors import ModelError, OutputError, ParameterError
from tlfeatures.features.engines.onnx_graph import Graph
from tlfeatures.features.engines.onnx_session import in_short, session
from tlfeatures.features.images.inputs import Images
from tlfeatures.features.images.value_range import format_value_range
from tlfeatures.features.spec import Spec
from tlfeatures.file_result import FileResult
from tlfeatures.files import check_ending, file_target, replace_file
from tlfeatures.html_tables import Cell
from tlfeatures.models.embedding_run import check_width
from tlfeatures.models.export.backbone import add_backbone, only_spec
from tlfeatures.models.export.check import LARGEST_DIFFERENCE, Check, check_export
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.input_images import list_images
from tlfeatures.names import MOST_CLASSES, counted, some_of

FORMAT = "tlfeatures onnx"
FORMAT_VERSION = 1

# Facts of the model file, besides labels, head and spec, that are useful to users of the graph.
_KEPT = [
    *("images", "variants", "counts", "columns", "params", "tuned"),
    *("split", "folds", "groups", "copies", "compared", "tested", "scores", "operating_point"),
]


@dataclass(frozen=True, repr=False)
class Export(FileResult):
    """The exported file.

    Attributes
    ----------
    file : str
    bytes : int
        Size of the file.
    head, embedding : str
        Names of the head and of the embedding.
    classes : list of str
        Names of the classes, in the order of the probabilities.
    size : list of int
        Height and width in pixels of the images that the graph takes.
    precision : str
        Precision of the graph's backbone: float32.
    model_precision : str
        Precision of the embeddings that the head was fitted on.
    weights : str
        Weights of the spec: `imagenet`, `random`, `none` or a path.
    check : Check or None
        Comparison of the file with the model, if images were given.
    """

    bytes: int
    head: str
    embedding: str
    classes: list[str]
    size: list[int]
    precision: str
    model_precision: str
    weights: str
    check: Check | None = None

    def _about(self) -> str:
        classes = counted(len(self.classes), "class")
        return f"{self.head} on {self.embedding}, {classes}, {self.bytes / 1e6:.1f} MB"

    def _facts(self) -> Mapping[str, Cell]:
        facts: dict[str, Cell] = {
            "images": f"{self.size[0]} x {self.size[1]} pixels",
            "classes": some_of(self.classes, MOST_CLASSES),
            "precision": self.precision,
            "precision of the model": self.model_precision,
        }
        if self.check is not None:
            facts |= {
                "checked on": counted(self.check.images, "image"),
                "largest difference of a probability": f"{self.check.largest_difference:.1e}",
                "different labels": self.check.labels_differ,
                "images/s": f"{self.check.onnx_images_per_second:.1f}",
            }
        return facts


def export(
    model: FittedHead | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    weights: str | None = None,
    check: Images | None = None,
) -> Export:
    """Write a model as one ONNX file that needs neither this package nor TensorFlow.

    TensorFlow is needed only for `check`, and not for writing the file.

    Parameters
    ----------
    model : Model or path
    output : path
        The new file. An existing file is replaced if this function has written it, after the new
        file is complete.
    weights : str, optional
        File of the backbone's weights, if it was moved since the head was fitted.
    check : path, array or Pillow image, or iterable of them, optional
        Images, or folders of image files. The file and the model label them in alternating turns,
        in float32; `Export.check` has their differences and their speed.

    Returns
    -------
    Export

    Raises
    ------
    ParameterError
        If there is no such model, or `output` is a folder or a file of another program.
    ModelError
        If the head can't be exported, a package is missing, the check finds different
        probabilities, or the file can't be written.
    SourceError
        If there is no image for the check, or no image can be read.
    WeightsError
        If the weights are not those of the spec.
    SpecError
        If this version can't do what the spec requires.
    """
    _check_extra()
    target = check_export_target(output)
    images = None if check is None else list_images(check)  # raises its errors before the work
    model = model if isinstance(model, FittedHead) else FittedHead.load(model)
    spec = only_spec(model)
    data = _serialized(_graph_of(model, weights))
    _check_runs(data, model)
    checked = None if images is None else check_export(data, model, images, weights)
    if checked is not None and not checked.passed:
        raise ModelError(
            "the graph's probabilities differ from the model's by "
            f"{checked.largest_difference:.1e}, more than {LARGEST_DIFFERENCE}, so it was not "
            "written; please report it"
        )
    try:
        replace_file(target, data)
    except OutputError as error:
        raise ModelError(str(error)) from error
    return Export(
        file=str(output),
        bytes=len(data),
        head=model.info["head"],
        embedding=model.embedding,
        classes=model.classes,
        size=list(spec.size),
        precision="float32",
        model_precision=spec.precision,
        weights=spec.weights,
        check=checked,
    )


def check_export_target(path: str | os.PathLike[str]) -> Path:
    """Check that an ONNX file can be written to a path without replacing another file.

    Returns
    -------
    Path
        The path with links resolved, so that a link remains a link.

    Raises
    ------
    ParameterError
        If the path is a folder, its folder doesn't exist, or `export` didn't write the file.
    """
    check_ending(path, "an ONNX file")
    target = file_target(path, "model.onnx", "the file")
    if target.exists() and not _is_ours(target):
        raise ParameterError(
            f"{path} exists and is no ONNX file of tlfeatures; give another name, or remove it"
        )
    return target


def _is_ours(path: Path) -> bool:
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # the parser may fail anywhere on a file of another kind
        return False
    return any(prop.key == "format" and prop.value == FORMAT for prop in model.metadata_props)


def _check_extra() -> None:
    for package in ("onnx", "skl2onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ModelError(f"`tlfeatures export` needs {package}: pip install 'tlfeatures[onnx]'")
        try:
            importlib.import_module(package)
        except ImportError as error:  # the package is partly installed
            raise ModelError(f"{package} can't be imported: {error}; install it again") from error


def _graph_of(model: FittedHead, weights: str | None) -> Any:
    from onnx import helper

    from tlfeatures.models.export.head import add_head
    from tlfeatures.models.export.labels import add_labels

    check_width(model)
    spec = only_spec(model)
    graph = Graph()
    rows = add_backbone(graph, "images", spec, model.embedding, weights)
    probabilities, labels = add_head(graph, model.head, rows, model.info["columns"])
    if model.operating_point is not None:
        labels = add_labels(graph, probabilities, model.operating_point, model.classes)
    onnx_model = graph.model(
        {"images": (np.uint8, ("n", *spec.size, 3))},
        {
            "probabilities": (
                graph.cast(probabilities, np.float32),
                np.float32,
                ("n", len(model.classes)),
            ),
            "label": (labels, np.str_, ("n",)),
        },
        doc_string=_how_to_use(spec, _meaning_of_labels(model)),
        producer_name="tlfeatures",
        producer_version=metadata.version("tlfeatures"),
    )
    helper.set_model_props(onnx_model, _facts(model))
    return onnx_model


def _serialized(onnx_model: Any) -> bytes:
    try:
        return bytes(onnx_model.SerializeToString())
    except Exception as error:  # protobuf's own classes, which differ between its versions
        raise ModelError(
            "the graph has more than 2 GB, the limit of an ONNX file: fit on a smaller backbone"
        ) from error


def _check_runs(data: bytes, model: FittedHead) -> None:
    """Run the graph on a black image, because the columns of a damaged model may not match."""
    spec = only_spec(model)
    black = np.zeros((1, *spec.size, 3), np.uint8)
    try:
        table, _ = session(data).run(None, {"images": black})
    except Exception as error:  # the runtime has its own classes, which promise nothing
        raise ModelError(
            "the model's graph does not run, the model file is damaged; fit it again: "
            + in_short(error)
        ) from error
    if table.shape != (1, len(model.classes)):
        raise ModelError(
            f"the graph gives {table.shape[1]} probabilities, the model has {len(model.classes)} "
            "classes: the model file is damaged; fit it again"
        )


def _facts(model: FittedHead) -> dict[str, str]:
    spec = only_spec(model)
    packages = ("tlfeatures", "onnx", "skl2onnx")
    versions = {package: metadata.version(package) for package in packages}
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "head": model.info["head"],
        "embedding": model.embedding,
        "precision": "float32",
        "model_precision": spec.precision,
        "labels": json.dumps(model.classes),
        "spec": json.dumps({**spec.to_dict(), "weights": _weights_name(spec)}),
        "model": json.dumps({name: model.info[name] for name in _KEPT if name in model.info}),
        "versions": json.dumps({**model.info.get("versions", {}), **versions}),
    }


def _weights_name(spec: Spec) -> str:
    """Return the name without its path: the graph holds the tensors and is copied elsewhere."""
    return Path(spec.weights).name


def _shades(spec: Spec) -> str:
    if spec.value_range is None:
        return ""
    low, high = format_value_range(spec.value_range).split(",")
    return f", with more than 8 bits a channel {low} is black and {high} is white"


def _meaning_of_labels(model: FittedHead) -> str:
    point = model.operating_point
    if point is None:
        return "the class that the head decides for"
    return (
        f"{point.label} if its probability is {point.threshold!r} or more (operating point "
        f"{point.at}), otherwise the most probable other class"
    )


def _how_to_use(spec: Spec, label: str) -> str:
    height, width = spec.size
    text = (
        f"images: uint8 RGB of shape (n, {height}, {width}, 3), n from 1 up, values 0 to 255 as "
        f"they are. Prepare each image in this order: orientation: {spec.orientation}; alpha: "
        f"{spec.alpha}; color: {spec.color}{_shades(spec)}; crop: {spec.crop}; resize to height "
        f"{height} and width {width}: {spec.resize}, as Pillow's resize(({width}, {height}), "
        "BILINEAR) does it. "
        f"Leave the channels in the order RGB: the graph does the rest ({spec.preprocessing}). "
        f"probabilities: float32 (n, k), in the order of the metadata's labels; label: {label}."
    )
    if spec.declaration is not None:
        text += (
            f" The network is {spec.backbone}; source: {spec.declaration.source or 'not stated'}; "
            f"licence: {spec.declaration.licence or 'not stated'}."
        )
    backbone = spec.known_backbone
    if backbone is not None and backbone.is_published(spec.weights_sha256):
        text += f" The weights are those of {backbone.credit()}."
    return text
