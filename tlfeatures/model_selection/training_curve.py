"""Training curves: loss and accuracy of training and test images after each epoch.

Only heads that train in epochs have a training curve. The coordinates of a fold are learned from
its training images only. `cross_validate` scores the weights after the last epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from tlfeatures.data_frames import data_frame
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import Data, Files, as_dataset
from tlfeatures.dataset.samples import MOST_IMAGES, folds_among, sampled_rows
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.equality import EqualByValue
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.heads.forms import MANY_ROWS, has_many_rows
from tlfeatures.heads.make_heads import make_one_head
from tlfeatures.heads.table import HEADS, OneHead, make_head
from tlfeatures.html_tables import MOST_ROWS, facts_html, result_html, table_html
from tlfeatures.model_selection.fold_scores import EPOCH_SCORES
from tlfeatures.model_selection.fold_work import Task
from tlfeatures.model_selection.folds import Folding, make_folds
from tlfeatures.model_selection.progress import ProgressCounter
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.names import as_seed, counted
from tlfeatures.progress import Progress, shown_progress

if TYPE_CHECKING:
    from pandas import DataFrame

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingCurve(EqualByValue):
    """Loss and accuracy of one head after each epoch.

    The four arrays have the shape (folds, epochs). If tuning chose fewer epochs for some folds,
    their rows end in NaN.

    Attributes
    ----------
    file, embedding, weights, head : str
        Path of the embeddings file, and names of the embedding, the weights and the head.
    params : dict
        Parameters that were given for the head.
    images : int
        Number of images.
    split : str
        `cv`, or the split (val, test) whose images are the validation images.
    folds : int
        Number of folds.
    loss : ndarray
        Mean log loss (natural logarithm) of the fold's training images, computed with the weights
        after the epoch. Variants, the L2 penalty and class weights are not included. Keras's
        `History` averages over the batches of an epoch while the weights change. Therefore its
        first training losses are higher, and its first accuracies are lower.
    accuracy : ndarray
        Accuracy of the fold's training images.
    validation_loss, validation_accuracy : ndarray
        Loss and accuracy of the fold's test images.
    variants : int
        Number of variants of each training image that the head was also fitted on.
    sample : int or None
        Number of images that were used, if these are a sample of all images.
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
    sample: int | None = None

    def __repr__(self) -> str:
        """Describe it in one line."""
        loss, accuracy = self._last("validation_loss"), self._last("validation_accuracy")
        return (
            f"<TrainingCurve: {self._about()}; in the end, validation accuracy {accuracy:.3f}, "
            f"loss {loss:.3f}>"
        )

    def _about(self) -> str:
        runs = f"{counted(self.epochs, 'epoch')}, {counted(self.folds, 'fold')}"
        return f"{self.head} on {self.embedding}, {counted(self.images, 'image')}, {runs}"

    def _last(self, name: str) -> float:
        """Return the mean over folds of the values after their last epoch."""
        values: Floats = getattr(self, name)
        ends = np.isfinite(self.loss).sum(axis=1) - 1
        return float(values[np.arange(self.folds), ends].mean())

    def _repr_html_(self) -> str:
        """Show some of the epochs in a notebook."""
        means = {name: getattr(self, name).mean(axis=0) for name in EPOCH_SCORES}
        whole = int(np.isfinite(self.loss).all(axis=0).sum())  # of all folds
        shown = np.unique(np.linspace(0, whole - 1, MOST_ROWS).round().astype(int))
        rows = [
            [int(epoch) + 1, *(float(mean[epoch]) for mean in means.values())] for epoch in shown
        ]
        return result_html(
            "TrainingCurve",
            table_html(
                ["epoch", *(name.replace("_", " ") for name in means)],
                rows,
                caption=f"Means over folds after {len(rows)} of {counted(whole, 'epoch')}",
            ),
            facts_html({"file": self.file, "split": self.split}),
            about=self._about(),
        )

    def to_frame(self) -> DataFrame:
        """Return a data frame with one row for each epoch of each fold. It needs pandas.

        Returns
        -------
        DataFrame
            Columns `fold` (from 0), `epoch` (from 1), `loss`, `accuracy`, `validation_loss` and
            `validation_accuracy`. A fold with fewer epochs has fewer rows.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        fold, epoch = np.nonzero(np.isfinite(self.loss))
        series = {name: getattr(self, name)[fold, epoch] for name in EPOCH_SCORES}
        return data_frame({"fold": fold, "epoch": epoch + 1, **series})

    @property
    def epochs(self) -> int:
        """Largest number of epochs of a fold."""
        return int(self.loss.shape[1])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data, with None for NaN."""
        return asdict(self) | {name: _plain(getattr(self, name)) for name in EPOCH_SCORES}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainingCurve:
        """Create a training curve from the result of `to_dict`."""
        # NumPy turns None into NaN.
        series = {name: np.array(data[name], np.float64) for name in EPOCH_SCORES}
        return cls(**{**data, **series})


def _plain(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else value for value in row] for row in values.tolist()]


def trains_in_epochs(head: BaseEstimator) -> bool:
    """Check whether a classifier, or the last step of a pipeline, has a training curve.

    Such a classifier has a method `fit_epochs` with the arguments of `fit`, as `ScaledMLP` has. Its
    `predict_proba` can be called after each epoch.
    """
    last = head[-1] if isinstance(head, Pipeline) else head
    return hasattr(last, "fit_epochs") and hasattr(last, "predict_proba")


