"""Scores of predictions for many weightings of the images, and reasons for undefined scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.roc_auc import ExactAuc, ProjectedAuc, is_large
from tlfeatures.metrics.weighted_sums import adder, chunks, dot, nan_mean, ratio
from tlfeatures.names import some_of

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
SCORES = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc")
LABEL_SCORES = ("accuracy", "balanced_accuracy", "f1_macro")  # from 0 to 1; need no probabilities
_LESS_IS_BETTER = ("log_loss",)
SCORE_NAMES = {"f1_macro": "macro F1", "roc_auc": "ROC AUC"}  # others: see `score_name`


def score_name(scoring: str) -> str:
    """Return the name of a score in words, for example "balanced accuracy"."""
    return SCORE_NAMES.get(scoring, scoring.replace("_", " "))


def score_unit(scoring: str) -> str:
    """Return the unit of a score, with a blank before it."""
    return " %" if scoring in LABEL_SCORES else ""


def score_text(scoring: str, value: float | None) -> str | None:
    """Write a score as a percentage without the sign, or with three digits; None without one."""
    if value is None:
        return None
    return f"{100 * value:.1f}" if scoring in LABEL_SCORES else f"{value:.3f}"


def score_title(scoring: str) -> str:
    """Return the title of a column of scores, with their unit, for example "accuracy, %"."""
    return score_name(scoring) + (", %" if score_unit(scoring) else "")


def bounds_text(scoring: str, bounds: Sequence[float] | None) -> str:
    """Write the bounds of an interval of a score; empty without an interval."""
    if bounds is None:
        return ""
    low, high = bounds
    return f"{score_text(scoring, low)} to {score_text(scoring, high)}"


def less_is_better(scoring: str) -> bool:
    """Whether a smaller value is better; scikit-learn's scorers are always better if larger."""
    return scoring in _LESS_IS_BETTER


