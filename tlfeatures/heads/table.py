"""The table of heads: classifiers for embeddings, with defaults measured to be good on them.

Heads share principal coordinates but no kernels or fitted parts: each is an ordinary classifier on
the same columns, alone or with others. rbf-svm, gradient-boosting, knn and mlp see the leading
coordinates only, because rare activations make distances on all of them meaningless.
"""

from __future__ import annotations

import ast
import importlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tlfeatures.errors import ParameterError
from tlfeatures.heads.class_weights import named_weights
from tlfeatures.heads.classifiers import (
    CalibratedCentroid,
    CalibratedClassifier,
    CalibratedRidge,
    CalibratedSVC,
    NamedBoosting,
    ScaledMLP,
    ShrunkLDA,
    SmoothedNeighbors,
)
from tlfeatures.heads.coordinates import PrincipalCoordinates
from tlfeatures.names import as_list, unknown_name

logger = logging.getLogger(__name__)

ENTRY_POINTS = "tlfeatures.heads"
ALIASES = {"svm": "rbf-svm"}

Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Head:
    """A row of the table.

    Attributes
    ----------
    title : str
        In words.
    make : callable
        Takes a seed (int or None), gives a classifier.
    n_components : int or None
        Leading principal coordinates that the classifier sees; None: all of them, with which the
        result is that on all columns.
    grid : mapping of parameter to values
        What tuning tries, the simplest model first.
    """

    title: str
    make: Callable[[int | None], BaseEstimator]
    n_components: int | None = None
    grid: Grid = field(default_factory=dict)


def _powers(first: int, last: int) -> list[float]:
    step = 1 if last > first else -1
    return [10.0**power for power in range(first, last + step, step)]


# Defaults: best or within a standard error of it over five embeddings (see benchmarks/README.md).
HEADS: dict[str, Head] = {
    "logreg": Head(
        "logistic regression",
        lambda seed: LogisticRegression(C=0.01, max_iter=2000, random_state=seed),
        grid={"C": _powers(-5, 1)},
    ),
    "linear-svm": Head(
        "linear SVM",
        lambda seed: CalibratedSVC(kernel="linear", C=0.003, random_state=seed),
        grid={"C": _powers(-6, 0)},
    ),
    "rbf-svm": Head(
        "SVM with an RBF kernel",
        lambda seed: CalibratedSVC(random_state=seed),
        n_components=128,  # on all coordinates of a flattened layer it loses 7 points
        grid={"gamma_factor": [0.3, 1.0, 2.0], "C": [0.3, 1.0, 3.0, 10.0, 30.0]},
    ),
    "gradient-boosting": Head(
        "gradient boosting",
        lambda seed: NamedBoosting(
            max_iter=150,
            max_leaf_nodes=8,
            min_samples_leaf=5,  # scikit-learn's 20 can't split forty images
            early_stopping=False,  # of many rows it would hold back variants of images trained on
            random_state=seed,
        ),
        n_components=64,
        grid={"max_leaf_nodes": [4, 8], "learning_rate": [0.03, 0.1]},
    ),
    "knn": Head(
        "nearest neighbours",
        lambda seed: SmoothedNeighbors(),
        n_components=64,  # on all coordinates of a flattened layer it is at chance
        grid={"n_neighbors": [40, 20, 10, 5, 3, 1]},
    ),
    "centroid": Head("nearest class mean", lambda seed: CalibratedCentroid(random_state=seed)),
    "ridge": Head(
        "ridge classifier",
        lambda seed: CalibratedRidge(random_state=seed),
        grid={"alpha": _powers(6, 0)},
    ),
    "lda": Head(
        "linear discriminant analysis",
        lambda seed: ShrunkLDA(),
        grid={"shrinkage": [0.9, 0.7, 0.5, 0.3, 0.1]},
    ),
    "mlp": Head(
        "multilayer perceptron",
        lambda seed: ScaledMLP(random_state=seed),
        n_components=128,
        grid={"alpha": [10.0, 3.0, 1.0, 0.1]},
    ),
    "dummy": Head("guessing by class shares", lambda seed: DummyClassifier(strategy="prior")),
}


