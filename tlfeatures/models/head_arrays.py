"""Checks of the arrays of a head that was constructed from a file, before its first prediction.

Attack: compiled code uses numbers as indices without checking bounds (nodes of trees, arrays of
libsvm, labels of neighbours). Crafted numbers could crash the process, or read and write outside of
the arrays. Invariant: every number that compiled code uses as an index is within its array. There
is one function for each class that passes numbers to compiled code. NumPy checks all other arrays
itself.

The functions read the same attributes as the compiled code. In scikit-learn, most of these
attributes are private, because users do not need them. They are only read, and never written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlfeatures.models.sklearn_private import boosting_trees


def unsafe_part(head: Any) -> str | None:
    """Describe the first part of a head that could make compiled code read outside its arrays.

    Parameters
    ----------
    head : fitted scikit-learn classifier
        A head of trusted types that has not predicted anything.

    Returns
    -------
    str or None
        None if all parts are safe.
    """
    checks = _checks()
    for owner, name, item in _parts(head):
        kind = type(item)
        if kind.__module__ == "sklearn.tree._tree" and (name != "tree_" or not _is_tree(owner)):
            return "a tree that belongs to nothing"
        hidden = set(vars(item)) & set(dir(kind)) if hasattr(item, "__dict__") else set()
        if hidden:
            return f"{kind.__name__}.{min(hidden)}, which is no attribute but the class's own"
        for base, check in checks.items():
            if isinstance(item, base) and not check(item):
                return f"a {kind.__name__} with arrays that don't fit each other"
    return None


def _parts(head: Any) -> Iterator[tuple[Any, str | None, Any]]:
    """Yield every part of a head with its owner, and with its name if the part is an attribute.

    A part of several owners is yielded once for each owner.
    """
    waiting: list[tuple[Any, str | None, Any]] = [(None, None, head)]
    seen = set()
    while waiting:
        yield waiting[-1]
        item = waiting.pop()[2]
        if id(item) in seen:
            continue
        seen.add(id(item))
        inner: Any = ()
        if isinstance(item, dict):
            inner = item.values()
        elif isinstance(item, list | tuple | set):
            inner = item
        elif isinstance(item, np.ndarray) and item.dtype == object:
            inner = item.ravel().tolist()
        waiting += [(item, None, value) for value in inner]
        if hasattr(item, "__dict__"):
            waiting += [(item, name, value) for name, value in vars(item).items()]


Check = Callable[[Any], bool]


@functools.cache
def _checks() -> dict[type, Check]:
    """Return the check of each class that passes numbers to compiled code."""
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC, NuSVC
    from sklearn.tree import BaseDecisionTree

    checks: dict[type, Check] = {
        BaseDecisionTree: _whole_tree,
        GradientBoostingClassifier: _whole_boosting,
        HistGradientBoostingClassifier: _whole_histogram_boosting,
        KNeighborsClassifier: _whole_neighbors,
        SVC: _whole_svc,
        NuSVC: _whole_svc,
        np.random.RandomState: _whole_random_state,
    }
    return {kind: functools.partial(_holds, check) for kind, check in checks.items()}


def _holds(check: Check, item: Any) -> bool:
    """Return the result of a check; False if an attribute is missing.

    An estimator that is not fitted passes, because it is a parameter and predicts nothing.
    """
    if hasattr(item, "__dict__") and not any(name.endswith("_") for name in vars(item)):
        return True
    try:
        return check(item)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False


def _is_tree(item: Any) -> bool:
    from sklearn.tree import BaseDecisionTree

    return isinstance(item, BaseDecisionTree)


def _whole_tree(item: Any) -> bool:
    """Check a tree of `sklearn.tree`, whose columns a forest does not check for every tree."""
    tree = item.tree_
    if not 0 < tree.node_count == tree.capacity or item.n_features_in_ != tree.n_features:
        return False
    leaf = tree.children_left == -1
    sides = tree.children_left, tree.children_right
    return item.n_outputs_ == 1 and _inside(*sides, tree.feature, leaf, tree.n_features)


def _inside(
    left: NDArray[Any], right: NDArray[Any], column: NDArray[Any], leaf: NDArray[Any], columns: int
) -> bool:
    """Check whether every path ends within the tree and reads existing columns."""
    inner = np.flatnonzero(~leaf)
    children = [side[inner].astype(np.int64) for side in (left, right)]
    used = column[inner].astype(np.int64)
    after = all(bool(((side > inner) & (side < len(left))).all()) for side in children)
    return len(left) > 0 and after and bool(((used >= 0) & (used < columns)).all())


def _whole_boosting(item: Any) -> bool:
    """Check gradient boosting: compiled code adds tree k of a round to column k of the output."""
    from sklearn.dummy import DummyClassifier
    from sklearn.tree import DecisionTreeRegressor

    trees, guess, classes = item.estimators_, item.init_, len(item.classes_)
    count = classes if item._loss.is_multiclass else 1
    if guess != "zero" and not (
        type(guess) is DummyClassifier
        and guess.strategy == "prior"
        and guess.n_outputs_ == 1
        and guess.class_prior_.shape == (classes,)
    ):
        return False
    return (
        trees.ndim == 2
        and len(trees) > 0
        and trees.shape[1] == count == item.n_trees_per_iteration_
        and all(type(tree) is DecisionTreeRegressor for tree in trees.flat)
        and {tree.n_features_in_ for tree in trees.flat} == {item.n_features_in_}
        and {tree.tree_.value.shape[1:] for tree in trees.flat} == {(1, 1)}
    )


def _whole_histogram_boosting(item: Any) -> bool:
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    columns = vars(item)["n_features_in_"]
    if item._preprocessor is not None:  # otherwise the preprocessor would check X
        return False
    for tree in [tree for trees in _listed(boosting_trees(item)) for tree in _listed(trees)]:
        nodes = tree.nodes
        if type(tree) is not TreePredictor or nodes.dtype != PREDICTOR_RECORD_DTYPE:
            return False
        leaf = nodes["is_leaf"] != 0
        # Embeddings have no categories, so bit sets of categories are not allowed.
        if nodes["is_categorical"].any() or not _inside(
            nodes["left"], nodes["right"], nodes["feature_idx"], leaf, columns
        ):
            return False
    return True


def _listed(item: Any) -> list[Any]:
    """Return a list; raise an error for other types, whose items could change between loops."""
    if type(item) is not list:
        raise TypeError(f"expected a list, got {type(item).__name__}")
    return item


def _whole_neighbors(item: Any) -> bool:
    """Check nearest neighbours: compiled code counts votes in the column that a label names."""
    rows, labels = item._fit_X, item._y
    plain = item.metric_params is None and not item.outputs_2d_ and item._tree is None
    return (
        plain
        and item._fit_method == "brute"
        and isinstance(item.metric, str)
        and item.weights in ("uniform", "distance")
        and item.effective_metric_params_.keys() <= {"p"}
        and rows.shape == (item.n_samples_fit_, item.n_features_in_)
        and bool(np.isfinite(rows).all())
        and labels.shape == rows.shape[:1]
        and bool(((labels >= 0) & (labels < len(item.classes_))).all())
        and 1 <= item.n_neighbors <= len(rows)
    )


def _whole_svc(item: Any) -> bool:
    """Check a support vector machine: libsvm gets the number of classes, and checks no sizes."""
    counts, support, vectors = item._n_support, item.support_, item.support_vectors_
    classes, rows = len(item.classes_), len(support)
    pairs = classes * (classes - 1) // 2
    sizes = {item._probA.shape, item._probB.shape}
    if item.kernel == "precomputed":
        fitted_rows = item.shape_fit_[0]
        fits = vectors.size == 0 and bool(((support >= 0) & (support < fitted_rows)).all())
    else:
        fits = vectors.shape == (rows, item.n_features_in_)
    return (
        fits
        and item._sparse is False
        and item.kernel in ("linear", "poly", "precomputed", "rbf", "sigmoid")
        and support.shape == (rows,)
        and rows > 0
        and classes > 1
        and counts.shape == (classes,)
        and bool((counts >= 0).all())
        and int(counts.sum(dtype=np.int64)) == rows
        and item._dual_coef_.shape == (classes - 1, rows)
        and item._intercept_.shape == (pairs,)
        and len(sizes) == 1
        and sizes <= {(0,), (pairs,)}
    )


def _whole_random_state(item: Any) -> bool:
    """Check a random state: the next number is read at a stored position."""
    state = item.get_state(legacy=False)
    return bool(state["bit_generator"] == "MT19937" and 0 <= state["state"]["pos"] <= 624)