def finite_or_none(value: Any) -> float | None:
    """Return a float for JSON, or None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None


def pooled_scores(
    y: ArrayLike,
    predicted: ArrayLike,
    probabilities: ArrayLike,
    weights: ArrayLike,
    *,
    names: Sequence[str] = SCORES,
) -> dict[str, Floats]:
    """Score the same predictions for many weightings of the images.

    Each score is the same as scikit-learn's score with `sample_weight`, over the images of all
    folds together. Balanced accuracy and macro F1 are means over the classes that have tested
    images (with a weight in the column). A class without tested images is not included in these
    means. An image that is predicted as this class lowers the score of its own class.

    Parameters
    ----------
    y, predicted : array-like of shape (n,), int
        Class codes of labels and predictions, 0 to k - 1.
    probabilities : array-like of shape (n, k)
        Probabilities of the classes; NaN where the head gives none.
    weights : array-like of shape (n, B)
        One weighting in each column, for example from `resample_counts`. Weights are 0 or more.
    names : sequence of str
        The scores to compute, from `SCORES`. Fewer scores take less time.

    Returns
    -------
    dict of name to ndarray of shape (B,), float64
        Of these names: `accuracy`, `balanced_accuracy`, `f1_macro`, `log_loss` and `roc_auc`
        (unweighted mean of each class against the rest). NaN if a score is not defined: log loss
        and ROC AUC if any probability is not finite, ROC AUC in a column in which a class has no
        weight, and all scores in a column without any weight.

    Raises
    ------
    ParameterError
        If shapes don't fit each other, codes are not 0 to k - 1, or weights are below 0.

    Notes
    -----
    Every score is computed from weighted sums over images. A few sparse products give the sums of
    all columns. For ROC AUC, images are sorted once by the probability of the class. ROC AUC is the
    Mann-Whitney statistic, in which a tie counts as one half (J. Hanley and B. McNeil (1982),
    Radiology 143, 29-36). In addition to the arguments, about 20 n k bytes and 20 MB of memory are
    needed.
    """
    weights, n = np.asarray(weights), np.shape(y)[0] if np.ndim(y) else 0
    if weights.ndim != 2 or len(weights) != n:
        shapes = map(np.shape, (y, predicted, probabilities, weights))
        raise ParameterError(_shapes_error(*shapes))
    projected = bool((weights == 1).all())  # the projection of equal weights is exact
    sums = ScoreSums.of(y, predicted, probabilities, names=names, projected=projected)
    return sums.scores(weights)


def missing_scores(
    y: ArrayLike, probabilities: Sequence[NDArray[Any]], classes: Sequence[str]
) -> dict[str, str]:
    """Return the reasons for scores that are not defined.

    Parameters
    ----------
    y : array-like of shape (n,), int
        Class codes, 0 to k - 1.
    probabilities : sequence of ndarray of shape (n, k)
        Probabilities of the classes in each repeat; NaN where the head gives none.
    classes : sequence of k str
        Names of the classes.

    Returns
    -------
    dict of name to str
        The reason for each score of `pooled_scores` that is NaN if every image has the weight 1.
    """
    finite = [np.isfinite(table) for table in probabilities]
    if not all(table.all() for table in finite):
        some = "some of the head's probabilities are not finite numbers"
        reason = some if any(table.any() for table in finite) else "the head gives no probabilities"
        return dict.fromkeys(("log_loss", "roc_auc"), reason)
    counts = np.bincount(np.asarray(y), minlength=len(classes)).tolist()
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    return {"roc_auc": without_images(absent)} if absent else {}


def without_images(absent: Sequence[str]) -> str:
    """Return the reason "no tested image is of ...", with the names of at most three classes."""
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    return f"no tested image is of {', '.join(absent[:3])}{more}"


def codes_of(labels: NDArray[Any], classes: NDArray[np.str_]) -> NDArray[np.int_]:
    """Return the class codes of labels that a head predicts.

    Parameters
    ----------
    labels : ndarray of shape (m,)
    classes : ndarray of shape (k,), str
        Names of the classes, sorted.

    Raises
    ------
    ValueError
        If a label is none of the classes.
    """
    codes: NDArray[np.int_] = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    wrong = classes[codes] != labels
    if np.any(wrong):
        label = np.asarray(labels)[wrong][0]
        raise ValueError(
            f"its label {str(label)!r} is none of the classes ({some_of(classes.tolist(), 6)}); a "
            "head must give the labels that it was fitted on"
        )
    return codes


def _check_shapes(y: NDArray[Any], predicted: NDArray[Any], table: NDArray[Any]) -> None:
    n = len(y) if y.ndim else 0
    if not n or y.ndim > 1 or predicted.shape != (n,) or table.ndim != 2 or len(table) != n:
        raise ParameterError(_shapes_error(y.shape, predicted.shape, table.shape))
    for name, codes in (("y", y), ("predicted", predicted)):
        _check_codes(name, codes, table.shape[1])


def _shapes_error(*shapes: tuple[int, ...]) -> str:
    names = ("y, predicted, probabilities", " and weights")[: len(shapes) - 2]
    return (
        f"{''.join(names)} must have shapes (n,), (n,), (n, k)"
        f"{' and (n, B)' if len(shapes) > 3 else ''} with n 1 or more, got "
        f"{', '.join(map(str, shapes))}"
    )


def _check_codes(name: str, codes: NDArray[Any], k: int) -> None:
    if codes.dtype.kind not in "iu":
        raise ParameterError(f"{name} must hold integer class codes, got {codes.dtype}")
    if codes.min() < 0 or codes.max() >= k:
        raise ParameterError(
            f"{name} must hold class codes 0 to {k - 1}, got {codes.min()} to {codes.max()}"
        )


@dataclass(frozen=True)
class ScoreSums:
    """Sums over images from which the scores of any weighting of the images are computed.

    The images are sorted by their class and their predicted class, so that those of a cell of the
    confusion matrix follow each other. Most scores are sums of the c cells that have images.

    Attributes
    ----------
    names : tuple of str
        The scores that are computed.
    order : ndarray of shape (n,), int
        The images in the order of their cells.
    starts : ndarray of shape (c,), int
        Where the images of each cell begin.
    true, predicted, hits : sparse matrices of shape (k, c)
        Add up, for each class, the cells of its images, of those that are predicted as this class,
        and of those of which both is true.
    losses : ndarray of shape (n,) or None
        Log loss of each image, in this order; None without probabilities.
    auc : ExactAuc or ProjectedAuc or None
    """

    names: tuple[str, ...]
    order: NDArray[np.int_]
    starts: NDArray[np.int_]
    true: Any
    predicted: Any
    hits: Any
    losses: Floats | None
    auc: ExactAuc | ProjectedAuc | None

    @classmethod
    def of(
        cls,
        y: ArrayLike,
        predicted: ArrayLike,
        probabilities: ArrayLike,
        *,
        names: Sequence[str] = SCORES,
        projected: bool = False,
    ) -> ScoreSums:
        """Prepare the scores of predictions.

        Parameters
        ----------
        y, predicted, probabilities, names
            See `pooled_scores`.
        projected : bool
            Whether large tables (`is_large`) have the projection of ROC AUC, which is right for
            resamples of all images and for equal weights, and not for weights of parts of them.

        Raises
        ------
        ParameterError
            See `pooled_scores`.
        """
        y, predicted, table = np.asarray(y), np.asarray(predicted), _floating(probabilities)
        _check_shapes(y, predicted, table)
        n, k = table.shape
        cell = y.astype(np.int64) * k + predicted
        order = np.argsort(cell, kind="stable")
        cells, starts = np.unique(cell[order], return_index=True)
        places, (of_class, as_class) = np.arange(len(cells)), np.divmod(cells, k)
        right = of_class == as_class
        odds = {"log_loss", "roc_auc"} & set(names)
        finite = bool(odds) and bool(np.isfinite(table).all())
        auc = ProjectedAuc if projected and is_large(n, k) else ExactAuc
        return cls(
            names=tuple(names),
            order=order,
            starts=starts,
            true=adder(of_class, places, (k, len(cells))),
            predicted=adder(as_class, places, (k, len(cells))),
            hits=adder(of_class[right], places[right], (k, len(cells))),
            losses=losses(y, table)[order] if finite and "log_loss" in names else None,
            auc=auc.of(y, table, order) if finite and "roc_auc" in names else None,
        )

    def scores(self, weights: ArrayLike) -> dict[str, Floats]:
        """Return each score of every column of weights, see `pooled_scores`.

        Parameters
        ----------
        weights : array-like of shape (n, B)

        Returns
        -------
        dict of name to ndarray of shape (B,), float64

        Raises
        ------
        ParameterError
            If weights have another shape or are below 0.
        """
        weights = np.asarray(weights)
        if weights.ndim != 2 or len(weights) != len(self.order):
            raise ParameterError(
                f"weights must have shapes that fit {len(self.order)} images, (n, B), got "
                f"{weights.shape}"
            )
        scores = {name: np.full(weights.shape[1], np.nan) for name in self.names}
        for columns, chunk in chunks(weights, self.order):
            if weights.dtype.kind != "u" and not (chunk >= 0).all():
                raise ParameterError("weights must be 0 or more, found a negative one or NaN")
            for name, values in self._of_chunk(chunk).items():
                if name in scores:
                    scores[name][columns] = values
        return scores

    def _of_chunk(self, weights: Floats) -> dict[str, Floats]:
        """Return the scores of weights of shape (b, n), whose images are in the order of cells."""
        cells = np.add.reduceat(weights, self.starts, axis=1).T
        true, hits = self.true @ cells, self.hits @ cells
        total = true.sum(axis=0)
        scores = {
            "accuracy": ratio(hits.sum(axis=0), total),
            "balanced_accuracy": nan_mean(ratio(hits, true)),
        }
        if "f1_macro" in self.names:
            both = true + self.predicted @ cells
            scores["f1_macro"] = nan_mean(ratio(2 * hits, np.where(true > 0, both, 0)))
        if self.losses is not None:
            scores["log_loss"] = ratio(dot(weights, self.losses), total)
        if self.auc is not None:
            scores["roc_auc"] = self.auc.scores(weights, true)
        return scores


def _floating(table: ArrayLike) -> NDArray[np.floating[Any]]:
    """Return probabilities as floating-point numbers; a large table of float32 is not copied."""
    values = np.asarray(table)
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def losses(y: Codes, table: NDArray[np.floating[Any]]) -> Floats:
    """Return the log loss of each image, of probabilities of shape (n, k)."""
    # The same bound as scikit-learn's. Without it, a single probability of 0 gives infinity.
    eps = np.finfo(np.float64).eps
    given = table[np.arange(len(y)), y].astype(np.float64)
    values: Floats = -np.log(np.clip(given, eps, 1 - eps))
    return values
