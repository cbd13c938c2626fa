"""Parameters of heads: their names, values as text, and values as plain data."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

import numpy as np
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

    Seeds are left out, because they belong to the run. The parameters of a pipeline that was given
    as a classifier have the names of its steps, as in `scale__with_mean`.

    Returns
    -------
    dict
        JSON-ready; tuples become lists.
    """
    steps = head.steps if isinstance(head, Pipeline) else [("classifier", head)]
    params: dict[str, Any] = {}
    if {name for name, _ in steps} <= {"coordinates", "scale", "classifier"}:
        for step, estimator in steps:
            if step != "scale" and isinstance(estimator, BaseEstimator):
                wraps = isinstance(estimator, CalibratedClassifier)  # an ensemble has it, too
                params |= (estimator.estimator if wraps else estimator).get_params(deep=False)
    else:
        params = {name: value for name, value in head.get_params().items() if "__" in name}
    return {
        name: _as_json(value)
        for name, value in params.items()
        if name.rpartition("__")[2] != "random_state" and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | np.number | np.bool_)


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):  # also weights by class name, a kind of dict that JSON can't hold
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_as_json, value))
    return value.item() if isinstance(value, np.number | np.bool_) else value