def make_head(name: str, *, random_state: int | None = 0, **params: Any) -> Pipeline:
    """Make a classifier for embeddings: standardising, turning, and the classifier.

    Everything is in one pipeline, so that all of it is fitted inside the fold.

    Parameters
    ----------
    name : str
        Of `HEADS` (`svm` is rbf-svm), of an entry point in the group `tlfeatures.heads`, or
        `module:Class` of any scikit-learn classifier, which then sees standardised columns.
    random_state : int or None
    **params
        Of the classifier (`C=0.1`, `learning_rate=0.05`, `class_weight="balanced"` or weights by
        class name, `class_weight={"ant": 2.0}`), or
        `n_components` of the coordinates (None: all), or `step__parameter` of any step.
        `coordinates="passthrough"` shows a head of `HEADS` the columns as they are stored.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With `predict` and `predict_proba`, calibrated if the classifier has none; not fitted.

    Raises
    ------
    ParameterError
        For an unknown head or parameter, naming those there are.

    Examples
    --------
    >>> make_head("logreg", C=0.1)[-1].C
    0.1
    >>> make_head("sklearn.ensemble:ExtraTreesClassifier", n_estimators=50)[-1].n_estimators
    50
    """
    head = _pipeline(name, random_state)
    known = _param_names(head)
    for key in params:
        if key not in known:
            raise unknown_name(f"parameter of {name}", key, _short(known))
    if "coordinates" in params:
        _pass_through(name, head, params)
        params = {key: value for key, value in params.items() if key != "coordinates"}
    full = {known[key]: value for key, value in params.items()}
    return head.set_params(**named_weights(full))


def _pass_through(name: str, head: Pipeline, params: Mapping[str, Any]) -> None:
    if params["coordinates"] != "passthrough":
        raise ParameterError(f"coordinates must be passthrough, got {params['coordinates']!r}")
    if any(key.removeprefix("coordinates__") == "n_components" for key in params):
        raise ParameterError(f"{name} without coordinates has no n_components; leave out one")
    head.set_params(coordinates="passthrough")


def _pipeline(name: str, seed: int | None) -> Pipeline:
    name = ALIASES.get(name, name)
    if name in HEADS:
        row = HEADS[name]
        first = ("coordinates", PrincipalCoordinates(row.n_components))
        return Pipeline([first, ("classifier", row.make(seed))])
    made = _imported(name)(seed) if ":" in name else _entry_point(name)(seed)
    if not (isinstance(made, BaseEstimator) and is_classifier(made)):
        raise ParameterError(f"head {name} is no scikit-learn classifier: {made!r}")
    return made if isinstance(made, Pipeline) else _standardised(made, seed)


def _standardised(classifier: BaseEstimator, seed: int | None) -> Pipeline:
    if not hasattr(classifier, "predict_proba") and hasattr(classifier, "decision_function"):
        classifier = CalibratedClassifier(classifier, random_state=seed)
    if isinstance(classifier, KNeighborsClassifier) and classifier.algorithm == "auto":
        classifier.algorithm = "brute"  # the same neighbours, and a search tree fits no model file
    if type(classifier) is HistGradientBoostingClassifier:
        classifier = NamedBoosting(**classifier.get_params())
    return Pipeline([("scale", StandardScaler()), ("classifier", classifier)])


def _imported(name: str) -> Callable[[int | None], BaseEstimator]:
    module, _, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ParameterError(
            f"head {name} can't be imported: {error}; expected module:Class, as in "
            "sklearn.ensemble:ExtraTreesClassifier"
        ) from error

    def make(seed: int | None) -> BaseEstimator:
        try:
            made = kind()
        except TypeError as error:
            raise ParameterError(f"head {name} can't be made without arguments: {error}") from error
        seeded = hasattr(made, "get_params") and "random_state" in made.get_params()
        return made.set_params(random_state=seed) if seeded else made

    return make


def _entry_point(name: str) -> Callable[[int | None], BaseEstimator]:
    found = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
    if name not in found:
        raise unknown_name("head", name, [*HEADS, *ALIASES, *found])
    loaded: Callable[[int | None], BaseEstimator] = found[name].load()
    return loaded


def head_grid(name: str, params: Iterable[str] = ()) -> Grid:
    """Give what tuning tries for a head: parameters of its classifier, and values of each.

    Parameters
    ----------
    name : str
        See `make_head`; an entry point's function may have an attribute `grid`.
    params : iterable of str
        Those that are given, and so not tuned.
    """
    name, fixed = ALIASES.get(name, name), set(params)
    if name in HEADS:
        return {key: values for key, values in HEADS[name].grid.items() if key not in fixed}
    grid = {} if ":" in name else getattr(_entry_point(name), "grid", {})
    known = _param_names(_pipeline(name, None))  # the whole pipeline is tuned: full names
    return {known.get(key, key): values for key, values in grid.items() if key not in fixed}


def set_tuned(head: BaseEstimator, params: Mapping[str, Any]) -> None:
    """Set what tuning chose: parameters of the classifier, or of a head without coordinates."""
    after_coordinates(head).set_params(**params)


def after_coordinates(head: BaseEstimator) -> BaseEstimator:
    """Give what of a head sees the coordinates, or the columns as they are; else the head."""
    if not isinstance(head, Pipeline) or head.steps[0][0] != "coordinates":
        return head
    return head[-1] if len(head) == 2 else Pipeline(head.steps[1:])


