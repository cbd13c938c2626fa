"""Training rows: the images of a dataset and their variants, as rows of one matrix.

Variants of an image are training rows if the image is one, and are never tested on.
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
        For n images and v variants of each. Without variants it is the X of the dataset.
    y : ndarray of shape (n + n v,), str
    together : ndarray of shape (n + n v,), int, or None
        As in `Dataset`; an image and its variants belong together.
    image : ndarray of shape (n + n v,), int
        Index of the image that the row is, or is a variant of.
    variant : ndarray of shape (n + n v,), int
        0 for an image itself, else the number of its variant.
    """

    X: NDArray[np.float32]
    y: NDArray[np.str_]
    together: NDArray[np.int64] | None
    image: NDArray[np.int64]
    variant: NDArray[np.int64]

    @classmethod
    def of(cls, data: Dataset) -> TrainingRows:
        """Lay a dataset out."""
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

    def of_images(self, images: Rows) -> Rows:
        """Give the rows of these images and of their variants."""
        n = int((self.variant == 0).sum())
        v = len(self.variant) // max(n, 1) - 1
        variants = n + images[:, None] * v + np.arange(v)
        return np.concatenate([images, variants.ravel()])
