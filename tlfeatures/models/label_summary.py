"""Numbers that summarise predictions: images, labels, confidence, outliers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from tlfeatures.models.predictions import Prediction

UNSURE = 0.6  # a label with a smaller confidence should be checked

_STEPS = 1000  # confidences are counted in thousandths, so that any number of images fits


@dataclass
class LabelSummary:
    """Counts of predictions, which are added one by one. Its size does not grow with the images.

    Attributes
    ----------
    images : int
        Number of images that could be read.
    labels : Counter of label to int
        Number of images with each label; classes without an image are missing.
    unsure : Counter of label to int
        Number of those with a confidence below `UNSURE`. The label None counts images for which
        the model abstained.
    abstained, outliers, unreadable : int
        Number of images for which the model abstained, of outliers, and of images that could not be
        read.
    in_sets, single : int
        Number of labels in all sets of labels, and of images whose set has one label.
    coverage : float or None
        Coverage of the sets; None if none was requested.
    """

    images: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    unsure: Counter[str | None] = field(default_factory=Counter)
    abstained: int = 0
    outliers: int = 0
    unreadable: int = 0
    in_sets: int = 0
    single: int = 0
    coverage: float | None = None
    _confidences: dict[str | None, Counter[int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, predictions: Iterable[Prediction]) -> Self:
        """Summarise predictions."""
        summary = cls()
        for prediction in predictions:
            summary.add(prediction)
        return summary

    def add(self, prediction: Prediction) -> None:
        """Count one prediction."""
        if prediction.error is not None:
            self.unreadable += 1
            return
        self.images += 1
        self.abstained += prediction.abstained
        self.outliers += bool(prediction.outlier)
        self.coverage = prediction.coverage
        self.in_sets += len(prediction.label_set or ())
        self.single += len(prediction.label_set or ()) == 1
        if prediction.label is not None:
            self.labels[prediction.label] += 1
        if prediction.confidence is not None:
            self.unsure[prediction.label] += prediction.confidence < UNSURE
            counts = self._confidences.setdefault(prediction.label, Counter())
            counts[round(prediction.confidence * _STEPS)] += 1

    def median_confidence(self, label: str | None = None) -> float | None:
        """Return the median confidence to a thousandth, of one label or of all images.

        None if there are no images.
        """
        labels = list(self._confidences) if label is None else [label]
        counts: Counter[int] = Counter()
        for each in labels:
            counts.update(self._confidences.get(each, {}))
        return _median(counts)


def _median(counts: Counter[int]) -> float | None:
    total = counts.total()
    if not total:
        return None
    middle, before = ((total - 1) // 2, total // 2), 0
    found: list[int] = []
    for step in sorted(counts):
        before += counts[step]
        while len(found) < 2 and middle[len(found)] < before:
            found.append(step)
    return sum(found) / (2 * _STEPS)
