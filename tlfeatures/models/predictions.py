"""The labels of images as a sequence of `Prediction`, kept as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from tlfeatures.data_frames import data_frame
from tlfeatures.dataset.row_selection import RowSelection
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError
from tlfeatures.html_tables import MOST_ROWS, Cell, facts_html, result_html, table_html
from tlfeatures.names import MOST_CLASSES, counted, percent, shortened, some_of

if TYPE_CHECKING:
    from pandas import DataFrame

_LEAST = 5  # images that a notebook shows
_LONGEST = 200  # characters of a path or an error in a line


@dataclass(frozen=True)
class Prediction:
    """The label of one image.

    Attributes
    ----------
    path : str
        Path, URL or id of the image; `image 0`, `image 1` and so on for images in memory.
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
    confidence : float or None
        Probability of the class that the head or its operating point decided for, also if the
        model abstains. None if the image can't be read.
    label_set : tuple of str, or None
        Labels that hold the right one with the requested coverage: first the class that the head
        or its operating point decided for, also if the model abstains, then the others, the most
        probable first. Empty if the image can't be read; None if no coverage was requested.
    coverage : float or None
        This coverage.
    """

    path: str
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    outlier: bool | None = None
    distance: float | None = None
    confidence: float | None = None
    label_set: tuple[str, ...] | None = None
    coverage: float | None = None

    def __repr__(self) -> str:
        """Describe it in one line; there may be hundreds of probabilities."""
        label = "no label" if self.label is None else shortened(self.label)
        sure = "" if self.confidence is None else f", confidence {self.confidence:.3f}"
        outlier = ", outlier" if self.outlier else ""
        text = f"{label}{sure}{outlier}{self._set_text()}"
        if self.error is not None:
            text = f"can't be read: {shortened(self.error, _LONGEST)}"
        return f"<Prediction: {shortened(self.path, _LONGEST)}: {text}>"

    def _set_text(self) -> str:
        if not self.label_set or self.coverage is None:
            return ""
        names = some_of(map(shortened, self.label_set), MOST_CLASSES)
        return f", at {100 * self.coverage:g} % coverage: {names}"

    @property
    def abstained(self) -> bool:
        """Whether the image was read, but no class is probable enough."""
        return self.label is None and self.error is None


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(EqualByValue, Sequence[Prediction]):
    """The labels of n images, among k classes.

    `predictions[3]` is a `Prediction`. A slice, a list of positions or a mask gives `Predictions`:
    `predictions[predictions.confidence < 0.6]`.

    Attributes
    ----------
    paths : list of str
        Path, URL or id of each image; `image 0`, `image 1` and so on for images in memory.
    classes : list of str
        Names of the classes.
    probabilities : ndarray of shape (n, k), float64
        Probabilities of the classes; NaN for images that can't be read.
    codes : ndarray of shape (n,), int
        Index of the class that the head or its operating point decided for, also if the model
        abstains; -1 for images that can't be read.
    unreadable : dict of int to str
        Reason why an image can't be read, by its position.
    distances : ndarray of shape (n,), float64, or None
        Distance of each image to the training images, divided by the threshold above which it is an
        outlier; NaN for images that can't be read. None if outliers were not requested.
    min_confidence : float
        If the confidence is smaller, the model abstains: the label is None.
    sets : ndarray of shape (n, k), bool, or None
        Whether a class is in the set of labels of an image, which holds the right one with the
        requested coverage; all False for images that can't be read. None if no coverage was
        requested.
    coverage : float or None
        This coverage.
    """

    paths: list[str]
    classes: list[str]
    probabilities: NDArray[np.float64]
    codes: NDArray[np.int_]
    unreadable: dict[int, str] = field(default_factory=dict)
    distances: NDArray[np.float64] | None = None
    min_confidence: float = 0.0
    sets: NDArray[np.bool_] | None = None
    coverage: float | None = None

    def __post_init__(self) -> None:
        """Check that there is one row for each image.

        Raises
        ------
        ParameterError
            If the arrays have other shapes.
        """
        shapes = [self.probabilities.shape, self.codes.shape]
        expected = [(len(self.paths), len(self.classes)), (len(self.paths),)]
        if self.distances is not None:
            shapes, expected = [*shapes, self.distances.shape], [*expected, expected[1]]
        if self.sets is not None:
            shapes, expected = [*shapes, self.sets.shape], [*expected, expected[0]]
        if shapes != expected:
            raise ParameterError(
                f"the arrays of the predictions have the shapes {shapes}; expected {expected}"
            )

    # ---- arrays of all images

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the class that the head decided for, (n,); NaN if unreadable."""
        rows: NDArray[np.float64] = self.probabilities[np.arange(len(self.codes)), self.codes]
        return rows

    @cached_property
    def labels(self) -> NDArray[np.object_]:
        """Predicted class of each image, (n,), str; None if abstained or unreadable."""
        names = np.array([*self.classes, None], object)
        # A NaN is not smaller than any number; the code -1 of an unreadable image gives None.
        chosen = np.where(self.confidence < self.min_confidence, -1, self.codes)
        labels: NDArray[np.object_] = names[chosen]
        return labels

    @property
    def errors(self) -> NDArray[np.object_]:
        """Reason why an image can't be read, (n,), str; None if it was read."""
        errors = np.full(len(self.paths), None, object)
        for number, reason in self.unreadable.items():
            errors[number] = reason
        return errors

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """Whether an image was read, but no class is probable enough, (n,)."""
        abstained: NDArray[np.bool_] = self.confidence < self.min_confidence
        return abstained

    @property
    def outliers(self) -> NDArray[np.bool_] | None:
        """Whether each image is an outlier, (n,); None if outliers were not requested."""
        if self.distances is None:
            return None
        outliers: NDArray[np.bool_] = self.distances > 1
        return outliers

    @property
    def label_sets(self) -> NDArray[np.object_] | None:
        """Set of labels of each image, (n,), tuple of str; None if no coverage was requested.

        See `Prediction.label_set`.
        """
        if self.sets is None:
            return None
        sets = np.empty(len(self), object)
        for number in range(len(self)):
            sets[number] = self._label_set(number)
        return sets

    def _label_set(self, number: int) -> tuple[str, ...]:
        if self.sets is None or number in self.unreadable:
            return ()
        label, inside = int(self.codes[number]), np.flatnonzero(self.sets[number])
        order = inside[np.argsort(-self.probabilities[number, inside], kind="stable")]
        return tuple(self.classes[k] for k in [label, *order[order != label].tolist()])

    # ---- a sequence

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: RowSelection) -> Predictions: ...

    def __getitem__(self, index: int | RowSelection) -> Prediction | Predictions:
        """Return one prediction, or those of a slice, of positions or of a mask.

        Raises
        ------
        IndexError
            If it is something else, a mask has another length, or there is no such position.
        """
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            return self._one(range(len(self))[index])
        rows = np.arange(len(self))[index]
        if np.ndim(rows) != 1:
            raise IndexError(
                f"predictions are selected by {shortened(repr(index), 60)}; expected a position, a "
                f"slice, a list of positions, or a mask of {len(self):,} bools"
            )
        return self._some(rows)

    def _one(self, number: int) -> Prediction:
        path = self.paths[number]
        if number in self.unreadable:
            empty = None if self.sets is None else ()
            return Prediction(
                path, error=self.unreadable[number], label_set=empty, coverage=self.coverage
            )
        distance = None if self.distances is None else float(self.distances[number])
        return Prediction(
            path,
            self.labels[number],
            dict(zip(self.classes, self.probabilities[number].tolist(), strict=True)),
            outlier=None if distance is None else distance > 1,
            distance=distance,
            confidence=float(self.confidence[number]),
            label_set=None if self.sets is None else self._label_set(number),
            coverage=self.coverage,
        )

    def _some(self, rows: NDArray[np.int_]) -> Predictions:
        numbers = rows.tolist()
        reasons = self.unreadable
        return Predictions(
            [self.paths[number] for number in numbers],
            self.classes,
            self.probabilities[rows],
            self.codes[rows],
            {at: reasons[number] for at, number in enumerate(numbers) if number in reasons},
            None if self.distances is None else self.distances[rows],
            self.min_confidence,
            None if self.sets is None else self.sets[rows],
            self.coverage,
        )

    # ---- shown

    @property
    def counts(self) -> dict[str, int]:
        """Number of images with each label, by class."""
        counts = Counter(self.labels.tolist())
        return {name: counts[name] for name in self.classes}

    def __repr__(self) -> str:
        """Describe them in one line: images by label, and how many have none."""
        listed = [f"{shortened(name)} {count:,}" for name, count in self.counts.items()]
        parts = [f"{counted(len(self), 'image')}: {some_of(listed, MOST_CLASSES)}"]
        parts += [f"{count:,} {what}" for what, count in self._without_label().items() if count]
        parts += [f"{what}: {text}" for what, text in self._set_facts().items()]
        return f"<Predictions: {'; '.join(parts)}>"

    def _without_label(self) -> dict[str, int]:
        outliers = 0 if self.outliers is None else int(self.outliers.sum())
        return {
            "without a label": int(self.abstained.sum()),
            "unreadable": len(self.unreadable),
            "outliers": outliers,
        }

    def _set_facts(self) -> dict[str, str]:
        """Return the mean size of the sets of the images that were read, if there are sets."""
        sizes = np.empty(0) if self.sets is None else self.sets.sum(axis=1)
        sizes = sizes[sizes > 0]
        if not len(sizes) or self.coverage is None:
            return {}
        return {
            f"labels of a set at {100 * self.coverage:g} % coverage": f"{sizes.mean():.2f} on "
            f"average, one label for {percent(float((sizes == 1).mean()))} of the images"
        }

    def _repr_html_(self) -> str:
        """Show the labels and the least confident images in a notebook."""
        largest = sorted(self.counts.items(), key=lambda item: -item[1])
        labels = ((name, n, self._median_confidence(name)) for name, n in largest[:MOST_ROWS])
        order = np.argsort(self.confidence, kind="stable")[: len(self) - len(self.unreadable)]
        least = order[:_LEAST].tolist()
        return result_html(
            "Predictions",
            table_html(["label", "images", "median confidence"], labels, total=len(largest)),
            facts_html({what: count or None for what, count in self._without_label().items()}),
            facts_html(self._set_facts()),
            table_html(
                ["image", "label", "confidence", *([] if self.sets is None else ["label set"])],
                [self._row(i) for i in least],
                caption="Least confident",
            ),
            about=counted(len(self), "image"),
        )

    def _row(self, number: int) -> tuple[Cell, ...]:
        confidence = float(self.confidence[number])
        sets = () if self.sets is None else (", ".join(self._label_set(number)),)
        return (self.paths[number], self.labels[number], confidence, *sets)

    def _median_confidence(self, label: str) -> float | None:
        confidence = self.confidence[self.labels == label]
        return float(np.median(confidence)) if len(confidence) else None

    def to_frame(self) -> DataFrame:
        """Return a data frame with one row for each image. It needs pandas.

        Returns
        -------
        DataFrame
            The columns of the table of `tlfeatures predict`: `path`, `label`, `confidence`,
            `p_CLASS` for each class, `outlier` and `distance` if outliers were requested, and
            `error`. If a coverage was requested, `label_set` follows `confidence`; it has tuples.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        columns: dict[str, NDArray[Any] | list[str]] = {
            "path": self.paths,
            "label": self.labels,
            "confidence": self.confidence,
        }
        if self.label_sets is not None:
            columns |= {"label_set": self.label_sets}
        columns |= {f"p_{name}": self.probabilities[:, k] for k, name in enumerate(self.classes)}
        if self.distances is not None:
            columns |= {"outlier": self.distances > 1, "distance": self.distances}
        return data_frame({**columns, "error": self.errors})
