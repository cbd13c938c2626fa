"""The table of heads: classifiers for embeddings, whose defaults were chosen by measurements.

The heads of a fold share its principal coordinates. Each head is an ordinary classifier on these
columns. rbf-svm, gradient-boosting, knn and mlp use only the leading coordinates, because rare
activations dominate the distances on all coordinates.

Each head has a second form for many rows, whose time grows in proportion to the number of rows. It
reads the rows in blocks. rbf-svm then has landmarks (Nystroem's approximation) and the hinge losses
of a row's class against each other class, and linear-svm has the squared hinge loss; the other
heads are the same except for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tlfeatures.heads.block_coordinates import BlockCoordinates
from tlfeatures.heads.class_weights import named_weights
from tlfeatures.heads.classifiers.block_lda import BlockLDA
from tlfeatures.heads.classifiers.block_logistic import BlockLogistic
from tlfeatures.heads.classifiers.calibrated_block_centroid import CalibratedBlockCentroid
from tlfeatures.heads.classifiers.calibrated_block_ridge import CalibratedBlockRidge
from tlfeatures.heads.classifiers.calibrated_block_svm import CalibratedBlockSVM
from tlfeatures.heads.classifiers.calibrated_centroid import CalibratedCentroid
from tlfeatures.heads.classifiers.calibrated_landmark_svm import CalibratedLandmarkSVM
from tlfeatures.heads.classifiers.calibrated_ridge import CalibratedRidge
from tlfeatures.heads.classifiers.calibrated_svc import CalibratedSVC
from tlfeatures.heads.classifiers.named_boosting import NamedBoosting
from tlfeatures.heads.classifiers.scaled_mlp import ScaledMLP
from tlfeatures.heads.classifiers.shrunk_lda import ShrunkLDA
from tlfeatures.heads.classifiers.smoothed_neighbors import SmoothedNeighbors
from tlfeatures.heads.coordinates import PrincipalCoordinates
from tlfeatures.heads.custom_heads import (
    custom_grid,
    make_custom_head,
)
from tlfeatures.heads.parameters import parameter_names, short_names
from tlfeatures.names import unknown_name

ALIASES = {"svm": "rbf-svm"}

Grid = Mapping[str, Sequence[Any]]
OneHead: TypeAlias = str | BaseEstimator


@dataclass(frozen=True)
class Head:
    """A row of the table.

    Attributes
    ----------
    title : str
        Description of the head in words.
    make : callable
        Function of a seed (int or None) that returns a classifier.
    n_components : int or None
        Number of leading principal coordinates that the classifier uses. None means all of them;
        the result is then the same as on all columns.
    grid : mapping of parameter to values
        Values that tuning tries. The simplest model comes first.
    make_blocks : callable, optional
        Like `make`, for many rows: a classifier that reads its rows in blocks. If there is none,
        the form for many rows is the usual classifier on coordinates that are computed in blocks.
    """

    title: str
    make: Callable[[int | None], BaseEstimator]
    n_components: int | None = None
    grid: Grid = field(default_factory=dict)
    make_blocks: Callable[[int | None], BaseEstimator] | None = None

    def pipeline(self, seed: int | None, many_rows: bool) -> Pipeline:
        """Create the head, or its form for many rows."""
        if not many_rows:
            first = ("coordinates", PrincipalCoordinates(self.n_components))
            return Pipeline([first, ("classifier", self.make(seed))])
        classifier = (self.make_blocks or self.make)(seed)
        if self.make_blocks is not None and self.n_components is None:
            return Pipeline([("classifier", classifier)])
        # Without a number of coordinates, the classifier uses none, and one costs the least.
        first = ("coordinates", BlockCoordinates(self.n_components or 1))
        return Pipeline([first, ("classifier", classifier)])


def _powers(first: int, last: int) -> list[float]:
    step = 1 if last > first else -1
    return [10.0**power for power in range(first, last + step, step)]


# The defaults were the best values over five embeddings, or within a standard error of the best
# (see benchmarks/README.md).
HEADS: dict[str, Head] = {
    "logreg": Head(
        "logistic regression",
        lambda seed: LogisticRegression(C=0.01, max_iter=2000, random_state=seed),
        grid={"C": _powers(-5, 1)},
        make_blocks=lambda seed: BlockLogistic(),
    ),
    "linear-svm": Head(
        "linear SVM",
        lambda seed: CalibratedSVC(kernel="linear", C=0.003, random_state=seed),
        grid={"C": _powers(-6, 0)},
        make_blocks=lambda seed: CalibratedBlockSVM(random_state=seed),
    ),
    "rbf-svm": Head(
        "SVM with an RBF kernel",
        lambda seed: CalibratedSVC(random_state=seed),
        n_components=128,  # all coordinates of a flattened layer: accuracy lower by 7 points
        grid={"gamma_factor": [0.3, 1.0, 2.0], "C": [0.3, 1.0, 3.0, 10.0, 30.0]},
        make_blocks=lambda seed: CalibratedLandmarkSVM(random_state=seed),
    ),
    "gradient-boosting": Head(
        "gradient boosting",
        lambda seed: NamedBoosting(
            max_iter=150,
            max_leaf_nodes=8,
            min_samples_leaf=5,  # scikit-learn's 20 can't split forty images
            early_stopping=False,  # validation rows could be variants of training images
            random_state=seed,
        ),
        n_components=64,
        grid={"max_leaf_nodes": [4, 8], "learning_rate": [0.03, 0.1]},
    ),
    "knn": Head(
        "nearest neighbours",
        lambda seed: SmoothedNeighbors(),
        n_components=64,  # all coordinates of a flattened layer: accuracy not above chance
        grid={"n_neighbors": [40, 20, 10, 5, 3, 1]},
    ),
    "centroid": Head(
        "nearest class mean",
        lambda seed: CalibratedCentroid(random_state=seed),
        make_blocks=lambda seed: CalibratedBlockCentroid(random_state=seed),
    ),
    "ridge": Head(
        "ridge classifier",
        lambda seed: CalibratedRidge(random_state=seed),
        grid={"alpha": _powers(6, 0)},
        make_blocks=lambda seed: CalibratedBlockRidge(random_state=seed),
    ),
    "lda": Head(
        "linear discriminant analysis",
        lambda seed: ShrunkLDA(),
        grid={"shrinkage": [0.9, 0.7, 0.5, 0.3, 0.1]},
        make_blocks=lambda seed: BlockLDA(),
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


def make_head(
    name: str, *, random_state: int | None = 0, many_rows: bool = False, **params: Any
) -> Pipeline:
    """Create a head: a pipeline of principal coordinates and a classifier.

    A head is a single pipeline, so that all its steps are fitted on training rows only.

    Parameters
    ----------
    name : str
        A name of `HEADS` (`svm` means rbf-svm), the name of an entry point in the group
        `tlfeatures.heads`, or `module:Class` of any scikit-learn classifier, which is then fitted
        on standardised columns.
    random_state : int or None
        Seed of the classifier.
    many_rows : bool, default False
        Whether to create the head's form for many rows (see `tlfeatures.heads.forms`), which lacks
        some parameters of the other form. Heads that are not in `HEADS` have one form only.
    **params
        Parameters of the classifier (`C=0.1`, `learning_rate=0.05`, `class_weight="balanced"` or
        weights by class name, `class_weight={"ant": 2.0}`), `n_components` of the coordinates
        (None means all), or `step__parameter` of any step.

    Returns
    -------
    sklearn.pipeline.Pipeline
        A head before its fit, with `predict` and `predict_proba`. A classifier without
        probabilities is calibrated.

    Raises
    ------
    ParameterError
        If the head or a parameter is unknown. The message lists valid names.

    Examples
    --------
    >>> make_head("logreg", C=0.1)[-1].C
    0.1
    >>> make_head("sklearn.ensemble:ExtraTreesClassifier", n_estimators=50)[-1].n_estimators
    50
    """
    head = _pipeline(name, random_state, many_rows)
    full_names = parameter_names(head)
    for key in params:
        if key not in full_names:
            raise unknown_name(f"parameter of {name}", key, short_names(full_names))
    full = {full_names[key]: value for key, value in params.items()}
    return head.set_params(**named_weights(full))


def _pipeline(name: str, seed: int | None, many_rows: bool = False) -> Pipeline:
    name = ALIASES.get(name, name)
    if name in HEADS:
        return HEADS[name].pipeline(seed, many_rows)
    return make_custom_head(name, seed, _table_names())


def _table_names() -> list[str]:
    return [*HEADS, *ALIASES]


def head_grid(head: OneHead, params: Iterable[str] = ()) -> Grid:
    """Return the values that tuning tries for each parameter of a head.

    The names are those of `make_head(head).get_params()`, so that scikit-learn's searches take the
    grid as it is.

    Parameters
    ----------
    head : str or scikit-learn classifier
        See `make_head`. The function of an entry point may have an attribute `grid`. For a
        classifier, an empty mapping is returned.
    params : iterable of str
        Parameters with a given value, which are not tuned.

    Examples
    --------
    >>> head_grid("rbf-svm", ["C"])
    {'classifier__gamma_factor': [0.3, 1.0, 2.0]}
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> GridSearchCV(make_head("knn"), head_grid("knn"), cv=3).fit(X, y).best_params_
    {'classifier__n_neighbors': 40}
    """
    if not isinstance(head, str):
        return {}
    name, fixed = ALIASES.get(head, head), set(params)
    grid = HEADS[name].grid if name in HEADS else custom_grid(name, _table_names())
    full_names = parameter_names(_pipeline(name, None))
    fixed |= {full_names.get(key, key) for key in fixed}
    named = {full_names.get(key, key): values for key, values in grid.items()}
    return {key: values for key, values in named.items() if key not in fixed}
