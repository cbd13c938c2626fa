"""Labelling images with a fitted head: the backbone embeds them, and the head predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ModelError, ParameterError
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.images.few_levels import FewLevels, warn_of_few_levels
from tlfeatures.features.images.inputs import Images, total_of
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.models.embedding_run import ModelEmbedder, ModelRun
from tlfeatures.models.fitted_head import FittedHead
from tlfeatures.models.input_images import named_images_in_parts
from tlfeatures.models.joined_predictions import with_unreadable
from tlfeatures.models.prediction_sets import sets_of
from tlfeatures.models.predictions import Prediction, Predictions
from tlfeatures.progress import Progress, shown_progress

VALUE_RANGE = "tlfeatures extract --value-range {}"  # how a model gets a range of values


class EmbeddingLabeller:
    """Labels embeddings with a fitted head.

    Parameters
    ----------
    model : FittedHead
    min_confidence, outliers, coverage
        See `Model.predict`.

    Raises
    ------
    ParameterError
        If the confidence is no probability, or the coverage isn't possible.
    ModelError
        If outliers or sets are requested and the model has no detector or no sets.
    """

    def __init__(
        self,
        model: FittedHead,
        *,
        min_confidence: float = 0.0,
        outliers: bool = False,
        coverage: float | None = None,
    ) -> None:
        if not isinstance(min_confidence, float | int | np.number) or not 0 <= min_confidence <= 1:
            raise ParameterError(
                f"min_confidence is {min_confidence!r}; expected a probability from 0 to 1"
            )
        if outliers and model.outliers is None:
            raise ModelError(
                "this model has no detector of outliers, because it was fitted on too few images; "
                "fit it again on more images"
            )
        self._model = model
        self._detector = model.outliers if outliers else None
        self._min_confidence = min_confidence
        self._sets, self._coverage = sets_of(model.sets, coverage), coverage

    def label(self, paths: Sequence[str], X: NDArray[np.float32]) -> Predictions:
        """Label embeddings, of shape (n, d), of images with these n paths or ids."""
        classes = self._model.classes
        probabilities, codes = np.empty((0, len(classes))), np.empty(0, int)
        if len(X):
            probabilities, codes = self._model.predict_proba(X), self._model.predict_codes(X)
        distances = None
        if self._detector is not None:
            distances = np.empty(0)
            if len(X):
                distances = self._detector.distances(X) / np.float64(self._detector.threshold)
        sets = None
        if self._sets is not None and self._coverage is not None:
            sets = self._sets.sets(probabilities, codes, self._coverage)
        return Predictions(
            list(paths),
            classes,
            probabilities,
            codes,
            distances=distances,
            min_confidence=self._min_confidence,
            sets=sets,
            coverage=self._coverage,
        )


class Labeller:
    """Labels image files with a fitted head. Backbones are loaded when the object is created.

    Parameters
    ----------
    model : FittedHead
    options : ComputeOptions
        Device, batch size and other options for the embedding of images.
    min_confidence, outliers, coverage
        See `Model.predict`.
    """

    def __init__(
        self,
        model: FittedHead,
        options: ComputeOptions,
        *,
        min_confidence: float = 0.0,
        outliers: bool = False,
        coverage: float | None = None,
    ) -> None:
        self._head = EmbeddingLabeller(
            model, min_confidence=min_confidence, outliers=outliers, coverage=coverage
        )
        self._embedder = ModelEmbedder(model, options)
        self._columns = model.info["columns"]

    def label(
        self,
        images: Sequence[ImageToRead[str]],
        progress: Callable[[int], None] = lambda _: None,
        few_levels: list[tuple[str, FewLevels]] | None = None,
    ) -> Iterator[Predictions]:
        """Label images, some at a time, in their order; the key of an image is its name.

        Parameters
        ----------
        images : sequence of ImageToRead
        progress : callable of a number of images, optional
            Called with the number of images that are done.
        few_levels : list, optional
            Images with few grey levels are added to it; without it, a warning is logged.
        """
        names = [image.key for image in images]
        numbered = [image.with_key(number) for number, image in enumerate(images)]
        run = ModelRun(self._embedder, numbered, progress)
        done = 0
        try:
            for numbers, X in run.batches():
                yield self._part(names, range(done, numbers[-1] + 1), numbers, X, run)
                done = numbers[-1] + 1
            if done < len(names):  # the last images can't be read
                X = np.empty((0, self._columns), np.float32)
                yield self._part(names, range(done, len(names)), [], X, run)
        finally:
            dark = [(names[number], levels) for number, levels in run.few_levels]
            if few_levels is None:
                warn_of_few_levels(dark, VALUE_RANGE)
            else:
                few_levels += dark

    def _part(
        self,
        names: list[str],
        part: range,
        numbers: list[int],
        X: NDArray[np.float32],
        run: ModelRun[int],
    ) -> Predictions:
        """Label the images at the positions of `part`, of which those at `numbers` were read."""
        read = self._head.label([names[number] for number in numbers], X)
        # The run has read ahead, so that it may know of failures behind this part.
        reasons = {
            number - part.start: str(error) for number, error in run.failures if number in part
        }
        return with_unreadable(read, names[part.start : part.stop], reasons)


def label_inputs(
    model: FittedHead,
    inputs: Images,
    options: ComputeOptions,
    min_confidence: float,
    outliers: bool,
    coverage: float | None,
    progress: bool | Progress | None,
) -> Iterator[Predictions]:
    """Label images, some at a time; see `Model.predict`. The backbone is loaded at the call."""
    parts = named_images_in_parts(inputs)
    labeller = Labeller(
        model, options, min_confidence=min_confidence, outliers=outliers, coverage=coverage
    )
    return _label_parts(labeller, parts, progress)


def _label_parts(
    labeller: Labeller,
    parts: Iterable[Sequence[ImageToRead[str]]],
    progress: bool | Progress | None,
) -> Iterator[Predictions]:
    total = total_of(parts)
    done = 0
    few_levels: list[tuple[str, FewLevels]] = []
    try:
        with shown_progress(progress, "predicting", "images") as show:
            for images in parts:

                def advance(finished: int, before: int = done) -> None:
                    show(before + finished, total)

                yield from labeller.label(images, advance, few_levels)
                done += len(images)
                show(done, total)  # the last images may be unreadable
    finally:
        warn_of_few_levels(few_levels, VALUE_RANGE)


def one_by_one(parts: Iterable[Predictions]) -> Iterator[Prediction]:
    """Yield the predictions of all parts."""
    return (prediction for part in parts for prediction in part)
