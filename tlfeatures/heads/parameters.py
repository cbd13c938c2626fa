"""Parameters of heads: their names, values as text, and values as plain data."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.calibrated_classifier import CalibratedClassifier


def parse_params(texts: Iterable[str]) -> dict[str, Any]:
    """Parse texts of the form `NAME=VALUE`.

    A value that is a Python literal (0.01, None, True) is converted. Other values stay texts.

    Raises
    ------
    ParameterError
        If a text has no `=`.
    """
    params = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ParameterError(
                f"got the parameter {text!r}; expected NAME=VALUE, for example C=0.01"
            )
        try:
            params[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            params[key] = value
    return params


def parameter_names(head: Pipeline) -> dict[str, str]:
    """Return the names that are accepted for the parameters of a head.

    Parameters
    ----------
    head : Pipeline

    Returns
    -------
    dict of str to str
        Short and full names to full names: both `C` and `classifier__C` to `classifier__C`. Short
        names come first.
    """
    short = {
        inner: f"{step}__{inner}"
        for step, estimator in head.steps
        if step in ("coordinates", "classifier")
        for inner in estimator.get_params(deep=False)
        if inner not in ("random_state", "estimator")  # the seed is a separate option
    }
    if isinstance(head[-1], CalibratedClassifier):
        inside = head[-1].estimator.get_params(deep=False)
        short |= {
            inner: f"{head.steps[-1][0]}__estimator__{inner}"
            for inner in inside
            if inner != "random_state"
        }
    full = {name: name for name in head.get_params() if "__" in name}
    return {**short, **full}


def short_names(names: Iterable[str]) -> list[str]:
    """Return the short names. Full names, which contain `__`, are left out."""
    return [name for name in names if "__" not in name]


def plain_params(head: BaseEstimator) -> dict[str, Any]:
    """Return the parameters of a head that are plain data, by the names that `--param` accepts.

    The seed is left out: it belongs to the run.
    """
    steps = head.steps if isinstance(head, Pipeline) else [("classifier", head)]
    params: dict[str, Any] = {}
    for step, estimator in steps:
        if step in ("coordinates", "classifier") and isinstance(estimator, BaseEstimator):
            wraps = isinstance(estimator, CalibratedClassifier)  # an ensemble has `estimator`, too
            params |= (estimator.estimator if wraps else estimator).get_params(deep=False)
    params.pop("random_state", None)
    plain = {name: value for name, value in params.items() if _is_plain(value)}
    # Weights by class name are a kind of dict that JSON and copies don't know.
    return {name: dict(v) if isinstance(v, dict) else v for name, v in plain.items()}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | dict)


# ---- without effect; to be removed with its calls in benchmarking/


def class_path(head: BaseEstimator) -> str:
    """Give the classes of a head's steps, which tell it from another head of the same name.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> class_path(DummyClassifier())
    'sklearn.dummy.DummyClassifier'
    """
    steps = [step for _, step in head.steps] if isinstance(head, Pipeline) else [head]
    return ", ".join(f"{type(step).__module__}.{type(step).__qualname__}" for step in steps)
