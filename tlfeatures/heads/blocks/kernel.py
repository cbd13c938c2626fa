"""The RBF kernel of rows and landmarks: Nystroem's approximation.

With m landmarks, a kernel machine on n rows is a linear one on n x m values of the kernel, which
are computed in blocks and never stored.

References
----------
Williams, C. and Seeger, M. (2000). Using the Nystroem method to speed up kernel machines. NIPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from scipy.linalg import eigh

from tlfeatures.heads.blocks.rows import (
    LEAST_ROWS,
    Floats,
    MatrixRows,
    Rows,
    Single,
    rough_products_of,
)

_RANK = 1e-7  # directions of the landmarks with a smaller share of the largest eigenvalue are noise


class LandmarkKernel:
    """Kernel values of rows and landmarks, computed block by block.

    Parameters
    ----------
    rows : MatrixRows
        n rows of d columns.
    landmarks : ndarray of shape (m, d), float32
    gamma : float
        Coefficient of the kernel exp(-gamma |a - b|^2).
    """

    def __init__(self, rows: MatrixRows, landmarks: Single, gamma: float) -> None:
        self._rows = rows
        self.landmarks, self.gamma = landmarks, gamma
        self._whole: LandmarkKernel | None = None

    @property
    def width(self) -> int:
        """Number of landmarks."""
        return len(self.landmarks)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def take(self, rows: Rows) -> LandmarkKernel:
        """Return the kernel of some of the rows."""
        part = LandmarkKernel(self._rows.take(rows), self.landmarks, self.gamma)
        part._whole = self
        return part

    def blocks(self, least: int = LEAST_ROWS) -> Iterator[tuple[slice, Single]]:
        """Yield the positions of some rows, and their kernel values, (rows, m), float32."""
        step = max(least, len(self.landmarks))
        for part, block in self._rows.blocks(least):
            for start in range(0, len(block), step):
                some = block[start : start + step]
                first = part.start + start
                yield slice(first, first + len(some)), self._values(some)

    def _values(self, block: Single) -> Single:
        own = np.einsum("ij,ij->i", self.landmarks, self.landmarks)
        exponents: Single = block @ self.landmarks.T
        exponents *= 2
        exponents -= own
        exponents -= np.einsum("ij,ij->i", block, block)[:, None]
        np.minimum(exponents, 0, out=exponents)
        exponents *= np.float32(self.gamma)
        return np.exp(exponents, out=exponents)

    @cached_property
    def rough_products(self) -> Floats:
        """See `rough_products_of`; computed at the first use."""
        return rough_products_of(self, self._whole)

    @cached_property
    def basis(self) -> Floats:
        """Return B of shape (m, r) with B'KB = I for the kernel K of the landmarks."""
        if self._whole is not None:
            return self._whole.basis
        own = LandmarkKernel(MatrixRows(self.landmarks), self.landmarks, self.gamma)
        kernel = np.concatenate([block for _, block in own.blocks()]).astype(np.float64)
        values, vectors = eigh((kernel + kernel.T) / 2)
        kept = values > values[-1] * _RANK
        basis: Floats = vectors[:, kept] / np.sqrt(values[kept])
        return basis
