"""Cross-validation of heads on a dataset.

A `Trainer` runs the folds in parallel. Each fold uses one thread, and all folds read the same X.
The principal coordinates of a fold are computed once for all its heads. Each head is then an
ordinary classifier whose columns are these coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.metrics import get_scorer_names

from tlfeatures.dataset.load import Data, as_dataset
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.heads.forms import MANY_ROWS, has_many_rows
from tlfeatures.heads.make_heads import (
    Heads,
    check_heads,
    check_one_head,
    make_heads,
    make_one_head,
)
from tlfeatures.heads.table import Grid, OneHead
from tlfeatures.metrics.scores import SCORES
from tlfeatures.model_selection.evaluation import CrossValidation, cross_validation_of, scorer_of
from tlfeatures.model_selection.folds import Folding, make_folds
from tlfeatures.model_selection.head_folds import run_folds
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.names import as_list, as_seed, unknown_name

_TOP = 2  # default k of scikit-learn's scorer top_k_accuracy


def cross_validate(
    head: OneHead,
    data: Data,
    *,
    cv: Folding | None = None,
    split: str = "auto",
    grid: Grid | None = None,
    params: Mapping[str, Any] | None = None,
    scoring: str | Sequence[str] = (),
    n_jobs: int | None = None,
    random_state: int | None = 0,
    scale_from: int = MANY_ROWS,
    trainer: Trainer | None = None,
) -> CrossValidation:
    """Score a head on images that it was not fitted on.

    The head is cloned for each fold, so that all that it learns, including scaling and PCA, comes
    from the training images of the fold.

    Parameters
    ----------
    head : str or scikit-learn classifier
        A name of `HEADS` (see `make_head`), or any classifier.
    data : Dataset or path
        What `load_dataset` returns, or an embeddings file.
    cv : int, str, scikit-learn splitter or iterable of (train rows, test rows), optional
        Number of folds (default 5), which are stratified and shuffled. Groups and copies of an
        image are always in the same fold. With "leave-one-group-out", each group is a fold.
    split : {"auto", "cv", "val", "test"}
        "auto" cross-validates if `cv` is given or the data have no splits; otherwise it fits on
        train and scores on val, or on test if there is no val. "cv" cross-validates over all
        images.
    grid : mapping of parameter to values, optional
        Values that are compared by cross-validation inside each training fold (nested), never on
        its test images. `head_grid` returns good values.
    params : mapping, optional
        Parameters of a head that is given by its name.
    scoring : str or sequence of str
        Further scores, by scikit-learn's names.
    n_jobs : int or None
        Number of folds that are fitted at the same time, each on one thread. It does not change
        the results.
    random_state : int or None
        Seed of the shuffling, of a head that is given by its name, and of the resamples.
    scale_from : int
        Number of training rows (images and their variants) from which a head that is given by its
        name has its form for many rows, see `tlfeatures.heads.forms`; 20,000 by default. 0: always
        this form; a number above that of the rows: the exact head.
    trainer : Trainer, optional
        An open trainer of the dataset. It is used instead of `n_jobs`.

    Returns
    -------
    CrossValidation

    Raises
    ------
    DatasetError
        If there is one class only, or a class has fewer images than folds.
    ParameterError
        If a head, parameter, split or score is unknown, or for `top_k_accuracy` with two classes.

    Examples
    --------
    >>> accuracy = cross_validate("logreg", data).scores["accuracy"]  # doctest: +SKIP
    >>> accuracy["score"], accuracy["interval"]  # doctest: +SKIP
    (0.853, [0.831, 0.873])
    """
    check_one_head(head, params)  # reports a wrong name before the file is read
    data = as_dataset(data)
    many_rows = has_many_rows(TrainingRows.count(data), scale_from)
    name, classifier = make_one_head(head, params, random_state, many_rows=many_rows)
    return cross_validate_heads(
        {name: classifier},
        data,
        cv=cv,
        split=split,
        grids=None if grid is None else {name: grid},
        scoring=scoring,
        n_jobs=n_jobs,
        random_state=random_state,
        trainer=trainer,
    )[name]


def cross_validate_heads(
    heads: Heads,
    data: Data,
    *,
    cv: Folding | None = None,
    split: str = "auto",
    grids: Mapping[str, Grid] | None = None,
    params: Mapping[str, Any] | None = None,
    scoring: str | Sequence[str] = (),
    n_jobs: int | None = None,
    random_state: int | None = 0,
    scale_from: int = MANY_ROWS,
    trainer: Trainer | None = None,
) -> dict[str, CrossValidation]:
    """Score several heads on the same folds. Shared columns are computed once in each fold.

    Parameters
    ----------
    heads : names, classifiers, or a mapping of name to either
        See `make_heads`.
    data : Dataset or path
    cv, split
        See `cross_validate`.
    grids : mapping of head to grid, optional
        Parameter values that are compared by cross-validation inside each training fold (nested),
        never on its test images. A head without a grid is not tuned.
    params : mapping, optional
        Parameters of the heads that are given by their names.
    scoring, n_jobs, random_state, scale_from, trainer
        See `cross_validate`.

    Returns
    -------
    dict of name to CrossValidation

    Raises
    ------
    DatasetError
        If there is one class only, or a class has fewer images than folds.
    ParameterError
        If a head, parameter, split or score is unknown, or for `top_k_accuracy` with two classes.

    Notes
    -----
    ROC AUC with more than two classes is the unweighted mean of one class against the rest. Macro
    F1 and balanced accuracy are means over the classes that have tested images.
    """
    scoring, random_state = as_list(scoring), as_seed(random_state)
    check_heads(heads, params)  # reports a wrong name before the file is read
    data = as_dataset(data)
    many_rows = has_many_rows(TrainingRows.count(data), scale_from)
    classifiers = make_heads(heads, params, random_state=random_state, many_rows=many_rows)
    check_scoring(scoring, data.classes)
    split, folds = make_folds(data, cv=cv, split=split, random_state=random_state)
    options: dict[str, Any] = {"grids": grids, "scoring": scoring, "random_state": random_state}
    if trainer is None:
        with Trainer(data, n_jobs=n_jobs) as own:
            runs = run_folds(own, classifiers, folds, **options)
    else:
        runs = run_folds(trainer, classifiers, folds, **options)
    scorer = scorer_of(data, folds, random_state)
    return {name: cross_validation_of(name, run, data, split, scorer) for name, run in runs.items()}


def check_scoring(scoring: Sequence[str], classes: Sequence[str]) -> None:
    """Check that scores exist and are useful for these classes.

    Parameters
    ----------
    scoring : sequence of str
        Names of scores.
    classes : sequence of str

    Raises
    ------
    ParameterError
        If a score is unknown, or is `top_k_accuracy` with two classes.
    """
    names = list(dict.fromkeys((*SCORES, *get_scorer_names())))
    for name in scoring:
        if name not in names:
            raise unknown_name("scoring", name, names)
        if name == "top_k_accuracy" and len(classes) <= _TOP:
            raise ParameterError(
                f"top_k_accuracy counts a label among the {_TOP} most probable classes as correct; "
                f"with {len(classes)} classes it is 1 for every head: use accuracy"
            )
