"""What is known of a backbone that is chosen by its name, before its weights are obtained.

Lists of backbones and help texts read it, so this module imports no NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tlfeatures.features.backbones.recipes.recipe import Recipe

Accuracy = tuple[float, float, float]  # of the best head, and the ends of its interval of 95 %


@dataclass(frozen=True)
class Application:
    """A network of `keras.applications`, without its top.

    Attributes
    ----------
    network : str
        Name of the class in `keras.applications`.
    layer : str
        Default layer, by its name in a network that is the first of its process.
    colour : {"RGB", "BGR"}
    mean, std : tuple of 3 float
        On the scale 0 to 255, in the order of `colour`.
    url : str
        Address of the file from which Keras takes the ImageNet weights.
    file : str
        Name of that file in Keras's folder of downloads.
    weights_by_size : bool
        Whether Keras has other ImageNet weights for other sizes of images. Those of the default
        size are used for all sizes, so that the weights are the same.
    own_weights_only : bool
        Whether Keras adds a layer to the network that belongs to its own download, so that the same
        weights from another file would give other features.
    """

    network: str
    layer: str
    colour: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    url: str
    file: str
    weights_by_size: bool = False
    own_weights_only: bool = False


@dataclass(frozen=True)
class NamedNetwork:
    """A backbone of the catalogue; exactly one of `recipe` and `application` is given.

    Attributes
    ----------
    name : str
        On the command line and in specs: letters, digits, `_` and `-`.
    title : str
        For people.
    width : int
        Number of values of the default embedding.
    default_size : int
        Height and width of its images unless the user gives others, in pixels.
    smallest : int
        Least height and width of its images, in pixels.
    parameters : int
        Number of the weights that the default embedding needs.
    licence, source : str
        Of the weights.
    near_duplicate : float or None
        Least similarity of two images that count as the same photograph; see
        `tlfeatures.dataset.duplicates`. None: it wasn't measured.
    accuracy : dict of "scenes" or "insects" to (accuracy, low, high)
        On the two reference sets; empty if it wasn't measured.
    recipe : Recipe, optional
        How its ONNX file is made of a package on the package index.
    application : Application, optional
        What Keras builds.
    """

    name: str
    title: str
    width: int
    default_size: int
    smallest: int
    parameters: int
    licence: str
    source: str
    near_duplicate: float | None = None
    accuracy: Mapping[str, Accuracy] = field(default_factory=dict)
    recipe: Recipe | None = None
    application: Application | None = None
