"""Scores of predictions for many weightings of the images, and reasons for undefined scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from tlfeatures.errors import ParameterError
from tlfeatures.names import some_of

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
SCORES = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc")
LABEL_SCORES = ("accuracy", "balanced_accuracy", "f1_macro")  # from 0 to 1; need no probabilities
_LESS_IS_BETTER = ("log_loss",)
SCORE_NAMES = {"f1_macro": "macro F1", "roc_auc": "ROC AUC"}  # others: see `score_name`
CELLS = 2**19  # number of weights in a chunk; its 4 MB fit in the processor's cache


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
    y, predicted, table = np.asarray(y), np.asarray(predicted), np.asarray(probabilities, float)
    weights = np.asarray(weights)
    _check_shapes(y, predicted, table, weights)
    sums = _Sums.of(y, predicted, table, names)
    scores = {name: np.full(weights.shape[1], np.nan) for name in names}
    for columns in _chunks(*weights.shape):
        chunk = weights[:, columns].astype(np.float64, order="C")
        if not (chunk >= 0).all():
            raise ParameterError("weights must be 0 or more, found a negative one or NaN")
        for name, values in sums.scores(chunk).items():
            if name in scores:
                scores[name][columns] = values
    return scores


def missing_scores(
    y: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]
) -> dict[str, str]:
    """Return the reasons for scores that are not defined.

    Parameters
    ----------
    y : array-like of shape (n,), int
        Class codes, 0 to k - 1.
    probabilities : array-like of shape (..., n, k)
        Probabilities of the classes; NaN where the head gives none.
    classes : sequence of k str
        Names of the classes.

    Returns
    -------
    dict of name to str
        The reason for each score of `pooled_scores` that is NaN if every image has the weight 1.
    """
    table = np.asarray(probabilities, float)
    finite = np.isfinite(table)
    if not finite.all():
        some = "some of the head's probabilities are not finite numbers"
        reason = some if finite.any() else "the head gives no probabilities"
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


def _check_shapes(
    y: NDArray[Any], predicted: NDArray[Any], table: Floats, weights: NDArray[Any]
) -> None:
    shapes = [array.shape for array in (y, predicted, table, weights)]
    n = len(y) if y.ndim else 0
    if not (n and shapes[1] == (n,) and [len(s) for s in shapes] == [1, 1, 2, 2]) or any(
        len(array) != n for array in (table, weights)
    ):
        raise ParameterError(
            "y, predicted, probabilities and weights must have shapes (n,), (n,), (n, k) and "
            f"(n, B) with n 1 or more, got {', '.join(map(str, shapes))}"
        )
    for name, codes in (("y", y), ("predicted", predicted)):
        _check_codes(name, codes, table.shape[1])


def _check_codes(name: str, codes: NDArray[Any], k: int) -> None:
    if codes.dtype.kind not in "iu":
        raise ParameterError(f"{name} must hold integer class codes, got {codes.dtype}")
    if codes.min() < 0 or codes.max() >= k:
        raise ParameterError(
            f"{name} must hold class codes 0 to {k - 1}, got {codes.min()} to {codes.max()}"
        )


def _chunks(n: int, columns: int) -> Iterator[slice]:
    step = max(1, CELLS // n)
    return (slice(start, start + step) for start in range(0, columns, step))


@dataclass(frozen=True)
class _Sums:
    """Sums over images from which scores are computed, as matrices to be multiplied with weights.

    `true`, `predicted` and `hits` count images in one row for each class. Without probabilities,
    or if the score is not needed, `losses` is None and `ranks` is empty.
    """

    true: Any
    predicted: Any
    hits: Any
    losses: Floats | None
    ranks: list[tuple[Any, Any]]

    @classmethod
    def of(cls, y: Codes, predicted: Codes, table: Floats, names: Sequence[str]) -> _Sums:
        n, k = table.shape
        rows = np.arange(n)
        right = y == predicted
        finite = bool(np.isfinite(table).all())
        return cls(
            true=_adder(y, rows, (k, n)),
            predicted=_adder(predicted, rows, (k, n)),
            hits=_adder(y[right], rows[right], (k, n)),
            losses=losses(y, table) if finite and "log_loss" in names else None,
            ranks=[_ranks(table[:, c], y == c) for c in ranked_classes(k)]
            if finite and "roc_auc" in names
            else [],
        )

    def scores(self, weights: Floats) -> dict[str, Floats]:
        true, predicted, hits = (m @ weights for m in (self.true, self.predicted, self.hits))
        total = true.sum(axis=0)
        scores = {
            "accuracy": _ratio(hits.sum(axis=0), total),
            "balanced_accuracy": _nan_mean(_ratio(hits, true)),
            "f1_macro": _nan_mean(_ratio(2 * hits, np.where(true > 0, true + predicted, 0))),
        }
        if self.losses is not None:
            scores["log_loss"] = _ratio(self.losses @ weights, total)
        if self.ranks:
            scores["roc_auc"] = np.mean([_auc(*pair, weights) for pair in self.ranks], axis=0)
        return scores


def _adder(targets: NDArray[Any], rows: NDArray[Any], shape: tuple[int, int]) -> Any:
    """Return a sparse matrix. Its product with weights has their sum over the rows of each target.

    `targets` has the number of the target for each of `rows`.
    """
    places = (targets.astype(np.int32), rows.astype(np.int32))  # half the memory of int64
    return sparse.csr_array((np.ones(len(rows)), places), shape=shape)


def losses(y: Codes, table: Floats) -> Floats:
    """Return the log loss of each image, of probabilities of shape (n, k)."""
    # The same bound as scikit-learn's. Without it, a single probability of 0 gives infinity.
    eps = np.finfo(np.float64).eps
    values: Floats = -np.log(np.clip(table[np.arange(len(y)), y], eps, 1 - eps))
    return values


def ranked_classes(k: int) -> range:
    """Return the classes whose ROC AUC is computed. With two classes, both have the same."""
    return range(1, 2) if k == 2 else range(k)


def _ranks(score: Floats, positive: NDArray[np.bool_]) -> tuple[Any, Any]:
    """Sort images by score into steps; return the matrices that add up positives and negatives."""
    order = np.argsort(score)
    score, positive = score[order], positive[order]
    tie = np.cumsum(np.diff(score, prepend=score[0]) > 0)
    step = _merge(np.bincount(tie, weights=positive), np.bincount(tie))[tie]
    shape = (int(step[-1]) + 1, len(order))
    return (
        _adder(step[positive], order[positive], shape),
        _adder(step[~positive], order[~positive], shape),
    )


def _merge(positives: NDArray[Any], sizes: NDArray[Any]) -> NDArray[np.int_]:
    """Return the number of the step of each tie.

    Neighbouring ties that are all positive, or all negative, become one step, because their order
    does not change ROC AUC. With a good head, only few steps are left.
    """
    kind = np.where(positives == 0, 0, np.where(positives == sizes, 1, 2))
    return np.cumsum((np.diff(kind, prepend=kind[0]) != 0) | (kind == 2))


def _auc(positive: Any, negative: Any, weights: Floats) -> Floats:
    positives, negatives = positive @ weights, negative @ weights
    up_to = np.cumsum(negatives, axis=0)
    pairs = positives.sum(axis=0) * up_to[-1]
    negatives *= -0.5
    negatives += up_to
    return _ratio(np.einsum("sb,sb->b", positives, negatives), pairs)


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _nan_mean(values: Floats) -> Floats:
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0))
