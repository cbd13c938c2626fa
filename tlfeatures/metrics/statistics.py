"""How far a score can be believed: bootstrap intervals, and tests of one head against another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, special

from tlfeatures.errors import ParameterError

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]

SCORE_NAMES = {"f1_macro": "macro F1", "roc_auc": "ROC AUC"}  # where not the words of the name
SCORES = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc")
CELLS = 2**19  # weights held as float64 at a time: 4 MB stay in the processor's cache


# ---- resamples


def score_name(scoring: str) -> str:
    """Name a score in words."""
    return SCORE_NAMES.get(scoring, scoring.replace("_", " "))


def resample_counts(
    n: int,
    groups: ArrayLike | None = None,
    *,
    resamples: int = 1000,
    random_state: int | None = 0,
) -> NDArray[np.float32]:
    """Draw bootstrap resamples of images, or of whole groups of images.

    Parameters
    ----------
    n : int
        Number of images.
    groups : array-like of shape (n,), any hashable values, optional
        Images of one group are drawn together: as many groups are drawn, with replacement, as
        there are. Without groups, n images are drawn.
    resamples : int
    random_state : int or None
        Seed; None draws a new one.

    Returns
    -------
    ndarray of shape (n, resamples), float32
        How often each image is in each resample. With groups of unequal size the images of a
        resample don't add up to n.

    Raises
    ------
    ParameterError
        For no images, no resamples, or groups of another length.

    References
    ----------
    B. Efron and R. Tibshirani (1993), An Introduction to the Bootstrap, Chapman & Hall.
    C. Field and A. Welsh (2007), Bootstrapping clustered data, Journal of the Royal Statistical
    Society B 69, 369-390: the bootstrap of whole groups.
    """
    if n < 1 or resamples < 1:
        raise ParameterError(f"n and resamples must be 1 or more, got {n} and {resamples}")
    random = np.random.default_rng(random_state)
    if groups is None:
        return _draw(random, n, resamples)
    codes = _group_codes(np.asarray(groups), n)
    return _draw(random, int(codes.max()) + 1, resamples)[codes]


def _draw(random: np.random.Generator, units: int, resamples: int) -> NDArray[np.float32]:
    counts = np.empty((units, resamples), np.float32)
    for column in range(resamples):
        counts[:, column] = np.bincount(random.integers(0, units, units), minlength=units)
    return counts


def _group_codes(groups: NDArray[Any], n: int) -> NDArray[np.int_]:
    if groups.shape != (n,):
        raise ParameterError(f"groups must have shape ({n},), one an image, got {groups.shape}")
    # Not np.unique: it can't sort an array of objects of mixed types.
    values = groups.tolist()
    codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
    return np.array([codes[value] for value in values])


# ---- the scores of many resamples at once


def pooled_scores(
    y: ArrayLike, predicted: ArrayLike, probabilities: ArrayLike, weights: ArrayLike
) -> dict[str, Floats]:
    """Score the same predictions under many weightings of the images.

    Each score is scikit-learn's with `sample_weight`, over the images of all folds together.
    Balanced accuracy and macro F1 are averages over the classes that have tested images (with a
    weight in the column). A class without any was put to no test and counts in neither; an image
    that is taken for it lowers the scores of its own class.

    Parameters
    ----------
    y, predicted : array-like of shape (n,), int
        Class codes, 0 to k - 1.
    probabilities : array-like of shape (n, k)
        NaN where the head gives none.
    weights : array-like of shape (n, B)
        One weighting a column, such as `resample_counts` gives; none below 0.

    Returns
    -------
    dict of name to ndarray of shape (B,), float64
        `accuracy`, `balanced_accuracy`, `f1_macro`, `log_loss`, and `roc_auc`: one class against
        the rest, unweighted mean. NaN where not defined: log loss and ROC AUC if any probability
        is not finite, ROC AUC of a column in which a class has no weight, everything in a column
        without weight.

    Raises
    ------
    ParameterError
        For shapes that don't fit each other, codes outside 0 to k - 1, or weights below 0.

    Notes
    -----
    Every score is built from weighted sums over images, so all columns are had from a few sparse
    products. For ROC AUC, images are sorted by the class's probability once; per column it is
    the Mann-Whitney statistic, in which a tie counts half (J. Hanley and B. McNeil (1982),
    Radiology 143, 29-36). Beside the arguments, memory is about 20 n k bytes and some 20 MB.
    """
    y, predicted, table = np.asarray(y), np.asarray(predicted), np.asarray(probabilities, float)
    weights = np.asarray(weights)
    _check_shapes(y, predicted, table, weights)
    sums = _Sums.of(y, predicted, table)
    scores = {name: np.full(weights.shape[1], np.nan) for name in SCORES}
    for columns in _chunks(*weights.shape):
        chunk = weights[:, columns].astype(np.float64, order="C")
        if not (chunk >= 0).all():
            raise ParameterError("weights must be 0 or more, found a negative one or NaN")
        for name, values in sums.scores(chunk).items():
            scores[name][columns] = values
    return scores


def missing_scores(
    y: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]
) -> dict[str, str]:
    """Say why scores of these images are not defined.

    Parameters
    ----------
    y : array-like of shape (n,), int
        Class codes, 0 to k - 1.
    probabilities : array-like of shape (..., n, k)
        NaN where the head gives none.
    classes : sequence of k str

    Returns
    -------
    dict of name to str
        The scores of `pooled_scores` that are NaN where every image has the weight 1, and the
        reason of each in words.
    """
    table = np.asarray(probabilities, float)
    known = np.isfinite(table)
    if not known.all():
        some = "some of the head's probabilities are no numbers"
        reason = some if known.any() else "the head gives no probabilities"
        return dict.fromkeys(("log_loss", "roc_auc"), reason)
    counts = np.bincount(np.asarray(y), minlength=len(classes)).tolist()
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    return {"roc_auc": without_images(absent)} if absent else {}


def without_images(absent: Sequence[str]) -> str:
    """Say that no tested image is of these classes."""
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    return f"no tested image is of {', '.join(absent[:3])}{more}"


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
    """The sums over images that the scores are made of, as matrices to multiply weights with.

    `true`, `predicted` and `hits` have a row a class; `losses` is None and `ranks` empty without
    probabilities.
    """

    true: Any
    predicted: Any
    hits: Any
    losses: Floats | None
    ranks: list[tuple[Any, Any]]

    @classmethod
    def of(cls, y: Codes, predicted: Codes, table: Floats) -> _Sums:
        n, k = table.shape
        rows = np.arange(n)
        right = y == predicted
        known = bool(np.isfinite(table).all())
        return cls(
            true=_adder(y, rows, (k, n)),
            predicted=_adder(predicted, rows, (k, n)),
            hits=_adder(y[right], rows[right], (k, n)),
            losses=_losses(y, table) if known else None,
            ranks=[_ranks(table[:, c], y == c) for c in _ranked(k)] if known else [],
        )

    def scores(self, weights: Floats) -> dict[str, Floats]:
        true, predicted, hits = (m @ weights for m in (self.true, self.predicted, self.hits))
        total = true.sum(axis=0)
        scores = {
            "accuracy": _ratio(hits.sum(axis=0), total),
            "balanced_accuracy": _mean_of_known(_ratio(hits, true)),
            "f1_macro": _mean_of_known(_ratio(2 * hits, np.where(true > 0, true + predicted, 0))),
        }
        if self.losses is not None:
            scores["log_loss"] = _ratio(self.losses @ weights, total)
            scores["roc_auc"] = np.mean([_auc(*pair, weights) for pair in self.ranks], axis=0)
        return scores


def _adder(targets: NDArray[Any], rows: NDArray[Any], shape: tuple[int, int]) -> Any:
    """Make the matrix that adds up, for each target, the rows that belong to it."""
    places = (targets.astype(np.int32), rows.astype(np.int32))  # half the memory of the default
    return sparse.csr_array((np.ones(len(rows)), places), shape=shape)


def _losses(y: Codes, table: Floats) -> Floats:
    # scikit-learn's bound, so that one certain mistake doesn't make the mean infinite.
    eps = np.finfo(np.float64).eps
    losses: Floats = -np.log(np.clip(table[np.arange(len(y)), y], eps, 1 - eps))
    return losses


def _ranked(k: int) -> range:
    """Classes to rank by: of two, one is enough, as the other's order is its reverse."""
    return range(1, 2) if k == 2 else range(k)


