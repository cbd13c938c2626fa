"""The table of heads: classifiers for embeddings, with defaults measured to be good on them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from tlfeatures.errors import ParameterError
from tlfeatures.features.spec import as_list, unknown_name


class LeadingPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """PCA scores, as many as asked for or as the data have.

    scikit-learn's PCA refuses more components than rows or columns, which a small fold or a
    narrow embedding would ask for.

    Parameters
    ----------
    n_components : int
    random_state : int or None
        For the randomised solver.
    """

    def __init__(self, n_components: int = 64, random_state: int | None = None) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: NDArray[Any], y: Any = None) -> LeadingPCA:
        """Fit on X of shape (n, d)."""
        self.pca_ = PCA(min(self.n_components, *X.shape), random_state=self.random_state).fit(X)
        self._n_features_out = self.pca_.n_components_
        return self

    def transform(self, X: NDArray[Any]) -> NDArray[Any]:
        """Give the scores, of shape (n, at most n_components)."""
        check_is_fitted(self)
        scores: NDArray[Any] = self.pca_.transform(X)
        return scores


class CalibratedSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An RBF SVM with probabilities by Platt's sigmoid, fitted on inner out-of-fold decisions.

    Parameters
    ----------
    C, gamma, class_weight
        As in `sklearn.svm.SVC`.
    random_state : int or None
        Of the inner folds: at most five, fewer where a class is smaller.

    References
    ----------
    Platt, J. (1999). Probabilistic outputs for support vector machines and comparisons to
    regularized likelihood methods. Advances in Large Margin Classifiers, 61-74.
    """

    def __init__(
        self,
        C: float = 3.0,
        gamma: float | str = "scale",
        class_weight: Any = None,
        random_state: int | None = None,
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: NDArray[Any], y: ArrayLike) -> CalibratedSVC:
        """Fit on X of shape (n, d) and n labels, at least two a class."""
        self.classes_, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        if counts.min() < 2:
            raise ParameterError(
                "svm needs two images or more of each class to calibrate its probabilities; the "
                "smallest class has 1: add images, take fewer folds, or --head logreg"
            )
        folds = StratifiedKFold(min(5, counts.min()), shuffle=True, random_state=self.random_state)
        weight = self.class_weight
        if isinstance(weight, dict):
            weight = {code: weight.get(name, 1.0) for code, name in enumerate(self.classes_)}
        svc = SVC(C=self.C, gamma=self.gamma, class_weight=weight)
        # Numbers for classes: the calibration would show the SVM now these, now the names.
        self.calibrated_ = CalibratedClassifierCV(svc, cv=folds, ensemble=False).fit(X, codes)
        return self

    def predict_proba(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Give calibrated probabilities of shape (n, k), columns as in `classes_`."""
        check_is_fitted(self)
        probabilities: NDArray[np.float64] = self.calibrated_.predict_proba(X)
        return probabilities

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Give the most probable class of each row."""
        predicted: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return predicted


def _logreg(seed: int | None) -> list[BaseEstimator]:
    return [LogisticRegression(C=0.01, max_iter=2000, random_state=seed)]


def _svm(seed: int | None) -> list[BaseEstimator]:
    return [LeadingPCA(128, random_state=seed), CalibratedSVC(random_state=seed)]


def _gradient_boosting(seed: int | None) -> list[BaseEstimator]:
    boosting = HistGradientBoostingClassifier(
        max_iter=150,
        max_leaf_nodes=8,
        min_samples_leaf=5,  # scikit-learn's 20 can't split forty images
        random_state=seed,
    )
    return [LeadingPCA(64, random_state=seed), boosting]


HEADS: dict[str, Callable[[int | None], list[BaseEstimator]]] = {
    "logreg": _logreg,
    "svm": _svm,
    "gradient-boosting": _gradient_boosting,
}


def make_head(name: str, *, random_state: int | None = 0, **params: Any) -> Pipeline:
    """Make a classifier for embeddings: standardising, then PCA where it helps, then the rest.

    Everything is in one pipeline, so that all of it is fitted inside the fold.

    Parameters
    ----------
    name : {"logreg", "svm", "gradient-boosting"}
        The RBF SVM sees 128 PCA scores, boosting 64.
    random_state : int or None
    **params
        Of the classifier (`C=0.1`, `class_weight="balanced"`, `learning_rate=0.05`), or
        `n_components` of the PCA, or `step__parameter` of any step (scale, pca, classifier).

    Returns
    -------
    sklearn.pipeline.Pipeline
        With `predict` and `predict_proba`; not fitted.

    Raises
    ------
    ParameterError
        For an unknown head or parameter, naming those there are.

    Examples
    --------
    >>> make_head("logreg", C=0.1)[-1].C
    0.1
    """
    if name not in HEADS:
        raise unknown_name("head", name, HEADS)
    *reducing, classifier = HEADS[name](random_state)
    steps = [("scale", StandardScaler()), *(("pca", step) for step in reducing)]
    head = Pipeline([*steps, ("classifier", classifier)])
    known = _param_names(head)
    for key in params:
        if key not in known:
            raise unknown_name(f"parameter of {name}", key, _short(known))
    return head.set_params(**{known[key]: value for key, value in params.items()})


def _param_names(head: Pipeline) -> dict[str, str]:
    """Short and full names of parameters -> the full ones; the classifier's come first."""
    short = {
        inner: f"{step}__{inner}"
        for step, estimator in head.steps
        if step in ("pca", "classifier")
        for inner in estimator.get_params(deep=False)
        if inner != "random_state"  # an option of its own, for every step
    }
    full = {name: name for name in head.get_params() if "__" in name}
    return {**short, **full}


def _short(names: Iterable[str]) -> list[str]:
    return [name for name in names if "__" not in name]


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
        Of `HEADS`, or "all".
    params : mapping, optional
        See `make_head`.
    random_state : int or None

    Raises
    ------
    ParameterError
        For an unknown head, or a parameter that none of them has.
    """
    params = params or {}
    names = [each for name in as_list(names) for each in (HEADS if name == "all" else [name])]
    names = list(dict.fromkeys(names))
    known = {name: _param_names(make_head(name)) for name in names}
    for key in params:
        if not any(key in params_of for params_of in known.values()):
            every = dict.fromkeys(param for params_of in known.values() for param in params_of)
            raise unknown_name(f"parameter of {', '.join(names)}", key, _short(every))
    return {
        name: make_head(
            name,
            random_state=random_state,
            **{key: value for key, value in params.items() if key in known[name]},
        )
        for name in names
    }


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
