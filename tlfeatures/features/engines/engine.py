"""What an engine is, and what it gives: a backbone that is ready to embed images."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tlfeatures.features.backbones.record import Backbone
from tlfeatures.features.backbones.tensors import Weights
from tlfeatures.features.spec import Spec

DEVICES = ("auto", "cpu", "gpu")

BATCH_SIZE = 32  # images of a batch on a CPU

_MAPS_BYTES = 1.25e9  # of memory, for the largest feature maps of a batch


class LoadedBackbone(Protocol):
    """A backbone that is ready to embed images.

    Attributes
    ----------
    one_shape : bool
        Whether another shape of the batch costs time, and may give other last bits, so that all
        batches are padded to one shape.
    most : int
        Number of images of a batch beyond which nothing is gained.
    """

    one_shape: bool
    most: int

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch in one forward pass.

        Parameters
        ----------
        images : ndarray of shape (b, h, w, 3), uint8
            RGB, of the spec's size.

        Returns
        -------
        dict of embedding name to ndarray of shape (b, d), float32
            Row i depends on image i alone.
        """
        ...


Load = Callable[[Spec, Sequence[str], str, Weights, int | None], LoadedBackbone]


@dataclass(frozen=True)
class Engine:
    """A library that computes a forward pass.

    Attributes
    ----------
    precisions : tuple of str
        Number formats in which it computes.
    loads : callable (Backbone) -> bool
        Whether it can build this backbone.
    load : callable (spec, names, device, weights, threads) -> LoadedBackbone
        Builds the backbone of a spec with the embeddings `names` as its outputs. `threads` limits
        the threads of a CPU; None stands for all cores.
    package : str
        Name of the package that it imports.
    gpu : bool
        Whether it can use one.
    requirement : str, optional
        What pip installs to get it, as in a shell; the package if not given.
    start_seconds : float
        About how long it takes to start it and to load a backbone, before this is measured.
    """

    precisions: tuple[str, ...]
    loads: Callable[[Backbone], bool]
    load: Load
    package: str
    gpu: bool = False
    requirement: str | None = None
    start_seconds: float = 1.0

    @property
    def installed(self) -> bool:
        """Whether its package is installed; it isn't imported."""
        return importlib.util.find_spec(self.package) is not None


def fitting_batch(backbone: Backbone, size: tuple[int, int], most: int) -> int:
    """Give the largest power of two, up to `most`, whose feature maps fit into 1.25 GB.

    At once there are two maps as large as the backbone's largest, of float32, and as much to work
    in as one of them.

    Parameters
    ----------
    backbone : Backbone
    size : (int, int)
        Height and width of the images, in pixels.
    most : int

    Returns
    -------
    int
        Number of images, 1 or more.
    """
    return fitting_count(backbone.largest_map(size), most)


def fitting_count(values: int, most: int) -> int:
    """Do what `fitting_batch` does, for a largest feature map of so many values."""
    fitting = _MAPS_BYTES / (3 * 4 * values)
    return 1 << max(0, min(int(fitting), most).bit_length() - 1)
