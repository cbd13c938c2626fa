"""A network as data: what its file or its library states, and what is declared about it.

All backbones but VGG16 and pixels are declared. A declaration is complete for one image size. It is
a part of the spec, so that a file of embeddings and a model say everything about their backbone but
its weights.
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from tlfeatures.errors import FormatError
from tlfeatures.features.backbones.declaration_values import (
    choice_of,
    colours_of,
    first_of,
    known_keys,
    name_of,
    number_of,
    prefix_of,
    shape_of,
    shortened,
    similarity_of,
    text_of,
)
from tlfeatures.features.backbones.network import Shape, Shapes
from tlfeatures.features.backbones.record import Backbone, Preprocessing, default_pool

FORMATS = ("onnx", "keras_application", "keras_file", "keras_hub")
LAYOUTS = ("NCHW", "NHWC")
TOKENS = "tokens"  # in place of a layout: (tokens, values) for each image
COLOURS = ("RGB", "BGR")
NUMBERS = ("float32", "uint8")

MOST_OUTPUTS = 32


@dataclass(frozen=True)
class Output:
    """One tensor of the network, as a layer.

    Attributes
    ----------
    layer : str
        Name in embeddings, `LAYER.POOLING`.
    tensor : str
        Name in an ONNX file; position of the layer in a Keras network.
    layout : {"NCHW", "NHWC", "tokens"} or None
        Axes of a feature map; "tokens" for the output of a vision transformer; None for a vector.
    shape : tuple of int
        (height, width, channels) of a feature map, whatever its layout, (tokens, values), or
        (values,).
    prefix : int
        Number of tokens before those of the patches, such as the class token.
    """

    layer: str
    tensor: str
    layout: str | None
    shape: Shape
    prefix: int = 0

    @property
    def default_pool(self) -> str:
        """The pooling that is used if none is chosen."""
        return default_pool(self.shape, self.prefix)


@dataclass(frozen=True)
class CheckVector:
    """Features of the check image, which reveal wrong preprocessing.

    Attributes
    ----------
    layer : str
        Layer of the features, in its default pooling.
    size : (int, int)
        Height and width of the check image, in pixels.
    norm : float
        Euclidean length of the features.
    first : tuple of float
        The first values.
    """

    layer: str
    size: tuple[int, int]
    norm: float
    first: tuple[float, ...]


@dataclass(frozen=True)
class Declaration:
    """All facts about a network except its weights, for images of one size.

    Attributes
    ----------
    name : str
    format : {"onnx", "keras_application", "keras_file", "keras_hub"}
        What the network is: a file, or a network of a library.
    network : str
        Name of the network in its library; empty for a file.
    input : str
        Name of the tensor that takes the images.
    numbers : {"float32", "uint8"}
        Type of the input.
    layout : {"NCHW", "NHWC"}
        Axes of the input.
    colour : {"RGB", "BGR"}
    mean, std : tuple of 3 float, or None
        On the scale 0 to 255, in the order of `colour`; None for an input of uint8.
    outputs : tuple of Output
        In the order in which the network computes them.
    default_layer : str
    check : CheckVector or None
    near_duplicate : float or None
        Least similarity of two images that count as the same photograph; see
        `tlfeatures.dataset.duplicates`. None: it wasn't measured.
    source, licence : str
        As the user states them; may be empty.
    """

    name: str
    format: str
    network: str
    input: str
    numbers: str
    layout: str
    colour: str
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    outputs: tuple[Output, ...]
    default_layer: str
    check: CheckVector | None
    near_duplicate: float | None
    source: str
    licence: str

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to the pixels before the first layer."""
        return Preprocessing(channels=self.colour, mean=self.mean, std=self.std)

    @property
    def record(self) -> Backbone:
        """The record of this backbone: one object for equal declarations."""
        return _record(self)

    def output(self, layer: str) -> Output:
        """Return the output with this layer name."""
        return next(output for output in self.outputs if output.layer == layer)

    def contradiction(self, other: Declaration) -> tuple[str, str, str] | None:
        """Return the first difference in how two declarations read the same network.

        Layers that only one of them has don't count.

        Returns
        -------
        (name, own value, other's value) or None
        """
        mine = self._tensors()
        for name, theirs in other._tensors().items():
            if mine.get(name, theirs) != theirs:
                return name, mine[name], theirs
        return None

    def _tensors(self) -> dict[str, str]:
        """Describe network, input and layers: name and axes of their tensors."""
        tensors = {"input": f"{self.input} ({self.layout})"}
        tensors["network"] = f"{self.format} {self.network}".strip()
        for output in self.outputs:
            axes = output.layout or "vector"
            prefix = f", {output.prefix} before the patches" if output.layout == TOKENS else ""
            tensors[f"layer {output.layer}"] = f"{output.tensor} ({axes}{prefix})"
        return tensors

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready plain data."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))  # lists, not tuples
        return plain

    @classmethod
    def from_dict(cls, data: Any) -> Declaration:
        """Read what `to_dict` wrote.

        Raises
        ------
        FormatError
            If it is something else.
        """
        try:
            return _parsed(data)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise FormatError(
                f"its spec has no declaration that this version reads: {error}"
            ) from error


