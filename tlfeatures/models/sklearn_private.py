"""Parts of fitted scikit-learn estimators that have no public name.

scikit-learn gives no public access to the trees of histogram gradient boosting, to its first guess,
or to the number that `gamma="scale"` stands for. ONNX files contain these, and a model file is
checked for them. All other modules use public names, except `head_arrays`, which checks what a
file sets. Everything here reads; nothing writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.svm import SVC, NuSVC


def boosting_trees(boosting: HistGradientBoostingClassifier) -> list[list[Any]]:
    """Give the trees of each round, one for each output; `nodes` of a tree is a record array."""
    trees: list[list[Any]] = boosting._predictors
    return trees


def boosting_baseline(boosting: HistGradientBoostingClassifier) -> NDArray[np.float64]:
    """Give the first guess, of shape (1, outputs), to which the trees add."""
    return np.asarray(boosting._baseline_prediction, np.float64).reshape(1, -1)


def kernel_gamma(machine: SVC | NuSVC) -> float:
    """Give the number that a fitted machine takes for gamma."""
    gamma: float = machine._gamma
    return gamma
