"""The table of heads: classifiers for embeddings, with defaults measured to be good on them.

The heads of a fold share its principal coordinates. They share nothing else: each head is an
ordinary classifier on the same columns. rbf-svm, gradient-boosting, knn and mlp see the leading
coordinates only, because rare activations make distances on all of them meaningless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tlfeatures.errors import ParameterError
from tlfeatures.heads.class_weights import named_weights, with_named_weights
from tlfeatures.heads.classifiers.calibrated_centroid import CalibratedCentroid
from tlfeatures.heads.classifiers.calibrated_ridge import CalibratedRidge
from tlfeatures.heads.classifiers.calibrated_svc import CalibratedSVC
from tlfeatures.heads.classifiers.named_boosting import NamedBoosting
from tlfeatures.heads.classifiers.scaled_mlp import ScaledMLP
from tlfeatures.heads.classifiers.shrunk_lda import ShrunkLDA
from tlfeatures.heads.classifiers.smoothed_neighbors import SmoothedNeighbors
from tlfeatures.heads.coordinates import PrincipalCoordinates
from tlfeatures.heads.custom_heads import (
    check_classifier,
    class_name,
    custom_grid,
    make_custom_head,
)
from tlfeatures.heads.parameters import parameter_names, short_names
from tlfeatures.names import as_list, unknown_name

logger = logging.getLogger(__name__)

ALIASES = {"svm": "rbf-svm"}

Grid = Mapping[str, Sequence[Any]]
OneHead: TypeAlias = str | BaseEstimator
Heads: TypeAlias = OneHead | Iterable[OneHead] | Mapping[str, OneHead]


@dataclass(frozen=True)
class Head:
    """A row of the table.

    Attributes
    ----------
    title : str
        The head in words.
    make : callable
        Takes a seed (int or None) and gives a classifier.
    n_components : int or None
        Number of leading principal coordinates that the classifier sees. None stands for all of
        them; the result is then the same as on all columns.
    grid : mapping of parameter to values
        Values that tuning tries, the simplest model first.
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
            early_stopping=False,  # its validation rows would be variants of training images
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
    "dummy": Head(
        "prediction of the most frequent class", lambda seed: DummyClassifier(strategy="prior")
    ),
}


def make_head(name: str, *, random_state: int | None = 0, **params: Any) -> Pipeline:
    """Create a head: a pipeline of principal coordinates and a classifier.

    All of it is one pipeline, so that all of it is fitted on training rows only.

    Parameters
    ----------
    name : str
        A name of `HEADS` (`svm` is rbf-svm), the name of an entry point in the group
        `tlfeatures.heads`, or `module:Class` of any scikit-learn classifier, which then sees
        standardised columns.
    random_state : int or None
    **params
        Parameters of the classifier (`C=0.1`, `learning_rate=0.05`, `class_weight="balanced"` or
        weights by class name, `class_weight={"ant": 2.0}`), `n_components` of the coordinates
        (None: all), or `step__parameter` of any step.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted, with `predict` and `predict_proba`; calibrated if the classifier has no
        probabilities.

    Raises
    ------
    ParameterError
        For an unknown head or parameter; the message lists the known ones.

    Examples
    --------
    >>> make_head("logreg", C=0.1)[-1].C
    0.1
    >>> make_head("sklearn.ensemble:ExtraTreesClassifier", n_estimators=50)[-1].n_estimators
    50
    """
    head = _pipeline(name, random_state)
    full_names = parameter_names(head)
    for key in params:
        if key not in full_names:
            raise unknown_name(f"parameter of {name}", key, short_names(full_names))
    full = {full_names[key]: value for key, value in params.items()}
    return head.set_params(**named_weights(full))


def _pipeline(name: str, seed: int | None) -> Pipeline:
    name = ALIASES.get(name, name)
    if name in HEADS:
        row = HEADS[name]
        first = ("coordinates", PrincipalCoordinates(row.n_components))
        return Pipeline([first, ("classifier", row.make(seed))])
    return make_custom_head(name, seed, _table_names())


def _table_names() -> list[str]:
    return [*HEADS, *ALIASES]


def head_grid(head: OneHead, params: Iterable[str] = ()) -> Grid:
    """Give the values that tuning tries for each parameter of a head's classifier.

    Parameters
    ----------
    head : str or scikit-learn classifier
        See `make_head`; an entry point's function may have an attribute `grid`. A classifier has
        no grid: an empty mapping is returned.
    params : iterable of str
        Parameters with a given value, which are not tuned.

    Examples
    --------
    >>> sorted(head_grid("rbf-svm", ["C"]))
    ['gamma_factor']
    """
    if not isinstance(head, str):
        return {}
    name, fixed = ALIASES.get(head, head), set(params)
    if name in HEADS:
        return {key: values for key, values in HEADS[name].grid.items() if key not in fixed}
    grid = custom_grid(name, _table_names())
    full_names = parameter_names(_pipeline(name, None))  # the whole pipeline is tuned
    return {full_names.get(key, key): values for key, values in grid.items() if key not in fixed}


def head_names(names: str | Iterable[str]) -> list[str]:
    """Replace "all", aliases and lists with commas by names, without repeating any."""
    parts = [part for name in as_list(names) for part in name.split(",")]
    expanded = [head for name in parts for head in (HEADS if name == "all" else [name])]
    return list(dict.fromkeys(ALIASES.get(name, name) for name in expanded))