def training_curve(
    data: Data | Files,
    head: OneHead = "mlp",
    *,
    embedding: str | None = None,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    params: Mapping[str, Any] | None = None,
    folds: list[Fold] | None = None,
    split: str | None = None,
    chosen: Sequence[Mapping[str, Any]] = (),
    cv: Folding | None = None,
    sample: int | None = MOST_IMAGES,
    n_jobs: int | None = None,
    random_state: int | None = 0,
    scale_from: int = MANY_ROWS,
    progress: bool | Progress | None = None,
) -> TrainingCurve:
    """Measure loss and accuracy of training and test images after each epoch.

    Parameters
    ----------
    data : path, sequence of paths, or Dataset
        Embeddings file of `extract`, several whose embeddings are joined, or a loaded dataset.
    head : str or scikit-learn classifier
        A head that trains in epochs, see `trains_in_epochs`.
    embedding, labels, groups, label_level, columns, near_duplicates, variants
        See `load_dataset`. They apply to a file, not to a dataset.
    params : mapping, optional
        Parameters of a head that is given by name, see `make_head`.
    folds : list of (train rows, test rows), optional
        Folds of `make_folds`, instead of `cv`. `split` is then the name that it returned.
    split : str, optional
        Without `folds`, the argument of `make_folds`, "auto" by default.
    chosen : sequence of mapping, optional
        Parameters that tuning chose in each fold (`Choice.params`).
    cv : int, str, scikit-learn splitter or iterable of (train rows, test rows), optional
        See `make_folds`.
    sample : int or None
        Approximate number of images that are used. Of more images, a stratified sample is drawn,
        see `tlfeatures.dataset.samples`, and the folds keep their images of it. None: all images.
    n_jobs : int or None
        Number of folds that are fitted at the same time, each on one thread. It does not change
        the results.
    random_state : int or None
        Seed of the folds and, if it is given by name, of the head.
    scale_from : int
        Number of training rows (images and their variants) from which a head that is given by its
        name has its form for many rows, see `tlfeatures.heads.forms`; 20,000 by default. 0: always
        this form; a number above that of the rows: the exact head.
    progress : bool or callable of (done, total), optional
        Counts folds. See `extract`.

    Returns
    -------
    TrainingCurve

    Raises
    ------
    DatasetError
        See `load_dataset`; also if there is only one class, a class has fewer images than there
        are folds, or the sample leaves no fold with training and tested images.
    ParameterError
        If the head does not train in epochs, the head or a parameter is unknown, `chosen` has
        another length than the folds, or an option of a file is given with a `Dataset`.
    StoreError
        If the file can't be read.

    Examples
    --------
    >>> training_curve("photos.h5", "mlp", cv=5).validation_accuracy  # doctest: +SKIP
    """
    random_state = as_seed(random_state)
    _make(head, params, random_state)  # a wrong name is reported before the file is read
    data = as_dataset(
        data,
        embedding=embedding,
        labels=labels,
        groups=groups,
        label_level=label_level,
        columns=columns,
        near_duplicates=near_duplicates,
        variants=variants,
    )
    if folds is None:
        split, folds = make_folds(data, cv=cv, split=split or "auto", random_state=random_state)
    if chosen and len(chosen) != len(folds):
        raise ParameterError(
            f"chosen must have one mapping for each of {len(folds)} folds, got {len(chosen)}"
        )
    images, rows = len(data), sampled_rows(data.y, data.together, sample, random_state)
    data = data.take(rows)
    many_rows = has_many_rows(TrainingRows.count(data), scale_from)
    name, classifier = _make(head, params, random_state, many_rows)
    tasks = [
        Task(train, test, {name: classifier}, params={name: own} if chosen else {})
        for (train, test), own in zip(
            folds_among(rows, folds), chosen or [{}] * len(folds), strict=True
        )
        if len(train) and len(test)
    ]
    if not tasks:
        raise DatasetError(
            f"none of the folds has training and tested images among the {len(rows):,} images of "
            "the sample; choose a larger sample"
        )
    with (
        shown_progress(progress, "epochs", "folds") as show,
        Trainer(data, n_jobs=n_jobs, progress=ProgressCounter(len(tasks), show).add) as trainer,
    ):
        tables = [by_head[name] for by_head in trainer.follow_epochs(tasks)]
    return TrainingCurve(
        file=data.file,
        embedding=data.embedding,
        weights=data.weights,
        head=name,
        params=dict(params or {}),
        images=images,
        sample=len(rows) if len(rows) < images else None,
        split=split or "cv",
        folds=len(tasks),
        variants=data.n_variants,
        **dict(zip(EPOCH_SCORES, np.moveaxis(_padded(tables), 2, 0), strict=True)),
    )


def _make(
    head: OneHead, params: Mapping[str, Any] | None, seed: int | None, many_rows: bool = False
) -> tuple[str, BaseEstimator]:
    name, classifier = make_one_head(head, params, seed, many_rows=many_rows)
    if not trains_in_epochs(classifier):
        able = [name for name in HEADS if trains_in_epochs(make_head(name))]
        raise ParameterError(
            f"{name} does not train in epochs, so it has no training curve; use one of "
            f"{', '.join(able)}"
        )
    return name, classifier


def _padded(tables: Sequence[Floats]) -> Floats:
    """Stack tables of shape (epochs, 4). Shorter tables are filled with NaN at the end."""
    padded = np.full((len(tables), max(map(len, tables)), len(EPOCH_SCORES)), np.nan)
    for row, table in zip(padded, tables, strict=True):
        row[: len(table)] = table
    return padded
