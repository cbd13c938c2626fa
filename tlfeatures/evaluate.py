"""Cross-validation: a head and a dataset become plain result arrays."""

from __future__ import annotations

import logging
import numbers
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    get_scorer,
    get_scorer_names,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv

from tlfeatures.dataset import Dataset
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.features.spec import as_list, unknown_name

logger = logging.getLogger(__name__)

SCORES = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc")
SPLIT_CHOICES = ("auto", "cv", "val", "test")


@dataclass(frozen=True)
class Evaluation:
    """What cross-validating one head gave.

    Attributes
    ----------
    split : str
        `cv`, or the split (val, test) that the head was scored on after fitting on train.
    classes : ndarray of shape (k,), str
    fold : ndarray of shape (n,), int
        The fold in which each image was tested; -1 where it never was.
    probabilities : ndarray of shape (n, k), float64
        Out-of-fold; NaN where an image was never tested, or the head gives none.
    scores : dict of name to ndarray of shape (folds,), float64
        NaN where a score is not defined: log loss and ROC AUC of a head without probabilities,
        ROC AUC of a fold that lacks a class.
    fit_seconds : ndarray of shape (folds,), float64
    """

    split: str
    classes: NDArray[np.str_]
    fold: NDArray[np.int_]
    probabilities: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]
    fit_seconds: NDArray[np.float64]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Give each score's mean, standard deviation over folds (ddof 1) and folds, JSON-ready.

        What is not defined is None: a NaN, or the deviation of a single fold.
        """
        return {name: _summary(values) for name, values in self.scores.items()}


def _summary(values: NDArray[np.float64]) -> dict[str, Any]:
    std = values.std(ddof=1) if len(values) > 1 else float("nan")
    return {
        "mean": _or_none(values.mean()),
        "std": _or_none(std),
        "folds": [_or_none(value) for value in values],
    }


def _or_none(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def cross_validate(
    head: BaseEstimator,
    data: Dataset,
    *,
    cv: Any = None,
    split: str = "auto",
    scoring: str | Sequence[str] = (),
    n_jobs: int | None = None,
    random_state: int | None = 0,
) -> Evaluation:
    """Score a head on images it was not fitted on.

    The head is cloned for each fold, so that all it learns, scaling and PCA included, comes from
    the fold's training images.

    Parameters
    ----------
    head : scikit-learn classifier
        From `make_head`, or any other.
    data : Dataset
    cv : int, scikit-learn splitter or iterable of (train rows, test rows), optional
        Number of folds (5), stratified and shuffled; where the data have groups, none is torn
        apart.
    split : {"auto", "cv", "val", "test"}
        "auto" cross-validates where `cv` is given or the data have no splits; else it fits on
        train and scores on val, or on test where there is no val. "cv" cross-validates over all
        images.
    scoring : sequence of str
        Further scores, by scikit-learn's names.
    n_jobs : int or None
        Folds fitted at once.
    random_state : int or None
        Of the shuffling.

    Returns
    -------
    Evaluation

    Raises
    ------
    DatasetError
        With one class, or a class of fewer images than folds.
    ParameterError
        For an unknown split or score.

    Notes
    -----
    ROC AUC with more than two classes is the unweighted mean of one class against the rest.
    """
    scoring = as_list(scoring)
    if n_jobs == 0:
        raise ParameterError("n_jobs must be 1 or more, or -1 for all cores, got 0")
    _check_scoring(scoring)
    chosen, folds = make_folds(data, cv=cv, split=split, random_state=random_state)
    classes = np.array(data.classes)
    outcomes = Parallel(n_jobs=n_jobs)(
        delayed(_fit_and_score)(clone(head), data.X, data.y, train, test, classes, scoring)
        for train, test in folds
    )
    for message in sorted({text for outcome in outcomes for text in outcome.warnings}):
        logger.warning("%s", message.splitlines()[0].rstrip(":"))
    fold = np.full(len(data.y), -1)
    probabilities = np.full((len(data.y), len(classes)), np.nan)
    for index, ((_, test), outcome) in enumerate(zip(folds, outcomes, strict=True)):
        fold[test] = index
        probabilities[test] = outcome.probabilities
    return Evaluation(
        split=chosen,
        classes=classes,
        fold=fold,
        probabilities=probabilities,
        scores={
            name: np.array([outcome.scores[name] for outcome in outcomes])
            for name in dict.fromkeys((*SCORES, *scoring))
        },
        fit_seconds=np.array([outcome.seconds for outcome in outcomes]),
    )


def _check_scoring(scoring: Sequence[str]) -> None:
    for name in scoring:
        known = list(dict.fromkeys((*SCORES, *get_scorer_names())))
        if name not in known:
            raise unknown_name("scoring", name, known)


# ---- folds

Fold = tuple[NDArray[np.int_], NDArray[np.int_]]


def make_folds(
    data: Dataset, *, cv: Any = None, split: str = "auto", random_state: int | None = 0
) -> tuple[str, list[Fold]]:
    """Cut a dataset into training and test rows.

    Returns
    -------
    split : str
        `cv`, or the name of the split that is tested on.
    folds : list of (train rows, test rows)
    """
    if len(data.classes) < 2:
        raise DatasetError(
            f"all {len(data.y)} images are of one class ({data.classes[0]}); a classifier needs "
            "two or more: one subfolder a class, or --labels CSV"
        )
    chosen = _choose_split(data, "cv" if split == "auto" and cv is not None else split)
    if chosen != "cv":
        return chosen, [_given_fold(data, chosen)]
    cv = 5 if cv is None else cv
    if isinstance(cv, numbers.Integral):
        _check_counts(data, int(cv))
        kind = StratifiedKFold if data.groups is None else StratifiedGroupKFold
        cv = kind(int(cv), shuffle=True, random_state=random_state)
    try:
        folds = list(check_cv(cv).split(data.X, data.y, data.groups))
    except ValueError as error:
        raise ParameterError(f"this cv can't cut these images into folds: {error}") from error
    for train, _ in folds:
        if len(set(data.y[train])) < 2:
            raise DatasetError(
                "a fold would be fitted on one class only, as its groups hold no other: fewer "
                "folds by --cv, or smaller groups"
            )
    return chosen, folds


def _choose_split(data: Dataset, split: str) -> str:
    if split not in SPLIT_CHOICES:
        raise unknown_name("split", split, SPLIT_CHOICES)
    there = set() if data.split is None else set(data.split.tolist())
    if split == "auto":
        usable = [name for name in ("val", "test") if name in there and "train" in there]
        return usable[0] if usable else "cv"
    if split != "cv" and not {"train", split} <= there:
        found = ", ".join(sorted(there)) or "no splits"
        raise ParameterError(
            f"split {split} needs images in folders train and {split}, found {found}; "
            "--split cv cross-validates over all images"
        )
    return split


def _given_fold(data: Dataset, split: str) -> Fold:
    train, test = (np.flatnonzero(data.split == name) for name in ("train", split))
    missing = set(data.y[test]) - set(data.y[train])
    if missing:
        raise DatasetError(
            f"classes of the {split} split that are not in train: {', '.join(sorted(missing))}; "
            "add training images of them, or --split cv"
        )
    if len(set(data.y[train])) < 2:
        raise DatasetError("the train split has images of one class only; add others")
    shared = (
        set()
        if data.groups is None
        else set(data.groups[train].tolist()) & set(data.groups[test].tolist())
    )
    if shared:
        raise DatasetError(
            f"{len(shared)} groups have images in train and in {split}, {min(shared)!r} first: "
            "move them, or --split cv"
        )
    return train, test


def _check_counts(data: Dataset, cv: int) -> None:
    if cv < 2:
        raise ParameterError(f"cv must be 2 folds or more, got {cv}")
    names, counts = np.unique(data.y, return_counts=True)
    small = names[counts < cv]
    if len(small):
        listed = ", ".join(f"{name} ({counts[names == name][0]})" for name in small[:5])
        least = int(counts.min())
        mend = f"--cv {least}, or more images" if least > 1 else "more images"
        raise DatasetError(
            f"{cv} folds need {cv} images of each class; too few of {listed}: {mend}"
        )
    if data.groups is not None and len(np.unique(data.groups)) < cv:
        raise DatasetError(
            f"{cv} folds need {cv} groups, found {len(np.unique(data.groups))}: fewer folds by --cv"
        )


# ---- one fold


@dataclass(frozen=True)
class _Outcome:
    scores: dict[str, float]
    probabilities: NDArray[np.float64]
    seconds: float
    warnings: list[str]


def _fit_and_score(
    head: BaseEstimator,
    X: NDArray[np.float32],
    y: NDArray[np.str_],
    train: NDArray[np.int_],
    test: NDArray[np.int_],
    classes: NDArray[np.str_],
    scoring: Sequence[str],
) -> _Outcome:
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        _fit(head, X[train], y[train])
    seconds = time.perf_counter() - started
    X_test, y_test = X[test], y[test]
    table = _probabilities(head, X_test, classes)
    scores = _standard_scores(y_test, head.predict(X_test), table, classes)
    for name in scoring:
        if name not in scores:
            scores[name] = _extra_score(name, head, X_test, y_test)
    return _Outcome(scores, table, seconds, [str(item.message) for item in caught])


def _fit(head: BaseEstimator, X: NDArray[np.float32], y: NDArray[np.str_]) -> None:
    """Fit; what scikit-learn says of a parameter's value becomes one line of ours."""
    try:
        head.fit(X, y)
    except ParameterError:
        raise
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"the head can't be fitted: {reason}") from error


