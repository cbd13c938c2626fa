"""Near-duplicates of training images: a sketch of all images that a head was fitted on.

`evaluate` leaves out an image that a model was fitted on. The sha256 of its file recognises it, but
not a copy of it that was saved again, for example at another size. Such a copy is found as
`load_dataset` finds it, by the similarity that `tlfeatures.dataset.duplicates` defines. For this, a
model keeps a sketch of each training image: the square roots of its embedding, scaled to length 1,
in at most 512 columns (`tlfeatures.models.random_sums`), rounded to 8 bits. From 25,000 training
images on, there are fewer columns, so that all images need 12.8 MB, but at least 128 columns. The
scales are computed from a sample of the training images.

`benchmarks/honesty.md` shows which copies are found. Shallow layers confuse textures, so an
embedding without the deepest feature map of its backbone, or a later layer, has no sketch. If an
embedding joins several layers, the deepest one is used. An embedding of fewer than 64 columns has
no sketch either. If several backbones compute the embedding, each of them has a sketch, and an
image is a near-duplicate if one of them finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.dataset.duplicates import LEAST_COLUMNS, resembles
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import FormatError, ParameterError
from tlfeatures.features.backbones.table import embedding_widths
from tlfeatures.features.combined import BackbonePart, parts_of
from tlfeatures.models.random_sums import sketched

_LEAST, _MOST = 128, 512  # largest number of columns of a sketch, for many and for few images
_BYTES = 12_800_000  # of the sketch, as long as it has more than the least columns
_LARGEST = 127  # of int8
_BLOCK = 1024  # number of images that are sketched in one step

Columns = tuple[int, int] | None  # the first column, and the one after the last


@dataclass(frozen=True, eq=False)
class TrainingSketch(EqualByValue):
    """A sketch of all images that a head was fitted on.

    Attributes
    ----------
    values : ndarray of shape (n, w), int8
        One row for each training image; zeros if its embedding is zero. The sketches of several
        backbones are side by side.
    columns : tuple of (int, int) or None
        For each backbone, the columns of the embedding that are sketched, as the first one and the
        one after the last. None if the backbone has no sketch.
    """

    values: NDArray[np.int8]
    columns: tuple[Columns, ...]

    @classmethod
    def fit(
        cls, X: NDArray[np.float32], backbones: Sequence[BackbonePart]
    ) -> TrainingSketch | None:
        """Sketch the training images.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32
            Embeddings.
        backbones : sequence of BackbonePart
            The parts of the embedding, in the order of its columns.

        Returns
        -------
        TrainingSketch, or None if no backbone has a sketch
        """
        columns = tuple(_columns_for_copies(backbones, X.shape[1]))
        if not any(columns):
            return None
        values = [
            np.concatenate(
                [
                    _quantised(X[start : start + _BLOCK, slice(*own)], _width(own, len(X)))
                    for start in range(0, max(len(X), 1), _BLOCK)
                ]
            )
            for own in columns
            if own is not None
        ]
        return cls(np.hstack(values), columns)

    @classmethod
    def of(
        cls, facts: Any, values: NDArray[Any] | None, images: int, columns: int, backbones: int
    ) -> TrainingSketch | None:
        """Create it from the facts and the array of a model file; None if there are none.

        Parameters
        ----------
        facts : list of [int, int] or None, or None
            `columns`; `fact_schema` has checked the types.
        values : ndarray or None
        images, columns, backbones : int
            Numbers of training images, columns of the embedding, and backbones of the model.

        Raises
        ------
        FormatError
            If facts and array don't fit each other or the model.
        """
        if facts is None or values is None:
            return None
        ranges = tuple(None if own is None else (own[0], own[1]) for own in facts)
        used = [own for own in ranges if own is not None]
        fits = len(ranges) == backbones and all(
            0 <= start <= stop - LEAST_COLUMNS and stop <= columns for start, stop in used
        )
        width = sum(_width(own, images) for own in used)
        if not fits or values.dtype != np.int8 or values.shape != (images, width) or not width:
            raise FormatError(
                f"its sketch of {images} images has the shape {values.shape} and type "
                f"{values.dtype}, which doesn't fit the columns {facts}"
            )
        return cls(values, ranges)

    def facts(self) -> list[list[int] | None]:
        """Return `columns` as JSON-ready facts."""
        return [None if own is None else list(own) for own in self.columns]

    def finds(
        self, X: NDArray[np.float32], thresholds: Sequence[float | None]
    ) -> NDArray[np.bool_] | None:
        """Return whether each new image is a near-duplicate of a training image.

        Parameters
        ----------
        X : ndarray of shape (m, d), float32
            Embeddings of the new images.
        thresholds : sequence of float or None
            For each backbone, the smallest similarity of near-duplicates. None: they are not
            searched with this backbone.

        Returns
        -------
        ndarray of shape (m,), bool, or None if near-duplicates are searched with no backbone
        """
        found = None
        for (own, known), threshold in zip(self._sketches(), thresholds, strict=True):
            if own is None or threshold is None:
                continue
            found = np.zeros(len(X), bool) if found is None else found
            new = _quantised(X[:, slice(*own)], known.shape[1])
            rows = np.flatnonzero(new.any(axis=1))
            found[rows] |= resembles(new[rows], known[known.any(axis=1)], threshold)
        return found

    def _sketches(self) -> Iterator[tuple[Columns, NDArray[np.int8]]]:
        """Yield the columns of each backbone, and its part of `values`."""
        end = 0
        for own in self.columns:
            start, end = end, end + (0 if own is None else _width(own, len(self.values)))
            yield own, self.values[:, start:end]


def _width(columns: tuple[int, int], images: int) -> int:
    """Return the number of columns of the sketch of some columns of so many training images."""
    start, stop = columns
    return min(stop - start, max(_LEAST, min(_MOST, _BYTES // max(images, 1))))


def _quantised(X: NDArray[np.float32], width: int) -> NDArray[np.int8]:
    """Return the sketch of rows in 8 bits, (n, width). The largest value of each row is 127.

    Rows of any length are compared (`resembles`), so the factor of a row is not needed. New rows
    are rounded like the stored ones, so that equal embeddings have equal sketches.
    """
    values = np.zeros((len(X), width), np.int8)
    rows = np.flatnonzero(X.any(axis=1))
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        points = sketched(X[part], width)
        largest = np.abs(points).max(axis=1, keepdims=True)
        values[part] = np.rint(points * (_LARGEST / np.maximum(largest, np.finfo(np.float32).tiny)))
    return values


def _columns_for_copies(backbones: Sequence[BackbonePart], columns: int) -> Iterator[Columns]:
    """Yield, for each backbone, the columns in which its near-duplicates are searched."""
    widths = [_widths(part) for part in backbones]
    if sum(sum(own.values()) for own in widths) != columns:
        # Imported embeddings, and those of a backbone that this version doesn't have.
        alone = len(backbones) == 1 and len(parts_of(backbones[0].embedding)) == 1
        whole = (0, columns) if alone and columns >= LEAST_COLUMNS else None
        yield from [whole] * len(backbones)
        return
    start = 0
    for part, own in zip(backbones, widths, strict=True):
        yield _of_deepest(part, own, start)
        start += sum(own.values())


def _widths(part: BackbonePart) -> dict[str, int]:
    """Return the width of each embedding of a backbone; empty if it isn't known."""
    backbone = part.spec.known_backbone
    if backbone is None:
        return {}
    try:
        return embedding_widths(backbone, parts_of(part.embedding), [], part.spec.size)
    except ParameterError:
        return {}


def _of_deepest(part: BackbonePart, widths: dict[str, int], start: int) -> Columns:
    """Return the columns of the deepest layer, if it is deep enough and wide enough."""
    backbone = part.spec.known_backbone
    shapes = {} if backbone is None else backbone.shapes(part.spec.size)
    layers = list(shapes)
    maps = [number for number, shape in enumerate(shapes.values()) if len(shape) > 1]
    enough = maps[-1] if maps else 0
    best: tuple[int, Columns] = (-1, None)
    for name, width in widths.items():
        layer = name.rpartition(".")[0]
        depth = layers.index(layer) if layer in layers else -1
        if depth >= enough and width >= LEAST_COLUMNS and depth > best[0]:
            best = depth, (start, start + width)
        start += width
    return best[1]