def uses_coordinates(head: BaseEstimator) -> bool:
    """Tell whether a head begins with principal coordinates, which it can share with others."""
    return isinstance(head, Pipeline) and isinstance(head[0], PrincipalCoordinates)


def _param_names(head: Pipeline) -> dict[str, str]:
    """Short and full names of parameters -> the full ones; the classifier's come first."""
    short = {
        inner: f"{step}__{inner}"
        for step, estimator in head.steps
        if step in ("coordinates", "classifier")
        for inner in estimator.get_params(deep=False)
        if inner not in ("random_state", "estimator")  # the seed is an option of its own
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


def _short(names: Iterable[str]) -> list[str]:
    return [name for name in names if "__" not in name]


def head_names(names: str | Iterable[str]) -> list[str]:
    """Spell out "all", aliases and lists with commas; each head once, in the order given."""
    parts = [part for name in as_list(names) for part in name.split(",")]
    spelt = [each for name in parts for each in (HEADS if name == "all" else [name])]
    return list(dict.fromkeys(ALIASES.get(name, name) for name in spelt))


def make_heads(
    names: str | Iterable[str],
    params: Mapping[str, Any] | None = None,
    *,
    random_state: int | None = 0,
) -> dict[str, Pipeline]:
    """Make several heads, each with those of the parameters that it has.

    Parameters
    ----------
    names : str or iterable of str
        See `make_head`; "all" are those of `HEADS`.
    params : mapping, optional
        See `make_head`.
    random_state : int or None

    Raises
    ------
    ParameterError
        For an unknown head, or a parameter that none of them has.
    """
    params = params or {}
    names = head_names(names)
    known = {name: _param_names(make_head(name)) for name in names}
    for key in params:
        if not any(key in params_of for params_of in known.values()):
            every = dict.fromkeys(param for params_of in known.values() for param in params_of)
            raise unknown_name(f"parameter of {', '.join(names)}", key, _short(every))
        without = [name for name in names if key not in known[name]]
        if without:
            logger.info("%s: no parameter of %s, which stay as they are", key, ", ".join(without))
        if without and key == "class_weight":  # a table half balanced is no comparison
            logger.warning("class_weight: %s have none", ", ".join(without))
    return {
        name: make_head(
            name,
            random_state=random_state,
            **{key: value for key, value in params.items() if key in known[name]},
        )
        for name in names
    }


def plain_params(head: BaseEstimator) -> dict[str, Any]:
    """Give the parameters of a head that are plain data, under the names that `--param` takes.

    The seed is none of them: it belongs to the run.
    """
    steps = head.steps if isinstance(head, Pipeline) else [("classifier", head)]
    params: dict[str, Any] = {}
    for step, estimator in steps:
        if estimator == "passthrough":
            params[step] = estimator
        elif step in ("coordinates", "classifier"):
            inner = isinstance(estimator, CalibratedClassifier)  # an ensemble has estimators, too
            params |= (estimator.estimator if inner else estimator).get_params(deep=False)
    params.pop("random_state", None)
    return {name: value for name, value in params.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | dict)


# ---- heads of earlier versions

_NEW_OF_MLP = {"scale": None, "variants": "all"}  # it did as these defaults do
_STOPS_EARLY = 10_000  # rows, above which scikit-learn's early_stopping=auto does


def with_new_params(name: str, params: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Fill in what a head's `plain_params` lacked in earlier versions, for the same fit.

    Parameters
    ----------
    name : str
        Of the head.
    params : mapping
    rows : int
        At most so many were fitted on.
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
    """Give `get_params` as they were in earlier versions, where the fit was the same."""
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


def parse_params(texts: Iterable[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` texts; a value is a Python literal (0.01, None, True) or else a text.

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


# ---- a fitted head made small


def compact(head: BaseEstimator) -> BaseEstimator:
    """Turn a fitted linear head back from the coordinates, so that their axes needn't be kept.

    On 25,088 columns and 1,000 images the axes are 100 MB, the coefficients 100 kB.

    Parameters
    ----------
    head : fitted classifier

    Returns
    -------
    classifier
        Gives the same probabilities but for rounding: standardising and the linear classifier;
        or the very head that was given, where it isn't linear.
    """
    if not uses_coordinates(head):
        return head
    coordinates, classifier = head[0], head[-1]
    linear = getattr(classifier, "fitted_", classifier)
    # An SVC computes its `coef_` at each call, and keeps its support vectors.
    if len(head) != 2 or "coef_" not in vars(linear):
        return head
    axes = coordinates.components_.astype(np.float64)
    linear.coef_ = linear.coef_[..., : len(axes)] @ axes
    for each in {id(part): part for part in (classifier, linear)}.values():
        each.n_features_in_ = axes.shape[1]
    return Pipeline([("scale", coordinates.as_scaler()), ("classifier", classifier)])