def _ranks(score: Floats, positive: NDArray[np.bool_]) -> tuple[Any, Any]:
    """Sort images into steps of rising score; give the adders of positives and of the rest."""
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
    """Number the steps: neighbouring ties that are all positive, or all not, make one.

    Their order among themselves doesn't matter, and a good head leaves few steps.
    """
    kind = np.where(positives == 0, 0, np.where(positives == sizes, 1, 2))
    return np.cumsum((np.diff(kind, prepend=kind[0]) != 0) | (kind == 2))


def _auc(positive: Any, negative: Any, weights: Floats) -> Floats:
    above, beside = positive @ weights, negative @ weights
    upto = np.cumsum(beside, axis=0)
    pairs = above.sum(axis=0) * upto[-1]
    beside *= -0.5
    beside += upto
    return _ratio(np.einsum("sb,sb->b", above, beside), pairs)


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean_of_known(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))


# ---- intervals


def bootstrap_intervals(
    y: ArrayLike,
    predicted: ArrayLike,
    probabilities: ArrayLike,
    counts: ArrayLike,
    *,
    units: int,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Give each pooled score's interval over which images happened to be sampled.

    The interval answers: the head being fitted as it was, how might the score have come out on
    other images (or groups) of the same kind? It does NOT cover another training set: the fitted
    heads stay as they are. Nor does it cover choosing the best of many heads: the best one's
    score is too high by the choosing, and no interval about it mends that.

    Parameters
    ----------
    y : array-like of shape (n,), int
        Class codes, 0 to k - 1. Images that were never tested are left out beforehand.
    predicted : array-like of shape (repeats, n), int
    probabilities : array-like of shape (repeats, n, k)
        NaN where the head gives none.
    counts : array-like of shape (n, B)
        From `resample_counts`.
    units : int
        What was drawn: the number of images, or of groups.
    level : float
        Share of cases in which such an interval holds the true score, 0 to 1.

    Returns
    -------
    dict of name to (low, high)
        The names of `pooled_scores`. NaN, NaN where the score is not defined, or the same in
        every resample: images that don't differ say nothing of others. Accuracy alone has an
        interval at 0 and at 1 too: Wilson's.

    Raises
    ------
    ParameterError
        For a level outside 0 to 1, no units, or what `pooled_scores` refuses.

    Notes
    -----
    The score of a resample is the mean over repeats of the pooled score: an image brings all its
    repeats along, so that repeats don't pass for more images. The interval is the percentiles of
    these means. Resamples in which the score is not defined are left out. With few images (or
    groups) of a class, say under 20, percentile intervals are too narrow.

    References
    ----------
    B. Efron and R. Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    E. Wilson (1927), Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22, 209-212.
    """
    if not 0 < level < 1:
        raise ParameterError(f"level must be between 0 and 1, got {level}")
    if units < 1:
        raise ParameterError(f"units must be 1 or more, got {units}")
    y, predicted = np.asarray(y), np.asarray(predicted)
    resampled = resampled_scores(y, predicted, probabilities, counts)
    intervals = {name: _percentiles(values, level) for name, values in resampled.items()}
    accuracy = float((predicted == y).mean())
    if accuracy in (0.0, 1.0):
        low, high = wilson(accuracy, units, level).tolist()
        intervals["accuracy"] = low, high
    return intervals


def resampled_scores(
    y: ArrayLike, predicted: ArrayLike, probabilities: ArrayLike, counts: ArrayLike
) -> dict[str, Floats]:
    """Give each pooled score on every resample, its mean over repeats.

    Parameters
    ----------
    y, predicted, probabilities, counts
        As for `bootstrap_intervals`.

    Returns
    -------
    dict of name to ndarray of shape (B,), float64

    Raises
    ------
    ParameterError
        For shapes that don't fit each other, and what `pooled_scores` refuses.
    """
    y, predicted, tables = np.asarray(y), np.asarray(predicted), np.asarray(probabilities)
    if predicted.ndim != 2 or tables.ndim != 3 or not 0 < len(predicted) == len(tables):
        raise ParameterError(
            "predicted and probabilities must have shapes (repeats, n) and (repeats, n, k), got "
            f"{predicted.shape} and {tables.shape}"
        )
    repeats = [pooled_scores(y, *pair, counts) for pair in zip(predicted, tables, strict=True)]
    return {name: np.mean([scores[name] for scores in repeats], axis=0) for name in SCORES}


def paired_bootstrap_test(first: ArrayLike, second: ArrayLike) -> float:
    """Test whether two heads differ in a score, by the same resamples of the same images.

    For a single split, where there are no folds to compare.

    Parameters
    ----------
    first, second : array-like of shape (B,)
        Scores on the same resamples, see `resampled_scores`.

    Returns
    -------
    float
        Two-sided p value of the mean difference, by the normal distribution with the standard
        deviation of the resamples' differences: shares of resamples could not be smaller than one
        in B, too much where many heads are compared. 1 if they never differ, NaN if neither has a
        number.

    References
    ----------
    B. Efron and R. Tibshirani (1993), An Introduction to the Bootstrap, chapter 6: the bootstrap
    estimate of standard error.
    """
    differences = np.asarray(first, float) - np.asarray(second, float)
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return float("nan")
    mean, spread = differences.mean(), differences.std()
    if spread <= 1e-12:
        return 1.0 if abs(mean) <= 1e-12 else 0.0
    return float(2 * special.ndtr(-abs(mean) / spread))


def _percentiles(values: Floats, level: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values) or _all_same(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _all_same(values: Floats) -> bool:
    # Equal sums, added in another order, differ in the last digits.
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def wilson(share: ArrayLike, n: ArrayLike, level: float = 0.95) -> Floats:
    """Give Wilson's intervals of shares of n images, of shape (..., 2) (see `bootstrap_intervals`).

    Parameters
    ----------
    share, n : array-like of shape (...)
    level : float
    """
    share, n = np.asarray(share, float), np.asarray(n)
    z2 = float(special.ndtri((1 + level) / 2)) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # Exact at the ends, where rounding would leave a trace of the other side.
    low = np.where(share == 0, 0, np.clip(middle - reach, 0, 1))
    high = np.where(share == 1, 1, np.clip(middle + reach, 0, 1))
    return np.stack([low, high], axis=-1)


# ---- one head against another


def corrected_t_test(differences: ArrayLike, test_fraction: float) -> float:
    """Test whether two heads, cross-validated on the same folds, differ in their mean score.

    The plain paired t-test takes folds for independent. They share most of their training
    images, so it finds differences where there are none. The correction widens the variance of
    the mean from 1/J to 1/J + n_test/n_train times that of the folds.

    Parameters
    ----------
    differences : array-like of shape (J,)
        One head's score less the other's, by fold; J is folds times repeats.
    test_fraction : float
        Test images of a fold divided by its training images: 1 / (folds - 1).

    Returns
    -------
    float
        The two-sided p value, of J - 1 degrees of freedom. 1 if all differences are 0; NaN with
        under two folds or if any difference is not finite.

    Raises
    ------
    ParameterError
        If differences have another shape, or test_fraction is below 0 or not finite.

    Notes
    -----
    If every fold differs by the same amount d, the variance is 0 and the formula gives p = 0,
    however few the folds. That would claim too much: scores of a fold come in steps (one image
    more or less), and a step of h hides a variance of h**2 / 12 (W. Sheppard (1898), Proceedings
    of the London Mathematical Society 29, 353-380). The coarsest step that such differences
    allow is d itself, so d**2 / 12 is taken. p then depends on J and test_fraction alone: 0.22
    for two folds, 0.007 for five, 0.00004 for ten.

    References
    ----------
    C. Nadeau and Y. Bengio (2003), Inference for the generalization error, Machine Learning 52,
    239-281.
    R. Bouckaert and E. Frank (2004), Evaluating the replicability of significance tests for
    comparing learning algorithms, PAKDD, 3-12: the same with repeats.
    """
    values = _fold_differences(differences, test_fraction)
    if len(values) < 2:
        return float("nan")
    if not values.any():
        return 1.0
    statistic = values.mean() / _standard_error(values, test_fraction)
    return float(2 * special.stdtr(len(values) - 1, -abs(statistic)))


def detectable_difference(
    differences: ArrayLike, test_fraction: float, *, level: float = 0.05
) -> float:
    """Give the smallest mean difference that `corrected_t_test` would have told from 0.

    Parameters
    ----------
    differences : array-like of shape (J,)
    test_fraction : float
        As for `corrected_t_test`.
    level : float
        The p value at which two heads count as different.

    Returns
    -------
    float
        The critical t times the standard error. NaN where there is no telling: under two folds,
        a difference that is not finite, or all of them 0.

    Raises
    ------
    ParameterError
        As for `corrected_t_test`, and for a level outside 0 to 1.

    Notes
    -----
    A true difference of just this size would be found half of the time, not always.
    """
    if not 0 < level < 1:
        raise ParameterError(f"level must be between 0 and 1, got {level}")
    values = _fold_differences(differences, test_fraction)
    if len(values) < 2 or not values.any():
        return float("nan")
    critical = special.stdtrit(len(values) - 1, 1 - level / 2)
    return float(critical * _standard_error(values, test_fraction))


def _fold_differences(differences: ArrayLike, test_fraction: float) -> Floats:
    """Check; none are left if one is not finite, and what is 0 but for rounding becomes 0."""
    values = np.asarray(differences, np.float64)
    if values.ndim != 1:
        raise ParameterError(f"differences must have shape (J,), got {values.shape}")
    if not 0 <= test_fraction < np.inf:
        raise ParameterError(f"test_fraction must be a number from 0 up, got {test_fraction}")
    if not np.isfinite(values).all():
        return np.empty(0)
    return np.where(np.abs(values) < 1e-12, 0, values)


def _standard_error(values: Floats, test_fraction: float) -> float:
    variance = values.mean() ** 2 / 12 if _all_same(values) else values.var(ddof=1)
    return float(np.sqrt((1 / len(values) + test_fraction) * variance))


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p values for the number of tests.

    Calling those tests significant whose adjusted p is at most 0.05 makes one false call or more
    in at most 5 of 100 such families of tests, whatever their dependence.

    Parameters
    ----------
    p_values : array-like of shape (m,)
        NaN where there was no test.

    Returns
    -------
    ndarray of shape (m,), float64
        In the order given, at most 1. NaN stays NaN and doesn't count as a test.

    Raises
    ------
    ParameterError
        For another shape, or a value outside 0 to 1.

    References
    ----------
    S. Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal
    of Statistics 6, 65-70.
    """
    values = np.asarray(p_values, np.float64)
    if values.ndim != 1:
        raise ParameterError(f"p_values must have shape (m,), got {values.shape}")
    if ((values < 0) | (values > 1)).any():
        raise ParameterError(
            f"p values must be from 0 to 1, got {np.nanmin(values)} to {np.nanmax(values)}"
        )
    adjusted = np.full(len(values), np.nan)
    rising = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]  # NaN sort last
    factors = len(rising) - np.arange(len(rising))
    adjusted[rising] = np.minimum(1, np.maximum.accumulate(values[rising] * factors))
    return adjusted
