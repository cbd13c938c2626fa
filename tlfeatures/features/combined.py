"""Combined embeddings: the columns of several embeddings, named `A+B+C`.

The parts may come from several backbones. Each part then has the name of its backbone in front of
it, as in `vgg16:block5_pool.avg+mobilenetv2:features.none`.

Before they are combined, every row of every part is scaled to length 1, so that the size of a
part's values does not decide how much it counts. Heads standardise all columns afterwards; the
scaling only removes the overall strength of an image's activations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.features.spec import Spec

PLUS = "+"
COLON = ":"


@dataclass(frozen=True)
class BackbonePart:
    """The part of an embedding that one backbone computes.

    Attributes
    ----------
    name : str
        Name of the backbone in the name of the embedding; empty if it is the only backbone.
    spec : Spec
        Settings with which the part is computed.
    embedding : str
        `LAYER.POOLING`, or several of this backbone joined as `A+B`.
    """

    name: str
    spec: Spec
    embedding: str

    @property
    def whole_name(self) -> str:
        """Name of the part in the name of the embedding, as in `vgg16:A+vgg16:B`."""
        if not self.name:
            return self.embedding
        return PLUS.join(f"{self.name}{COLON}{part}" for part in parts_of(self.embedding))


def joined_name(backbones: Iterable[BackbonePart]) -> str:
    """Return the name of the embedding that several backbones compute together."""
    return PLUS.join(part.whole_name for part in backbones)


def split_name(embedding: str) -> dict[str, str]:
    """Return the embedding of each backbone by its name; the inverse of `joined_name`."""
    found: dict[str, list[str]] = {}
    for part in parts_of(embedding):
        name, _, own = part.rpartition(COLON)
        found.setdefault(name, []).append(own)
    return {name: PLUS.join(own) for name, own in found.items()}


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
    return _side_by_side([values[part] for part in parts], [True] * len(parts))


def join_backbones(
    values: Sequence[NDArray[np.float32]], embeddings: Sequence[str]
) -> NDArray[np.float32]:
    """Combine the parts that several backbones have computed.

    Parameters
    ----------
    values : sequence of ndarray of shape (..., d_i), float32
        The rows of each backbone, as `join` has returned them.
    embeddings : sequence of str
        The embedding of each backbone, without its name.

    Returns
    -------
    ndarray of shape (..., d), float32
        The same columns as if all parts were given to `join`. The rows of a single backbone are
        returned unchanged.
    """
    if len(values) == 1:
        return values[0]
    # The parts of an embedding that is already joined have length 1.
    return _side_by_side(values, [PLUS not in embedding for embedding in embeddings])


def _side_by_side(
    blocks: Sequence[NDArray[np.float32]], scaled: Sequence[bool]
) -> NDArray[np.float32]:
    """Put columns side by side; `scaled` says which blocks have their rows scaled to length 1."""
    widths = [rows.shape[-1] for rows in blocks]
    joined = np.empty((*blocks[0].shape[:-1], sum(widths)), np.float32)
    for rows, end, width, to_scale in zip(blocks, np.cumsum(widths), widths, scaled, strict=True):
        columns = joined[..., end - width : end]
        if not to_scale:
            columns[...] = rows
            continue
        squares = np.einsum("...i,...i->...", rows, rows, dtype=np.float64)
        lengths = np.sqrt(squares)[..., None]
        lengths[lengths == 0] = 1  # a row of zeros stays as it is
        np.divide(rows, lengths, out=columns, casting="same_kind")
    return joined
