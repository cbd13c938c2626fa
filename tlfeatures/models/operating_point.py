"""The operating point of a model: a threshold on the probability of one class.

At an operating point, an image is labelled with the class if its probability is at least the
threshold, and otherwise with the most probable other class. Probabilities stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.operating_points import (
    choose_threshold,
    cross_fitted,
    point_scores,
    share,
)
from tlfeatures.metrics.score_records import PooledScore, range_line
from tlfeatures.metrics.targets import Groups, Target
from tlfeatures.names import percent

SCORES = ("recall", "precision", "specificity", "accuracy")


@dataclass(frozen=True)
class OperatingPoint:
    """An operating point, with the scores of the labels that it gives.

    Attributes
    ----------
    label : str
        The class that the threshold is for.
    at : str
        The target that the threshold was chosen for, such as `recall=0.95`.
    threshold : float
        An image is labelled with the class if its probability is at least the threshold.
    images, positives : int
        Number of tested images, and of those that are of the class.
    grouped : bool
        Whether images belong together, so that the intervals are about images of new groups.
    scores : dict of name to PooledScore
        `recall`, `precision` and `specificity` of the class, and `accuracy` of all labels, each
        with a 95 % interval. The labels of each fold are those of a threshold that was chosen on
        the other folds.
    """

    label: str
    at: str
    threshold: float
    images: int
    positives: int
    grouped: bool
    scores: dict[str, PooledScore]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready plain data, as a model file has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> OperatingPoint:
        """Create it from the data of a model file, which `fact_schema` has checked."""
        return cls(**facts)

    def codes(self, probabilities: NDArray[np.float64], classes: Sequence[str]) -> NDArray[np.int_]:
        """Label images, see `labelled_at`."""
        return labelled_at(
            probabilities[:, classes.index(self.label)] >= self.threshold,
            probabilities,
            classes.index(self.label),
        )

    def scored_on(
        self,
        y: NDArray[np.int_],
        predicted: NDArray[np.int_],
        classes: Sequence[str],
        groups: Groups | None = None,
    ) -> OperatingPoint:
        """Return this operating point with the scores of other labels.

        Parameters
        ----------
        y, predicted : ndarray of shape (n,), int
            Class codes of the images, and of their labels.
        classes : sequence of str
            Names of the classes.
        groups : ndarray of shape (n,), optional
            Groups of the images.
        """
        code = list(classes).index(self.label)
        scores = asdict(point_scores(y == code, predicted == code, groups))
        scores["accuracy"] = share(predicted == y, np.ones(len(y), bool), groups, "no image")
        return replace(
            self,
            images=len(y),
            positives=int((y == code).sum()),
            grouped=groups is not None and len(np.unique(groups)) < len(y),
            scores=scores,
        )

    def line(self) -> str:
        """Write the rule and its scores in one line."""
        shown = ", ".join(f"{name} {_shown(self.scores[name])}" for name in SCORES[:-1])
        return (
            f"labels at the operating point {self.at} of {self.label} (probability "
            f"{self.threshold:.4g} or more): {shown}"
        )

    def short_sentences(self, classes: Sequence[str]) -> list[str]:
        """Describe the rule and its scores out of fold in two sentences, for the terminal.

        Parameters
        ----------
        classes : sequence of str
            Names of all classes.
        """
        shown = {name: _shown(self.scores[name]) for name in SCORES}
        return [
            self._rule(classes),
            f"With these labels, the shares of right labels are {shown['recall']} of the images of "
            f"{self.label} (recall), {shown['precision']} of the images labelled {self.label} "
            f"(precision), {shown['specificity']} of the other images (specificity), and "
            f"{shown['accuracy']} of all images.",
        ]

    def _rule(self, classes: Sequence[str]) -> str:
        other = next(name for name in classes if name != self.label)
        otherwise = other if len(classes) == 2 else "the most probable other class"
        return (
            f"Operating point {self.at} of {self.label}: the label is {self.label} if the "
            f"probability of {self.label} is {self.threshold:.4g} or more, and otherwise "
            f"{otherwise}."
        )

    def sentences(self, classes: Sequence[str]) -> list[str]:
        """Describe the rule, and the scores out of fold, in plain words.

        Parameters
        ----------
        classes : sequence of str
            Names of all classes.
        """
        units = ", and the intervals are about images of new groups" if self.grouped else ""
        shown = {name: _shown(self.scores[name]) for name in SCORES}
        return [
            self._rule(classes),
            f"With these labels, recall is {shown['recall']}: the share of the images of "
            f"{self.label} that are labelled {self.label}. Precision is {shown['precision']}: the "
            f"share of the images labelled {self.label} that are {self.label}. Specificity is "
            f"{shown['specificity']}: the share of all other images that are not labelled "
            f"{self.label}. The accuracy of all labels is {shown['accuracy']}.",
            f"These scores are measured on {self.images:,} images, {self.positives:,} of them "
            f"{self.label} ({percent(self.positives / self.images)}). The labels of each fold are "
            f"those of a threshold that was chosen on the other folds{units}. Precision and "
            f"accuracy hold for new images with the same share of {self.label}.",
        ]


def _shown(record: PooledScore) -> str:
    if record["score"] is None:
        return f"not defined ({record['reason']})"
    if record["groups_range"] is not None:
        return f"{record['score']:.3f} ({range_line(record['groups_range'])})"
    if record["interval"] is None:
        return f"{record['score']:.3f}"
    low, high = record["interval"]
    return f"{record['score']:.3f} [{low:.3f}, {high:.3f}]"


def labelled_at(
    decided: NDArray[np.bool_], probabilities: NDArray[np.float64], code: int
) -> NDArray[np.int_]:
    """Label images with a class, or else with the most probable other class.

    Parameters
    ----------
    decided : ndarray of shape (n,), bool
        Whether each image is labelled with the class.
    probabilities : ndarray of shape (n, k)
    code : int
        Index of the class.

    Returns
    -------
    ndarray of shape (n,), int
        Indices of classes.
    """
    others = probabilities.copy()
    others[:, code] = -1
    return np.where(decided, code, others.argmax(axis=1))


def check_class(label: str | None, classes: Sequence[str], at: str | None) -> None:
    """Check that the class of an operating point is given and is one of the classes.

    Raises
    ------
    ParameterError
    """
    listed = ", ".join(classes)
    if at is None:
        if label is not None:
            raise ParameterError(
                f"--class {label} is the class of --at, which is missing; give for example "
                "--at recall=0.95"
            )
        return
    if label is None:
        raise ParameterError(
            f"--at {at} needs the class that it is for: give --class with one of {listed}"
        )
    if label not in classes:
        raise ParameterError(f"--class is {label!r}, and the classes are {listed}")


def measured_point(
    target: Target,
    label: str,
    classes: Sequence[str],
    y: NDArray[np.int_],
    probabilities: NDArray[np.float64],
    fold: NDArray[np.int_],
    groups: Groups | None = None,
) -> tuple[OperatingPoint, NDArray[np.int_]]:
    """Choose and score an operating point on the out-of-fold predictions of a head.

    Parameters
    ----------
    target : Target
    label : str
        Class of the operating point.
    classes : sequence of str
        Names of the k classes.
    y : ndarray of shape (n,), int
        Class codes of the tested images.
    probabilities : ndarray of shape (n, k)
        Out-of-fold probabilities.
    fold : ndarray of shape (n,), int
        Parts of the images: the threshold of each part is chosen on the others.
    groups : ndarray of shape (n,), optional
        Groups of the images.

    Returns
    -------
    point : OperatingPoint
    labels : ndarray of shape (n,), int
        Class codes of the labels. Those of each part are given by a threshold that was chosen on
        the other parts.

    Raises
    ------
    ParameterError
        See `choose_threshold`.
    """
    code = list(classes).index(label)
    positive, own = y == code, probabilities[:, code]
    point = OperatingPoint(
        label=label,
        at=target.text,
        threshold=choose_threshold(target, positive, own, groups),
        images=len(y),
        positives=int(positive.sum()),
        grouped=False,
        scores={},
    )
    decided = cross_fitted(target, positive, own, fold, groups)
    labels = labelled_at(decided, probabilities, code)
    return point.scored_on(y, labels, classes, groups), labels
