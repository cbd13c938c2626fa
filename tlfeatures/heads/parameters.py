"""Parameters of heads: their names, values as text, and values as plain data."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from tlfeatures.errors import ParameterError
from tlfeatures.heads.classifiers.calibrated_classifier import CalibratedClassifier


def parse_params(texts: Iterable[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` texts; a value that is no Python literal (0.01, None, True) stays text.

    Raises
    ------
    ParameterError
        If a text has no `=`.
    """
    params = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ParameterError(f"a parameter is NAME=VALUE, as in C=0.01; got {text!r}")
        try:
            params[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            params[key] = value
    return params


def parameter_names(head: Pipeline) -> dict[str, str]:
    """Give the full name of each parameter, by its full name and, if it has one, by its short name.

    Parameters
    ----------
    head : Pipeline

    Returns
    -------
    dict of str to str
        `C` and `classifier__C` to `classifier__C`; the classifier's short names come first.
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
    own = {name: name for name, _ in head.steps if name == "coordinates"}
    return {**short, **own, **full}


def short_names(names: Iterable[str]) -> list[str]:
    """Leave out the full names, which have `__`."""
    return [name for name in names if "__" not in name]


def plain_params(head: BaseEstimator) -> dict[str, Any]:
    """Give the parameters of a head that are plain data, by the names that `--param` accepts.

    The seed is left out: it belongs to the run.
    """
    steps = head.steps if isinstance(head, Pipeline) else [("classifier", head)]
    params: dict[str, Any] = {}
    for step, estimator in steps:
        if estimator == "passthrough":
            params[step] = estimator
        elif step in ("coordinates", "classifier"):
            wraps = isinstance(estimator, CalibratedClassifier)  # an ensemble has `estimator`, too
            params |= (estimator.estimator if wraps else estimator).get_params(deep=False)
    params.pop("random_state", None)
    plain = {name: value for name, value in params.items() if _is_plain(value)}
    # Weights by class name are a kind of dict that JSON and copies don't know.
    return {name: dict(v) if isinstance(v, dict) else v for name, v in plain.items()}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | dict)


# ---- heads of earlier versions

_NEW_OF_MLP = {"scale": None, "variants": "all"}  # the defaults, with the same fit as before
_STOPS_EARLY = 10_000  # rows; with more of them, early_stopping="auto" stops early


def with_new_params(name: str, params: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Add the parameters that `plain_params` lacked in earlier versions, for the same fit.

    Parameters
    ----------
    name : str
        Name of the head.
    params : mapping
    rows : int
        Largest number of rows that it was fitted on.
    """
    filled = dict(params)
    if name == "mlp":
        for key, value in _NEW_OF_MLP.items():
            filled.setdefault(key, value)
    stops = params.get("early_stopping", "auto")
    if name == "gradient-boosting" and stops == "auto" and rows <= _STOPS_EARLY:
        filled["early_stopping"] = False
    return filled


def without_new_params(name: str, head: BaseEstimator, rows: int) -> dict[str, Any]:
    """Give `get_params` as in earlier versions, if the fit was the same."""
    params: dict[str, Any] = head.get_params()
    stops = params.get("classifier__early_stopping")
    if name == "gradient-boosting" and stops is False and rows <= _STOPS_EARLY:
        older = clone(head).set_params(classifier__early_stopping="auto")
        return dict(older.get_params())
    if name == "mlp":
        new = {f"classifier__{key}": value for key, value in _NEW_OF_MLP.items()}
        if all(params[key] == value for key, value in new.items()):
            return {key: value for key, value in params.items() if key not in new}
    return params
