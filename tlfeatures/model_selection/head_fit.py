"""Fitting a head on training rows, which may include variants of images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError, TlfeaturesError
from tlfeatures.heads.class_weights import check_class_weights, with_present
from tlfeatures.heads.fit_arguments import FitArguments
from tlfeatures.heads.variant_weights import shares
from tlfeatures.model_selection.fit_warnings import Notices, collected

Columns = NDArray[np.floating[Any]]
Rows = NDArray[np.int_]


def fit_on_all(
    head: BaseEstimator, data: Dataset, name: str = "the head", notices: Notices | None = None
) -> BaseEstimator:
    """Fit a head on all images of a dataset and on their variants.

    Parameters
    ----------
    head : scikit-learn classifier
        The head itself is fitted, not a clone.
    data : Dataset
    name : str
        Name of the head in warnings and errors.
    notices : Notices, optional
        Logs the warnings of the fit, except warnings that it has logged before.

    Returns
    -------
    The fitted head.

    Raises
    ------
    ParameterError
        If scikit-learn rejects a parameter of the head.
    """
    check_class_weights(name, head, data.classes)
    rows = TrainingRows.of(data)
    with collected(name) as lines:
        fitted = fit_head(head, rows.X, rows.y, fit_arguments(rows, np.arange(len(rows.y))), name)
    (notices or Notices()).log(lines)
    return fitted


def fit_head(
    head: BaseEstimator,
    X: Columns,
    y: NDArray[np.str_],
    arguments: FitArguments | None = None,
    name: str = "the head",
) -> BaseEstimator:
    """Fit a head on rows.

    Parameters
    ----------
    head : scikit-learn classifier
        The head itself is fitted, not a clone.
    X : ndarray of shape (n, d)
        Columns of the training rows.
    y : ndarray of shape (n,), str
        Labels of the training rows.
    arguments : FitArguments, optional
        Optional arguments; only those that the classifier's `fit` accepts are used.
    name : str
        Name of the head in errors.

    Returns
    -------
    The fitted head.

    Raises
    ------
    ParameterError
        If scikit-learn rejects a parameter of the head. The message is one line.
    """
    head = with_present(head, y)
    classifier = head[-1] if isinstance(head, Pipeline) else head
    step = "" if classifier is head else f"{head.steps[-1][0]}__"
    arguments = arguments or FitArguments()
    accepted = arguments.accepted_by(classifier)
    weights = shares(arguments.variant)
    # The other heads of this package compute the weights of variants themselves.
    is_logistic = isinstance(classifier, LogisticRegression)
    takes_weights = is_logistic and has_fit_parameter(classifier, "sample_weight")
    if weights is not None and takes_weights:
        accepted["sample_weight"] = weights
    with as_parameter_error(name):
        return head.fit(X, y, **{f"{step}{key}": value for key, value in accepted.items()})


def fit_arguments(rows: TrainingRows, train: Rows) -> FitArguments:
    """Return the optional fit arguments of training rows."""
    return FitArguments(
        groups=None if rows.together is None else rows.together[train],
        images=rows.image[train] if rows.variant.any() else None,
        variant=rows.variant[train],
    )


@contextmanager
def as_parameter_error(name: str, what: str = "be fitted") -> Iterator[None]:
    """Convert an error of a head to a ParameterError of one line.

    Parameters
    ----------
    name : str
        Name of the head.
    what : str
        What the head can't do.
    """
    try:
        yield
    except (TlfeaturesError, MemoryError):
        raise
    except Exception as error:  # a head of the user may raise anything
        reason = " ".join(str(error).split())
        if not isinstance(error, ValueError | TypeError):
            reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise ParameterError(f"{name} can't {what}: {reason}") from error
