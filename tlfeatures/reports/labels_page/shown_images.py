"""The images that the page shows: of many images, those whose labels are the most doubtful."""

from __future__ import annotations

import heapq
import html
from collections.abc import Iterable
from dataclasses import dataclass, field

from tlfeatures.models.label_summary import LabelSummary
from tlfeatures.models.predictions import Prediction

MOST = 2000  # images on a page
MOST_UNREADABLE = 200

_MOST_OF_SET = 10  # labels of a set
_MOST_TEXT = 800_000  # characters of all names and labels


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """What the page says of an image.

    Attributes
    ----------
    path : str
    label : str or None
        None if the model abstained.
    confidence : float
    guesses : tuple of (class, probability)
        The two most probable classes.
    outlier : bool
    label_set : tuple of str
        The first labels of the set of labels; empty if there are no sets.
    """

    path: str
    label: str | None
    confidence: float
    guesses: tuple[tuple[str, float], ...]
    outlier: bool
    label_set: tuple[str, ...] = ()

    @classmethod
    def of(cls, prediction: Prediction) -> LabelledImage:
        """Keep what the page shows of a prediction."""
        likely = heapq.nlargest(2, prediction.probabilities.items(), key=lambda item: item[1])
        return cls(
            prediction.path,
            prediction.label,
            _confidence(prediction),
            tuple(likely),
            bool(prediction.outlier),
            _first_of(prediction.label_set or ()),
        )

    @property
    def text_size(self) -> int:
        """Number of characters of its names in the page, about."""
        texts = [self.path, self.path, self.label or "", *(name for name, _ in self.guesses)]
        texts += self.label_set
        return sum(len(html.escape(text)) for text in texts)


def _first_of(label_set: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first labels of a set, and how many more there are."""
    more = len(label_set) - _MOST_OF_SET
    return label_set if more <= 0 else (*label_set[:_MOST_OF_SET], f"and {more:,} more")


@dataclass
class ShownImages:
    """Chooses the images of the page while predictions come. It never holds more than it shows.

    Outliers are preferred up to half of the places, because their labels mean little, however
    confident the model is. The other places are for the least confident images.

    Attributes
    ----------
    summary : LabelSummary
        Counts of all images, also of those that the page doesn't show.
    unreadable : list of (path, reason)
        The first `MOST_UNREADABLE` images that could not be read.
    """

    summary: LabelSummary = field(default_factory=LabelSummary)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    _outliers: _Top = field(default_factory=lambda: _Top(MOST))
    _others: _Top = field(default_factory=lambda: _Top(MOST))

    @classmethod
    def of(cls, predictions: Iterable[Prediction]) -> ShownImages:
        """Choose among predictions."""
        shown = cls()
        for prediction in predictions:
            shown.add(prediction)
        return shown

    def add(self, prediction: Prediction) -> None:
        """Count a prediction, and keep its image if it is one of the most doubtful so far."""
        self.summary.add(prediction)
        if prediction.error is not None:
            if len(self.unreadable) < MOST_UNREADABLE:
                self.unreadable.append((prediction.path, prediction.error))
        elif prediction.outlier:
            self._outliers.add(prediction.distance or 0.0, prediction)
        else:
            self._others.add(-_confidence(prediction), prediction)

    def images(self) -> list[LabelledImage]:
        """Return the images, first the outliers and then the least confident ones."""
        outliers, others = self._outliers.best(), self._others.best()
        places = max(MOST // 2, MOST - len(others))
        outliers = outliers[:places]
        return _within_text([*outliers, *others[: MOST - len(outliers)]])


class _Top:
    """The images with the largest keys; of equal keys, the first ones."""

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0
        self._heap: list[tuple[float, int, LabelledImage]] = []

    def add(self, key: float, prediction: Prediction) -> None:
        self._count += 1
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, (key, -self._count, LabelledImage.of(prediction)))
        elif key > self._heap[0][0]:
            heapq.heapreplace(self._heap, (key, -self._count, LabelledImage.of(prediction)))

    def best(self) -> list[LabelledImage]:
        """Return the images, the largest key first."""
        return [image for _, _, image in sorted(self._heap, key=lambda item: item[:2])[::-1]]


def _confidence(prediction: Prediction) -> float:
    return 0.0 if prediction.confidence is None else prediction.confidence


def _within_text(images: list[LabelledImage]) -> list[LabelledImage]:
    """Leave out the last images if names are so long that they would fill the page."""
    size = 0
    for number, image in enumerate(images):
        size += image.text_size
        if size > _MOST_TEXT:
            return images[:number]
    return images
