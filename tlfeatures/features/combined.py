"""Combined embeddings: the columns of several embeddings, named `A+B+C`.

Before they are combined, every row of every part is scaled to length 1, so that the size of a
part's values does not decide how much it counts. Heads standardise all columns afterwards; the
scaling only removes the overall strength of an image's activations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError

PLUS = "+"


def parts_of(embedding: str) -> list[str]:
    """Return the names of the parts of an embedding; a single one is its own part.

    Raises
    ------
    ParameterError
        If a name is empty, or occurs twice.
    """
    parts = embedding.split(PLUS)
    if not all(parts) or len(set(parts)) < len(parts):
        raise ParameterError(
            f"embedding is {embedding!r}; expected LAYER.POOLING, or several different ones with "
            f"{PLUS} between them"
        )
    return parts


def join(values: Mapping[str, NDArray[np.float32]], embedding: str) -> NDArray[np.float32]:
    """Combine embeddings.

    Parameters
    ----------
    values : mapping of name to ndarray of shape (..., d_i), float32
        Every part of `embedding`, and possibly others.
    embedding : str
        Name of the combined embedding, or of a single one.

    Returns
    -------
    ndarray of shape (..., d), float32
        The columns of the parts in the order of the names; d is the sum of their widths. A single
        embedding is returned unchanged.
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
