"""Embeddings by name: `LAYER.POOLING`, or several side by side, `A+B+C`.

Side by side, each image's row of each part is scaled to length 1 first, so that a part has its
say whatever the size of its numbers. (Heads standardise every column afterwards; what is left of
the scaling is that an image's overall brightness of activation no longer counts.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError

PLUS = "+"


def parts_of(embedding: str) -> list[str]:
    """Give the names of the embeddings that stand side by side; of a plain one, itself.

    Raises
    ------
    ParameterError
        If a name is empty, or there twice.
    """
    parts = embedding.split(PLUS)
    if not all(parts) or len(set(parts)) < len(parts):
        raise ParameterError(
            f"embedding is {embedding!r}; expected LAYER.POOLING, or several different ones with "
            f"{PLUS} between them"
        )
    return parts


def join(values: Mapping[str, NDArray[np.float32]], embedding: str) -> NDArray[np.float32]:
    """Put embeddings side by side.

    Parameters
    ----------
    values : mapping of name to ndarray of shape (..., d_i), float32
        With every part of `embedding`.
    embedding : str

    Returns
    -------
    ndarray of shape (..., d), float32
        d is the sum of the widths, in the order of the names. A plain embedding is given as it is.
    """
    parts = parts_of(embedding)
    if len(parts) == 1:
        return values[parts[0]]
    widths = [values[part].shape[-1] for part in parts]
    joined = np.empty((*values[parts[0]].shape[:-1], sum(widths)), np.float32)
    for part, end, width in zip(parts, np.cumsum(widths), widths, strict=True):
        rows = values[part]
        squares = np.einsum("...i,...i->...", rows, rows, dtype=np.float64)
        lengths = np.sqrt(squares)[..., None]
        lengths[lengths == 0] = 1  # a row of zeros stays as it is
        np.divide(rows, lengths, out=joined[..., end - width : end], casting="same_kind")
    return joined
