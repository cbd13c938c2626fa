"""A backbone without weights, for control: whether colours alone tell the classes apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlfeatures.features.engines.engine import BATCH_SIZE


def pixel_shapes(size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Give the shape of each layer's output."""
    return {"grid4": (4, 4, 3), "grid8": (8, 8, 3), "mean": (3,)}


class PixelBackbone:
    """The image itself, downsampled to a grid of mean colours in [0, 1].

    Needs no weights and no TensorFlow. A head that does as well on `grid8.flatten` as on VGG16's
    embeddings has learned colours, not content.
    """

    one_shape = False
    most = BATCH_SIZE

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch of shape (b, h, w, 3); see `Backbone`."""
        return {name: self._pooled(images, *name.split(".")) for name in self._names}

    def _pooled(self, images: NDArray[np.uint8], layer: str, pool: str) -> NDArray[np.float32]:
        cells = 1 if layer == "mean" else int(layer.removeprefix("grid"))
        grid = _mean_colours(images, cells)
        if pool == "avg":
            grid = grid.mean(axis=(1, 2))
        if pool == "max":
            grid = grid.max(axis=(1, 2))
        return np.asarray(grid.reshape(len(images), -1), np.float32)


def _mean_colours(images: NDArray[np.uint8], cells: int) -> NDArray[np.float32]:
    """(b, h, w, 3) uint8 -> (b, cells, cells, 3): the mean of each cell of the image."""
    rows = cell_edges(images.shape[1], cells)[:-1]
    columns = cell_edges(images.shape[2], cells)[:-1]
    sums = np.add.reduceat(images.astype(np.float32) / 255, rows, axis=1)
    sums = np.add.reduceat(sums, columns, axis=2)
    heights = np.diff(rows, append=images.shape[1])[:, None, None]
    widths = np.diff(columns, append=images.shape[2])[:, None]
    return np.asarray(sums / (heights * widths), np.float32)


def cell_edges(side: int, cells: int) -> NDArray[np.int_]:
    """Give the pixels at which the cells of a side begin, and its end: shape (cells + 1,)."""
    return np.linspace(0, side, cells + 1).astype(int)
