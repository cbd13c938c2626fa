"""Fit a head on training rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tlfeatures.errors import ParameterError
from tlfeatures.heads.class_weights import with_present
from tlfeatures.heads.fit_arguments import FitArguments
from tlfeatures.heads.variant_weights import shares


def fit_head(
    head: BaseEstimator,
    X: NDArray[np.floating[Any]],
    y: NDArray[np.str_],
    arguments: FitArguments | None = None,
    name: str = "the head",
) -> BaseEstimator:
    """Fit a head, with the optional fit arguments that its classifier accepts.

    Parameters
    ----------
    head : scikit-learn classifier
        Is fitted itself, not a clone. Weights of classes that `y` lacks are dropped.
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,), str
    arguments : FitArguments, optional
    name : str
        Name of the head in error messages.

    Returns
    -------
    scikit-learn classifier
        The head.

    Raises
    ------
    ParameterError
        If scikit-learn refuses the value of a parameter or the rows, in one line.
    """
    head = with_present(head, y)
    arguments = arguments or FitArguments()
    classifier = head[-1] if isinstance(head, Pipeline) else head
    options = arguments.accepted_by(classifier)
    if isinstance(classifier, LogisticRegression):  # our own classifiers weigh variants themselves
        weights = shares(arguments.variant)
        options |= {} if weights is None else {"sample_weight": weights}
    step = "" if classifier is head else f"{head.steps[-1][0]}__"
    with one_line_errors(name):
        return head.fit(X, y, **{f"{step}{key}": value for key, value in options.items()})


@contextmanager
def one_line_errors(name: str) -> Iterator[None]:
    """Turn scikit-learn's errors about values into a `ParameterError` of one line.

    Parameters
    ----------
    name : str
        Name of the head, which begins the message.
    """
    try:
        yield
    except ParameterError:
        raise
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{name} can't be fitted: {reason}") from error
