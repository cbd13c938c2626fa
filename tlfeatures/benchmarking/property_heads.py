"""Small heads on properties of images: their columns, and predictions for images of other folds.

The classifiers are the smallest of those that were compared on 1,078 scenes and 397 insects, as
they are and with one class saved or scaled in another way. On the colours, logistic regression has
the accuracy 0.776 and 0.733, a forest of 50 trees 0.769 and 0.743 in ten times the time. On the
properties of the files, a forest of 10 trees, gradient boosting and a forest of 50 trees are within
2 points of each other; on those that don't depend on the content, so is a single tree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.features.images.properties import FILE_PROPERTIES, PROPERTIES, column_of
from tlfeatures.model_selection.fit_warnings import collected
from tlfeatures.threads import one_thread

Columns = NDArray[np.float32]
_UNKNOWN = -1.0  # of a property; all properties are 0 or more


def colour_head() -> ClassifierMixin:
    """Create the head for colours."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))


def file_head() -> ClassifierMixin:
    """Create the head for all properties of files."""
    return RandomForestClassifier(10, min_samples_leaf=5, random_state=0)


def small_tree(classes: int) -> ClassifierMixin:
    """Create the head for the properties that don't depend on the content."""
    leaves = max(16, 4 * classes)
    return DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=5, random_state=0)


def colour_columns(properties: Columns) -> Columns:
    """Return the properties of the pixels, of shape (n, columns).

    Roots of the shares of a histogram: their distance is that of distributions (Hellinger's).
    """
    names = PROPERTIES[FILE_PROPERTIES:]
    columns = _filled(properties[:, FILE_PROPERTIES:])
    is_share = np.array([name.startswith("colour_") for name in names])
    return np.where(is_share, np.sqrt(np.maximum(columns, 0)), columns)


def file_columns(properties: Columns) -> Columns:
    """Return all properties of the files, with the aspect ratio and the bits per pixel."""
    size, width, height = (column_of(properties, name) for name in ("bytes", "width", "height"))
    bits = 8 * size / np.maximum(width * height, 1)
    return _filled(np.column_stack([content_free_columns(properties), size, bits]))


def content_free_columns(properties: Columns) -> Columns:
    """Return the properties that don't depend on what an image shows: all but the file's size."""
    own = [column_of(properties, name) for name in PROPERTIES[:FILE_PROPERTIES] if name != "bytes"]
    width, height = (column_of(properties, name) for name in ("width", "height"))
    return _filled(np.column_stack([*own, width / np.maximum(height, 1)]))


def _filled(columns: Columns) -> Columns:
    return np.where(np.isnan(columns), _UNKNOWN, columns).astype(np.float32)


def out_of_fold(
    head: ClassifierMixin,
    columns: Columns,
    codes: NDArray[np.int_],
    folds: Sequence[Fold],
    classes: int,
) -> NDArray[np.float64]:
    """Return the probabilities of a head that was not fitted on the image.

    Parameters
    ----------
    head : scikit-learn classifier
        A clone is fitted in each fold.
    columns : ndarray of shape (n, columns)
    codes : ndarray of shape (n,), int
        Class codes, 0 to `classes` - 1.
    folds : sequence of (train rows, test rows)
    classes : int

    Returns
    -------
    ndarray of shape (n, classes), float64
        NaN for an image that no fold tests. A class without training images has 0.
    """
    table = np.full((len(codes), classes), np.nan)
    with one_thread(), collected("control"):  # warnings of a control tell the user nothing
        for train, test in folds:
            present = np.unique(codes[train])
            table[test] = 0
            if len(present) == 1:
                table[test, present[0]] = 1
                continue
            fitted = clone(head).fit(columns[train], codes[train])
            table[np.ix_(test, present)] = fitted.predict_proba(columns[test])
    return table