def _extra_score(
    name: str, head: BaseEstimator, X: NDArray[np.float32], y: NDArray[np.str_]
) -> float:
    try:
        return float(get_scorer(name)(head, X, y))
    except (ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"scoring {name} can't be used here: {reason}") from error


def _probabilities(
    head: BaseEstimator, X: NDArray[np.float32], classes: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Columns of all classes, also of those that the training rows lacked; NaN without any."""
    if not hasattr(head, "predict_proba"):
        return np.full((len(X), len(classes)), np.nan)
    table = np.zeros((len(X), len(classes)))
    table[:, np.searchsorted(classes, head.classes_)] = head.predict_proba(X)
    # float32 inputs give float32 probabilities, whose sums miss one by more than log_loss allows.
    normalised: NDArray[np.float64] = table / table.sum(axis=1, keepdims=True)
    return normalised


def _standard_scores(
    y: NDArray[np.str_],
    predicted: NDArray[np.str_],
    table: NDArray[np.float64],
    classes: NDArray[np.str_],
) -> dict[str, float]:
    scores = {
        "accuracy": float(accuracy_score(y, predicted)),
        "balanced_accuracy": float(balanced_accuracy_score(y, predicted)),
        "f1_macro": float(f1_score(y, predicted, average="macro")),
        "log_loss": float("nan"),
        "roc_auc": float("nan"),
    }
    if np.isfinite(table).all():
        scores["log_loss"] = float(log_loss(y, table, labels=classes))
        scores["roc_auc"] = _roc_auc(y, table, classes)
    return scores


def _roc_auc(y: NDArray[np.str_], table: NDArray[np.float64], classes: NDArray[np.str_]) -> float:
    """One class against the rest, unweighted mean; NaN if a class is not among the tested."""
    one_hot = y[:, None] == classes
    if not one_hot.any(axis=0).all():
        return float("nan")
    return float(roc_auc_score(one_hot, table, average="macro"))
