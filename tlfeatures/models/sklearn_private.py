"""Access to private attributes of fitted scikit-learn estimators.

scikit-learn has no public names for the trees of histogram gradient boosting, for its baseline, and
for the value of `gamma="scale"`. ONNX files contain them, and they are checked when a model file is
read. All other modules use public names, except `head_arrays`, which checks the attributes that a
file sets. These functions only read attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.svm import SVC, NuSVC


def boosting_trees(boosting: HistGradientBoostingClassifier) -> list[list[Any]]:
    """Return the trees of each round, one tree for each output.

    The attribute `nodes` of a tree is a record array.
    """
    trees: list[list[Any]] = boosting._predictors
    return trees


def boosting_baseline(boosting: HistGradientBoostingClassifier) -> NDArray[np.float64]:
    """Return the baseline, of shape (1, outputs), to which the outputs of trees are added."""
    return np.asarray(boosting._baseline_prediction, np.float64).reshape(1, -1)


def kernel_gamma(machine: SVC | NuSVC) -> float:
    """Return the value of gamma that a fitted machine uses."""
    gamma: float = machine._gamma
    return gamma
