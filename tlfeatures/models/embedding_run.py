"""Embedding image files for a model, by each of its backbones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ImageError, ModelError, ParameterError
from tlfeatures.features.backbones.table import embedding_widths
from tlfeatures.features.combined import BackbonePart, join, join_backbones, parts_of
from tlfeatures.features.embed import ComputeOptions, Embedder, EmbeddingRun
from tlfeatures.features.images.few_levels import FewLevels
from tlfeatures.features.images.read_ahead import Decoding, ImageToRead, Key, read_ahead
from tlfeatures.features.spec import no_such_backbone
from tlfeatures.models.fitted_head import FittedHead

_TOGETHER = 512  # images whose pixels and rows are in memory at the same time; fewer if large

Rows = NDArray[np.float32]
Pixels = NDArray[np.uint8]


class ModelEmbedder:
    """The backbones of a model. They are loaded when the object is created.

    Parameters
    ----------
    model : FittedHead
    options : ComputeOptions
        Device, batch size and other options for the embedding of images.

    Raises
    ------
    ModelError
        If this version can't compute the embedding of the model, or `options` has weights and the
        model has several backbones.
    """

    def __init__(self, model: FittedHead, options: ComputeOptions) -> None:
        check_width(model)
        if len(model.backbones) > 1 and options.weights is not None:
            names = ", ".join(part.name for part in model.backbones)
            raise ModelError(
                f"weights is one file, but the model has several backbones ({names}); put their "
                "weights where they were when the images were embedded"
            )
        # Rounding may differ in predictions, so Keras may replace an engine that isn't installed.
        options = replace(options, substitute=True)
        self.embeddings = [part.embedding for part in model.backbones]
        self.embedders = [
            Embedder(replace(part.spec, augmentation=None), parts_of(part.embedding), options)
            for part in model.backbones
        ]
        for embedder in self.embedders:
            _ = embedder.backbone  # loading errors are raised before any image is read


class ModelRun(Generic[Key]):
    """One pass over images that are embedded for a model.

    With several backbones, some images at a time are read, and then embedded by one backbone after
    the other. Backbones that take the same pixels share them.

    Parameters
    ----------
    embedder : ModelEmbedder
    images : sequence of ImageToRead
    progress : callable (images done), optional
        See `EmbeddingRun`.

    Attributes
    ----------
    failures, few_levels
        See `EmbeddingRun`.
    """

    def __init__(
        self,
        embedder: ModelEmbedder,
        images: Sequence[ImageToRead[Key]],
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.failures: list[tuple[Key, ImageError]] = []
        self.few_levels: list[tuple[Key, FewLevels]] = []
        self._embedder, self._images, self._progress = embedder, images, progress

    def batches(self) -> Iterator[tuple[list[Key], Rows]]:
        """Yield the keys of images and their rows of the model's embedding, in their order."""
        if len(self._embedder.embedders) == 1:
            yield from self._of_one_backbone()
            return
        together = min(_TOGETHER, *(each.decoding.ahead for each in self._embedder.embedders))
        for start in range(0, len(self._images), together):
            keys, rows = self._of_all_backbones(start, self._images[start : start + together])
            if keys:
                yield keys, rows

    def _of_one_backbone(self) -> Iterator[tuple[list[Key], Rows]]:
        ((embedder, embedding),) = self._pairs()
        run = EmbeddingRun(embedder, self._images, len(self._images), progress=self._progress)
        self.failures, self.few_levels = run.failures, run.few_levels
        for batch in run.batches():
            yield batch.keys, join(batch.images, embedding)

    def _of_all_backbones(
        self, start: int, images: Sequence[ImageToRead[Key]]
    ) -> tuple[list[Key], Rows]:
        """Embed some images by each backbone; one that a backbone can't read is a failure."""
        pixels = self._read(images)
        all_keys = [image.key for image in images]
        keys = [key for key in all_keys if all(key in read for read in pixels.values())]
        if not keys:
            return [], np.empty((0, 0), np.float32)
        unread, passes = len(images) - len(keys), len(self._embedder.embedders)
        rows = []
        for number, (embedder, embedding) in enumerate(self._pairs()):

            def show(done: int, before: int = number * len(images)) -> None:
                self._progress(start + (before + unread + done) // passes)

            read = pixels[embedder.decoding]
            decoded = (ImageToRead(key, read[key]) for key in keys)
            run = EmbeddingRun(embedder, decoded, len(images), progress=show)
            rows.append(np.concatenate([join(batch.images, embedding) for batch in run.batches()]))
        return keys, join_backbones(rows, self._embedder.embeddings)

    def _read(self, images: Sequence[ImageToRead[Key]]) -> dict[Decoding, dict[Key, Pixels]]:
        """Read some images once for each way of decoding, and note the failures."""
        pixels: dict[Decoding, dict[Key, Pixels]] = {}
        failed: dict[Key, ImageError] = {}
        few_levels: dict[Key, FewLevels] = {}
        for decoding in dict.fromkeys(each.decoding for each in self._embedder.embedders):
            read = pixels[decoding] = {}
            for key, decoded in read_ahead(images, decoding):
                if isinstance(decoded, ImageError):
                    failed.setdefault(key, decoded)
                    continue
                read[key] = decoded.pixels
                if decoded.few_levels is not None:
                    few_levels.setdefault(key, decoded.few_levels)
        keys = [image.key for image in images]
        self.failures += [(key, failed[key]) for key in keys if key in failed]
        self.few_levels += [(key, few_levels[key]) for key in keys if key in few_levels]
        return pixels

    def _pairs(self) -> Iterator[tuple[Embedder, str]]:
        return zip(self._embedder.embedders, self._embedder.embeddings, strict=True)


def widths_of(backbones: Sequence[BackbonePart]) -> list[int]:
    """Return the number of columns that each backbone computes.

    Raises
    ------
    ModelError
        If this version doesn't have a backbone, or can't compute its embedding.
    """
    return [sum(_widths(part).values()) for part in backbones]


def _widths(part: BackbonePart) -> dict[str, int]:
    name, backbone = part.spec.backbone, part.spec.known_backbone
    if backbone is None:
        raise ModelError(f"the model can't embed images: {no_such_backbone(part.spec)}")
    try:
        return embedding_widths(backbone, parts_of(part.embedding), [], part.spec.size)
    except ParameterError as error:
        raise ModelError(
            f"the model needs the embedding {part.embedding!r} of {name}, which this version "
            f"can't compute: {error}; use the version that wrote the model, or extract and fit "
            "again"
        ) from error


def check_width(model: FittedHead) -> None:
    """Check that this version can compute the embedding of a model with the same width.

    Raises
    ------
    ModelError
        If the file is damaged, or a version with other backbones or layers wrote it.
    """
    widths = [_widths(part) for part in model.backbones]
    named = [list(own) for own in widths]
    columns = sum(sum(own.values()) for own in widths)
    wanted = [parts_of(part.embedding) for part in model.backbones]
    if named != wanted or columns != model.info["columns"]:
        gives = ", ".join(map(str, widths))
        raise ModelError(
            f"the head needs {model.info['columns']} columns of {model.embedding}, but the "
            f"backbone gives {gives}: the model file is damaged; fit it again"
        )
