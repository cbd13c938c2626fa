"""A backbone without weights, as a control: it shows whether colours alone separate the classes.

NumPy is imported when an image is embedded, so that the record can be read without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlfeatures.features.backbones.network import Shapes
from tlfeatures.features.backbones.record import Backbone, Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PixelBackbone:
    """The image itself, downsampled to a grid of mean colours in [0, 1].

    A head that does as well on `grid8.flatten` as on a network's embeddings has learned colours,
    not content.

    Parameters
    ----------
    names : sequence of str
        The embeddings wanted, `LAYER.POOLING`.
    """

    one_shape = False
    most = 32

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def embed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Embed a batch of shape (b, h, w, 3); see `LoadedBackbone`."""
        return {name: _embedding(images, *name.split(".")) for name in self._names}


def cells_of(layer: str) -> int:
    """Give the number of cells along a side of a layer's grid."""
    return 1 if layer == "mean" else int(layer.removeprefix("grid"))


def cell_edges(side: int, cells: int) -> NDArray[np.int_]:
    """Give the pixels at which the cells of a side begin, and its end: shape (cells + 1,)."""
    import numpy as np

    return np.linspace(0, side, cells + 1).astype(int)


def _embedding(images: NDArray[np.uint8], layer: str, pool: str) -> NDArray[np.float32]:
    import numpy as np

    grid = _mean_colours(images, cells_of(layer))
    if pool == "avg":
        grid = grid.mean(axis=(1, 2))
    if pool == "max":
        grid = grid.max(axis=(1, 2))
    return np.asarray(grid.reshape(len(images), -1), np.float32)


def _mean_colours(images: NDArray[np.uint8], cells: int) -> NDArray[np.float32]:
    """(b, h, w, 3) uint8 -> (b, cells, cells, 3): the mean of each cell of the image."""
    import numpy as np

    rows = cell_edges(images.shape[1], cells)[:-1]
    columns = cell_edges(images.shape[2], cells)[:-1]
    sums = np.add.reduceat(images.astype(np.float32) / 255, rows, axis=1)
    sums = np.add.reduceat(sums, columns, axis=2)
    heights = np.diff(rows, append=images.shape[1])[:, None, None]
    widths = np.diff(columns, append=images.shape[2])[:, None]
    return np.asarray(sums / (heights * widths), np.float32)


def _shapes(size: tuple[int, int]) -> Shapes:
    return {"grid4": (4, 4, 3), "grid8": (8, 8, 3), "mean": (3,)}


PIXELS = Backbone(
    name="pixels",
    title="mean colours (no network)",
    default_layer="grid8",
    preprocessing=Preprocessing(divisor=255),
    smallest=8,
    shapes=_shapes,
    near_duplicate=0.4,  # not measured: the limit of the networks
    load=PixelBackbone,
)
