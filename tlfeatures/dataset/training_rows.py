"""Training rows: the images of a dataset and their variants, as rows of one matrix.

The variants of a training image are training rows as well. Variants are never tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.equality import EqualByValue

Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class TrainingRows(EqualByValue):
    """The images of a dataset, followed by their variants.

    Attributes
    ----------
    X : ndarray of shape (n + n v, d), float32
        Embeddings of n images, and of v variants of each image. Without variants, X is the same
        array as in the dataset.
    y : ndarray of shape (n + n v,), str
        Label of each row.
    together : ndarray of shape (n + n v,), int, or None
        Group number of each row, see `Dataset`. An image and its variants are in the same group.
    image : ndarray of shape (n + n v,), int
        Index of the image from which the row was computed.
    variant : ndarray of shape (n + n v,), int
        0 for an image itself, otherwise the number of its variant.
    """

    X: NDArray[np.float32]
    y: NDArray[np.str_]
    together: NDArray[np.int64] | None
    image: NDArray[np.int64]
    variant: NDArray[np.int64]

    @classmethod
    def of(cls, data: Dataset) -> TrainingRows:
        """Create the training rows of a dataset."""
        n, v = len(data.y), data.n_variants
        images = np.arange(n)
        if data.variants is None or not v:
            return cls(data.X, data.y, data.together, images, np.zeros(n, np.int64))
        together = images if data.together is None else data.together
        return cls(
            X=np.concatenate([data.X, data.variants.reshape(n * v, -1)]),
            y=np.concatenate([data.y, data.y.repeat(v)]),
            together=np.concatenate([together, together.repeat(v)]),
            image=np.concatenate([images, images.repeat(v)]),
            variant=np.concatenate([np.zeros(n, np.int64), np.tile(np.arange(1, v + 1), n)]),
        )

    @staticmethod
    def count(data: Dataset) -> int:
        """Return the number of training rows of a dataset, without creating them."""
        return len(data.y) * (1 + data.n_variants)

    def of_images(self, images: Rows) -> Rows:
        """Return the rows of some images and of their variants, from the indices of the images."""
        n = int((self.variant == 0).sum())
        v = len(self.variant) // max(n, 1) - 1
        variants = n + images[:, None] * v + np.arange(v)
        return np.concatenate([images, variants.ravel()])
