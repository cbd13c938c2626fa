"""Labelling image files with a fitted head: the backbone embeds them, and the head predicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ImageError, ModelError, ParameterError
from tlfeatures.features.embed import ComputeOptions
from tlfeatures.features.images.few_levels import warn_of_few_levels
from tlfeatures.features.images.read_ahead import ImageToRead
from tlfeatures.features.sources.records import Location
from tlfeatures.models.embedding_run import ModelEmbedder, ModelRun
from tlfeatures.models.fitted_head import FittedHead


@dataclass(frozen=True)
class Prediction:
    """The label of one image file.

    Attributes
    ----------
    path : str
        Path or URL of the image.
    label : str or None
        Predicted class. None if the model abstains or the image can't be read.
    probabilities : dict of class to float
        Probabilities of all classes; empty if the image can't be read.
    error : str or None
        Reason why the image can't be read.
    outlier : bool or None
        Whether the image is an outlier: its distance to the 5th nearest training image is larger
        than a threshold. None if outliers were not requested.
    distance : float or None
        This distance divided by the threshold; infinite for an embedding of zeros.
    """

    path: str
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    outlier: bool | None = None
    distance: float | None = None

    @property
    def abstained(self) -> bool:
        """Whether the image was read, but no class is probable enough."""
        return self.label is None and self.error is None


class Labeller:
    """Labels image files with a fitted head. Backbones are loaded when the object is created.

    Parameters
    ----------
    model : FittedHead
    options : ComputeOptions
        Device, batch size and other options for the embedding of images.
    min_confidence, outliers
        See `Model.predict`.
    """

    def __init__(
        self,
        model: FittedHead,
        options: ComputeOptions,
        *,
        min_confidence: float = 0.0,
        outliers: bool = False,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise ParameterError(
                f"min_confidence is {min_confidence}; expected a probability from 0 to 1"
            )
        if outliers and model.outliers is None:
            raise ModelError(
                "this model has no detector of outliers, because it was fitted on too few images; "
                "fit it again on more images"
            )
        self._model = model
        self._detector = model.outliers if outliers else None
        self._min_confidence = min_confidence
        self._embedder = ModelEmbedder(model, options)

    def label(self, paths: Sequence[Location]) -> Iterator[Prediction]:
        """Label image files, and yield one prediction for each file in the order of `paths`."""
        images = [ImageToRead(number, path) for number, path in enumerate(paths)]
        run = ModelRun(self._embedder, images)
        next_number = 0
        try:
            for numbers, X in run.batches():
                predictions = self._predictions([paths[number] for number in numbers], X)
                labelled = dict(zip(numbers, predictions, strict=True))
                errors = dict(run.failures)  # of all images before the last one of this batch
                for number in range(next_number, numbers[-1] + 1):
                    yield labelled.get(number) or _unread(paths[number], errors[number])
                next_number = numbers[-1] + 1
            for number, error in run.failures:
                if number >= next_number:
                    yield _unread(paths[number], error)
        finally:
            warn_of_few_levels_in(run, paths)

    def _predictions(
        self, paths: Sequence[Location], X: NDArray[np.float32]
    ) -> Iterator[Prediction]:
        classes = self._model.classes
        distances: Sequence[float | None] = [None] * len(paths)
        if self._detector is not None:
            distances = (self._detector.distances(X) / self._detector.threshold).tolist()
        table, codes = self._model.predict_proba(X), self._model.predict_codes(X)
        for path, row, code, distance in zip(paths, table, codes, distances, strict=True):
            yield Prediction(
                str(path),
                classes[code] if row[code] >= self._min_confidence else None,
                dict(zip(classes, row.tolist(), strict=True)),
                outlier=None if distance is None else distance > 1,
                distance=distance,
            )


def _unread(path: Location, error: ImageError) -> Prediction:
    return Prediction(str(path), error=str(error))


def warn_of_few_levels_in(run: ModelRun[int], paths: Sequence[Location]) -> None:
    """Warn about images of a run that have few grey levels. Keys are positions in `paths`."""
    few_levels = [(str(paths[number]), few) for number, few in run.few_levels]
    warn_of_few_levels(few_levels, "tlfeatures extract --value-range {}")
