"""The operating point of the best head, chosen on its out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlfeatures.benchmarking.benchmark_result import Benchmark
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold, fewest
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.parts import divide
from tlfeatures.metrics.targets import Target, check_enough
from tlfeatures.models.operating_point import OperatingPoint, check_class, measured_point


def check_point(
    data: Dataset, folds: Sequence[Fold], target: Target | None, label: str | None
) -> None:
    """Check before the heads are fitted that an operating point can be chosen.

    Parameters
    ----------
    data : Dataset
    folds : sequence of (train rows, test rows)
    target : Target or None
        None if there is no operating point.
    label : str or None
        Class of the operating point.

    Raises
    ------
    ParameterError
        If the class is missing or unknown, or has too few tested images.
    """
    check_class(label, data.classes, None if target is None else target.text)
    if target is None or label is None:
        return
    tested = np.unique(np.concatenate([test for _, test in folds]))
    groups = _groups(data, tested)
    positive = data.y[tested] == label
    check_enough(target, positive, groups, label)
    if len(np.unique(positive)) < 2 or fewest(positive, groups) < 2:
        raise ParameterError(
            f"--at {target.text} needs two or more tested images (or groups) of {label} and of the "
            "other classes"
        )


def point_of(
    result: Benchmark, data: Dataset, target: Target, label: str
) -> tuple[OperatingPoint, NDArray[np.int_]]:
    """Choose and score the operating point of the best head.

    Parameters
    ----------
    result : Benchmark
        Benchmark of one dataset.
    data : Dataset
    target : Target
    label : str
        Class of the operating point.

    Returns
    -------
    point : OperatingPoint
    labels : ndarray of shape (n,), int
        Class codes of its out-of-fold labels, of the images of `result.predictions_of()`.

    Raises
    ------
    ParameterError
        If no threshold reaches the target, or the head gives no probabilities.
    """
    (entry,) = result.entries_of(result.ranking[0])
    tested = np.flatnonzero(entry.fold >= 0)
    groups = _groups(data, tested)
    y, fold = np.searchsorted(data.classes, data.y[tested]), entry.fold[tested]
    if len(np.unique(fold)) < 2:
        alone = np.arange(len(tested)) if groups is None else groups
        fold = divide(alone, data.y[tested] == label)
    table = entry.probabilities[tested].astype(np.float64)
    return measured_point(target, label, data.classes, y, table, fold, groups)


def _groups(data: Dataset, rows: NDArray[np.int_]) -> NDArray[np.int64] | None:
    return None if data.together is None else data.together[rows]