def has_unknown_format(data: Any) -> bool:
    """Whether plain data is a declaration in a format that this version doesn't have."""
    name = data.get("format") if isinstance(data, dict) else None
    return isinstance(name, str) and name not in FORMATS


@functools.lru_cache(maxsize=16)
def _record(declaration: Declaration) -> Backbone:
    shapes: Shapes = {output.layer: output.shape for output in declaration.outputs}
    default = declaration.output(declaration.default_layer)
    return Backbone(
        name=declaration.name,
        title=declaration.name,
        default_layer=default.layer,
        default_embedding=f"{default.layer}.{default.default_pool}",
        preprocessing=declaration.preprocessing,
        smallest=1,
        shapes=lambda size: shapes,  # a declaration is made for one size
        near_duplicate=declaration.near_duplicate,
        prefix_tokens={output.layer: output.prefix for output in declaration.outputs},
        declared_format=declaration.format,
    )


def _parsed(data: Any) -> Declaration:
    known_keys(data, "it", {field.name for field in fields(Declaration)})
    outputs = tuple(_output(item) for item in data["outputs"])
    layers = [output.layer for output in outputs]
    if not 0 < len(layers) <= MOST_OUTPUTS or len(set(layers)) < len(layers):
        raise ValueError("its outputs are none, too many, or have a name twice")
    if data["default_layer"] not in layers:
        raise ValueError(f"there is no layer {shortened(data['default_layer'])}")
    mean, std, check = data["mean"], data["std"], data["check"]
    limit = data["near_duplicate"]
    return Declaration(
        name=name_of(data["name"], "name"),
        format=choice_of(data["format"], "format", FORMATS),
        network=text_of(data["network"], "network"),
        input=text_of(data["input"], "input"),
        numbers=choice_of(data["numbers"], "numbers", NUMBERS),
        layout=choice_of(data["layout"], "layout", LAYOUTS),
        colour=choice_of(data["colour"], "colour", COLOURS),
        mean=None if mean is None else colours_of(mean, "mean"),
        std=None if std is None else colours_of(std, "std", positive=True),
        outputs=outputs,
        default_layer=data["default_layer"],
        check=None if check is None else _check(check, layers),
        near_duplicate=None if limit is None else similarity_of(limit),
        source=text_of(data["source"], "source"),
        licence=text_of(data["licence"], "licence"),
    )


def _output(data: Any) -> Output:
    known_keys(data, "an output", {field.name for field in fields(Output)})
    layout = data["layout"]
    axes = {None: 1, TOKENS: 2}.get(layout, 3)
    shape = shape_of(data["shape"], (axes,), "an output")
    return Output(
        layer=name_of(data["layer"], "a layer"),
        tensor=text_of(data["tensor"], "a tensor"),
        layout=None if layout is None else choice_of(layout, "layout", (*LAYOUTS, TOKENS)),
        shape=shape,
        prefix=prefix_of(data["prefix"], shape[0] if layout == TOKENS else 1),
    )


def _check(data: Any, layers: list[str]) -> CheckVector:
    known_keys(data, "check", {field.name for field in fields(CheckVector)})
    if data["layer"] not in layers:
        raise ValueError(f"check: there is no layer {shortened(data['layer'])}")
    height, width = shape_of(data["size"], (2,), "check: the image")
    return CheckVector(
        data["layer"], (height, width), number_of(data["norm"], "norm"), first_of(data["first"])
    )