def named_heads(heads: Heads) -> dict[str, OneHead]:
    """Give each head a name; see `make_heads` for the parameter, the names and the errors.

    Returns
    -------
    dict of name to str or scikit-learn classifier
        A str is a name that `make_head` takes.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> named_heads(["knn,svm", SVC()])
    {'knn': 'knn', 'rbf-svm': 'rbf-svm', 'SVC': SVC()}
    """
    found: dict[str, OneHead] = {}
    if isinstance(heads, Mapping):
        for name, head in heads.items():
            if not (isinstance(name, str) and name):
                raise ParameterError(f"heads has the name {name!r}; expected a text")
            is_name = isinstance(head, str)
            found[name] = head if is_name else check_classifier(head, f"heads[{name!r}]")
    else:
        # A pipeline can be iterated over, too.
        is_one = isinstance(heads, str | BaseEstimator) or not isinstance(heads, Iterable)
        for head in [heads] if is_one else heads:
            found |= _with_name(head, found)
    if not found:
        raise ParameterError(
            "heads is empty; expected the name of a head, a scikit-learn classifier, or a list or "
            "dict of these"
        )
    return found


def _with_name(head: OneHead, others: Iterable[str]) -> dict[str, OneHead]:
    if isinstance(head, str):
        return {name: name for name in head_names(head)}
    name = class_name(check_classifier(head, "heads"))
    if name in others:
        raise ParameterError(
            f"heads has two classifiers named {name}; name them in a dict, as in "
            f'{{"first": {name}(...), "second": {name}(...)}}'
        )
    return {name: head}


def make_heads(
    heads: Heads,
    params: Mapping[str, Any] | None = None,
    *,
    random_state: int | None = 0,
) -> dict[str, BaseEstimator]:
    """Create several heads; each takes the parameters that it has.

    Parameters
    ----------
    heads : str, scikit-learn classifier, or list or mapping of these
        A name (see `make_head`), several with commas between them, or "all" for all heads of
        `HEADS`; a classifier, which is used as it is: it sees all columns as they are stored and
        keeps its own parameters and its own seed; a list of these; or a mapping of names of your
        choice to these, with one head each. Outside a mapping, a classifier has the name of its
        class; a pipeline, that of its last step.
    params : mapping, optional
        Parameters of the heads that are given by name, see `make_head`.
    random_state : int or None
        Seed of the heads that are given by name.

    Returns
    -------
    dict of name to scikit-learn classifier
        Not fitted; a given classifier is cloned.

    Raises
    ------
    ParameterError
        For an unknown head, a parameter that no head given by name has, two classifiers of the
        same name, or something that is neither a name nor a classifier.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> list(make_heads(["logreg", RandomForestClassifier()], {"C": 0.1}))
    ['logreg', 'RandomForestClassifier']
    >>> list(make_heads({"forest": RandomForestClassifier(), "baseline": "dummy"}))
    ['forest', 'baseline']
    """
    given = named_heads(heads)
    own = _own_params(given, params or {})
    return {
        name: make_head(head, random_state=random_state, **own[name])
        if isinstance(head, str)
        else with_named_weights(clone(head))
        for name, head in given.items()
    }


def _own_params(given: Mapping[str, OneHead], params: Mapping[str, Any]) -> dict[str, Any]:
    """Give each head that is given by name those parameters that it has."""
    named = {name: head for name, head in given.items() if isinstance(head, str)}
    full_names = {name: parameter_names(make_head(head)) for name, head in named.items()}
    if params and not named:
        raise _params_of_classifiers(params)
    for key in params:
        if not any(key in of_head for of_head in full_names.values()):
            every = dict.fromkeys(param for of_head in full_names.values() for param in of_head)
            raise unknown_name(f"parameter of {', '.join(named)}", key, short_names(every))
    return {
        name: {key: value for key, value in params.items() if key in full_names[name]}
        for name in named
    }


def report_missing_params(heads: Heads, params: Mapping[str, Any] | None) -> None:
    """Log which heads that are given by name lack a parameter, so that they stay as they are.

    Parameters
    ----------
    heads, params
        See `make_heads`.
    """
    given = named_heads(heads)
    own = _own_params(given, params or {})
    for key in params or {}:
        without = [name for name in own if key not in own[name]]
        if without and key == "class_weight":  # such a comparison is unfair
            logger.warning("class_weight: %s have none", ", ".join(without))
        elif without:
            logger.info("%s: no parameter of %s, which stay as they are", key, ", ".join(without))


def _params_of_classifiers(params: Mapping[str, Any]) -> ParameterError:
    return ParameterError(
        f"params has {', '.join(params)}, and no head is given by its name; set the parameters of "
        "a classifier when you create it"
    )


def make_one_head(
    head: OneHead, params: Mapping[str, Any] | None = None, random_state: int | None = 0
) -> tuple[str, BaseEstimator]:
    """Create one head, and give its name.

    Parameters
    ----------
    head : str or scikit-learn classifier
        See `make_heads`.
    params : mapping, optional
        Parameters of a head that is given by name, all of which it must have; see `make_head`.
    random_state : int or None
        Seed of a head that is given by name.

    Returns
    -------
    name : str
        As `make_heads` names it.
    head : scikit-learn classifier
        Not fitted; a given classifier is cloned.

    Raises
    ------
    ParameterError
        As for `make_heads`, and for parameters of a given classifier.

    Examples
    --------
    >>> make_one_head("svm")[0]
    'rbf-svm'
    """
    params = params or {}
    if isinstance(head, str):
        return ALIASES.get(head, head), make_head(head, random_state=random_state, **params)
    name = class_name(check_classifier(head, "head"))
    if params:
        raise _params_of_classifiers(params)
    return name, clone(head)
