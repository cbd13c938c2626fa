"""Loss and accuracy epoch by epoch, of the images trained on and of those held back.

For heads that train in epochs. The coordinates of a fold are learned from its training images
alone, and the weights after the last epoch are those that `cross_validate` scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import ParameterError
from tlfeatures.heads.table import HEADS, make_head
from tlfeatures.model_selection.fold_scores import EPOCH_SCORES
from tlfeatures.model_selection.fold_work import Task
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.progress import Progress, ProgressCounter
from tlfeatures.model_selection.trainer import Trainer

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingCurve(EqualByValue):
    """What one head did epoch by epoch.

    The four arrays have the shape (folds, epochs). Where tuning chose other epochs for some folds,
    the shorter ones end in NaN.

    Attributes
    ----------
    file, embedding, weights, head : str
    params : dict
        Those that were given for the head.
    images : int
    split : str
        `cv`, or the split (val, test) that was held back.
    folds : int
    loss : ndarray
        Mean log loss (natural logarithm) of the fold's training images themselves (not of their
        variants, if it was trained on these, too), without the L2 penalty and
        without class weights, by the weights as they are after the epoch. Keras's `History`
        averages over the batches of an epoch while the weights still move, so that its first
        training losses are higher and its first accuracies lower.
    accuracy : ndarray
        Of the same images.
    validation_loss, validation_accuracy : ndarray
        Of the images that the fold holds back.
    variants : int
        Of each training image, that the head was fitted on, too.
    """

    file: str
    embedding: str
    weights: str
    head: str
    params: dict[str, Any]
    images: int
    split: str
    folds: int
    loss: Floats
    accuracy: Floats
    validation_loss: Floats
    validation_accuracy: Floats
    variants: int = 0

    @property
    def epochs(self) -> int:
        """Epochs of the fold that has most."""
        return int(self.loss.shape[1])

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data, None for NaN."""
        return asdict(self) | {name: _plain(getattr(self, name)) for name in EPOCH_SCORES}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainingCurve:
        """Read what `to_dict` wrote."""
        # NumPy makes NaN of None.
        series = {name: np.array(data[name], np.float64) for name in EPOCH_SCORES}
        return cls(**{**data, **series})


def _plain(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in values.tolist()]


def trains_in_epochs(head: BaseEstimator) -> bool:
    """Tell whether a classifier, or the last step of a pipeline, can be followed by epochs.

    It then has a method `fit_epochs` as `ScaledMLP` has, and between the steps `predict_proba`.
    """
    last = head[-1] if isinstance(head, Pipeline) else head
    return hasattr(last, "fit_epochs") and hasattr(last, "predict_proba")


def training_curve(
    data: Dataset,
    head: str = "mlp",
    *,
    params: Mapping[str, Any] | None = None,
    folds: list[Fold] | None = None,
    split: str | None = None,
    chosen: Sequence[Mapping[str, Any]] = (),
    cv: Any = None,
    n_jobs: int | None = None,
    random_state: int | None = 0,
    progress: Progress | None = None,
) -> TrainingCurve:
    """Measure loss and accuracy after each epoch, in training and on images held back.

    Parameters
    ----------
    data : Dataset
    head : str
    params : mapping, optional
        Parameters of the head, see `make_head`.
    folds : list of (train rows, test rows), optional
        From `make_folds`, in place of `cv`; `split` is then the name that it gave.
    split : str, optional
        Without `folds`: what `make_folds` takes, "auto" by default.
    chosen : sequence of mapping, optional
        What tuning chose in each fold, parameters of the classifier (`Choice.params`).
    cv : int, scikit-learn splitter or iterable of (train rows, test rows), optional
    n_jobs : int or None
        Folds at once, each on one thread; the numbers don't depend on it.
    random_state : int or None
        Of folds and head.
    progress : callable of (done, total), optional
        Called after each fold.

    Returns
    -------
    TrainingCurve

    Raises
    ------
    DatasetError
        With one class, or a class of fewer images than folds.
    ParameterError
        For a head that does not train in epochs, an unknown head or parameter, or `chosen` of
        another length than the folds.
    """
    made = _make(head, params, random_state)
    if folds is None:
        split, folds = make_folds(data, cv=cv, split=split or "auto", random_state=random_state)
    if chosen and len(chosen) != len(folds):
        raise ParameterError(
            f"chosen must have one mapping for each of {len(folds)} folds, got {len(chosen)}"
        )
    tasks = [Task(train, test, {head: made}) for train, test in folds]
    if chosen:
        tasks = [replace(task, params={head: of}) for task, of in zip(tasks, chosen, strict=True)]
    with Trainer(
        data, n_jobs=n_jobs, progress=ProgressCounter(len(folds), progress).add
    ) as trainer:
        found = [tables[head] for tables in trainer.follow_epochs(tasks)]
    return TrainingCurve(
        file=data.file,
        embedding=data.embedding,
        weights=data.spec.weights,
        head=head,
        params=dict(params or {}),
        images=len(data.y),
        split=split or "cv",
        folds=len(folds),
        variants=data.n_variants,
        **dict(zip(EPOCH_SCORES, np.moveaxis(_padded(found), 2, 0), strict=True)),
    )


def _make(head: str, params: Mapping[str, Any] | None, seed: int | None) -> Pipeline:
    made = make_head(head, random_state=seed, **(params or {}))
    if not trains_in_epochs(made):
        able = [name for name in HEADS if trains_in_epochs(make_head(name))]
        raise ParameterError(
            f"{head} does not train in epochs, so that there is no curve; heads that do: "
            f"{', '.join(able)}"
        )
    return made


def _padded(tables: Sequence[Floats]) -> Floats:
    """Stack tables of shape (epochs, 4), with NaN after the end of the shorter ones."""
    padded = np.full((len(tables), max(map(len, tables)), len(EPOCH_SCORES)), np.nan)
    for row, table in zip(padded, tables, strict=True):
        row[: len(table)] = table
    return padded
