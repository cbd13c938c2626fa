"""Embed some images of a file again, and compare the values with those that the file holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tlfeatures.features.embed import Batch, ComputeOptions, Embedder, EmbeddingRun
from tlfeatures.features.file.reader import Reader
from tlfeatures.features.images.identify import Manifest
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.row_cosines import row_cosines


class Comparison:
    """Values computed again, compared with those of the file, row by row.

    Parameters
    ----------
    count : int
        Number of rows of the file, n.

    Attributes
    ----------
    cosines : ndarray of shape (n,), float64
        Smallest cosine between an embedding of the image, or of a variant, and the stored one. NaN
        for rows that were not computed again.
    differences : ndarray of shape (n,), float64
        Largest absolute difference of a value; 0 for rows that were not computed again.
    unreadable : list of int
        Rows whose image cannot be read.
    """

    def __init__(self, count: int) -> None:
        self.cosines = np.full(count, np.nan)
        self.differences = np.zeros(count)
        self.unreadable: list[int] = []

    @property
    def count(self) -> int:
        """Number of rows that were computed again."""
        return int(np.isfinite(self.cosines).sum())

    @property
    def smallest_cosine(self) -> float | None:
        """The smallest cosine of all rows that were computed again; None if there are none."""
        return float(np.nanmin(self.cosines)) if self.count else None

    @property
    def largest_difference(self) -> float | None:
        """The largest difference of all rows that were computed again; None if there are none."""
        return float(self.differences.max()) if self.count else None


def recompute(
    reader: Reader,
    manifest: Manifest,
    rows: Sequence[int],
    options: ComputeOptions,
    advance: Callable[[int], None],
) -> Comparison:
    """Embed the images of some rows, and their variants, again by the file's own spec.

    Parameters
    ----------
    reader : Reader
    manifest : Manifest
        The images of the folder.
    rows : sequence of int
        Ascending.
    options : ComputeOptions
    advance : callable (images)
        Called after each batch.
    """
    header = reader.header
    result = Comparison(len(header.ids))
    record_of = {image.id: image for image in manifest.images}
    images = [ImageToRead.of(row, record_of[header.ids[row]], header.digests[row]) for row in rows]
    embedder = Embedder(header.spec, list(header.embeddings), options)
    run = EmbeddingRun(embedder, images, len(rows))
    for batch in run.batches():
        _compare(result, reader, batch)
        advance(len(batch.keys))
    result.unreadable = [row for row, _ in run.failures]
    return result


def _compare(result: Comparison, reader: Reader, batch: Batch[int]) -> None:
    rows = np.array(batch.keys)
    for name, values in batch.values.items():
        stored = reader.copy_rows(f"embeddings/{name}", rows)[:, None]
        if reader.header.spec.variants:
            stored = np.concatenate([stored, reader.copy_rows(f"variants/{name}", rows)], axis=1)
        computed = values.astype(stored.dtype).astype(np.float64)
        stored = stored.astype(np.float64)
        differences = np.nan_to_num(np.abs(computed - stored)).max(axis=(1, 2))
        result.differences[rows] = np.maximum(result.differences[rows], differences)
        cosines = row_cosines(computed, stored).min(axis=1)
        result.cosines[rows] = np.fmin(result.cosines[rows], cosines)
