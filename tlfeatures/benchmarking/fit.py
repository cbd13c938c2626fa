"""The function `fit`: a benchmark of one embedding. The best head is fitted on all images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from tlfeatures.benchmarking.benchmark_result import Benchmark
from tlfeatures.benchmarking.compute import compute_entries
from tlfeatures.benchmarking.fit_result import FitResult, model_facts
from tlfeatures.benchmarking.operating_point import check_point, point_of
from tlfeatures.benchmarking.plan import Plan
from tlfeatures.benchmarking.run import RANKING, checked_heads, open_store, ranked
from tlfeatures.benchmarking.trainers import may_be_sums, open_trainer, place_rows
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.labels import Groups, Labels
from tlfeatures.dataset.load import Data, Files, as_dataset
from tlfeatures.dataset.training_rows import TrainingRows
from tlfeatures.errors import ParameterError
from tlfeatures.features.cluster.connect import TLS, connect_if
from tlfeatures.heads.coordinate_step import set_tuned
from tlfeatures.heads.forms import MANY_ROWS, has_many_rows
from tlfeatures.heads.make_heads import Heads
from tlfeatures.heads.table import HEADS
from tlfeatures.metrics.targets import Target
from tlfeatures.model_selection.fit_warnings import collected
from tlfeatures.model_selection.folds import Folding, inner_folds
from tlfeatures.model_selection.head_fit import fit_head
from tlfeatures.model_selection.local_folds import starting_processes
from tlfeatures.model_selection.progress import ProgressCounter
from tlfeatures.model_selection.sums.trainer import SumsTrainer
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.model_selection.tuning import choose
from tlfeatures.models.card import check_card_target
from tlfeatures.models.fit_model import model_of
from tlfeatures.models.head_checks import check_head
from tlfeatures.models.model import Model
from tlfeatures.models.model_file import check_model_target
from tlfeatures.models.prediction_sets import PredictionSets
from tlfeatures.progress import Progress, shown_progress

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client

_FEW = 5  # images of each class, enough to check whether a fitted head can be saved


def fit(
    data: Data | Files,
    heads: Heads = "logreg",
    *,
    embedding: str | None = None,
    labels: Labels = None,
    groups: Groups = None,
    label_level: int | None = None,
    columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    cv: Folding | None = None,
    split: str = "auto",
    tune: bool = False,
    params: Mapping[str, Any] | None = None,
    scoring: str | Sequence[str] = (),
    at: str | None = None,
    positive: str | None = None,
    model: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    random_state: int | None = 0,
    scale_from: int = MANY_ROWS,
    cluster: str | Client | None = None,
    tls: TLS | None = None,
    command: str | None = None,
    progress: bool | Progress | None = None,
) -> FitResult:
    """Compare heads on one embedding, and save the best one, fitted on all images.

    This is `benchmark` with one embedding: scores, ranking and verdict are the same.

    Parameters
    ----------
    data : path, sequence of paths, or Dataset
        Embeddings file, written by `extract`, or several whose embeddings are joined, or a loaded
        dataset.
    heads : names, scikit-learn classifiers, or a mapping of name to either
        See `make_heads`; "all" means every head of `HEADS`.
    embedding, labels, groups, label_level, columns, near_duplicates, variants
        See `load_dataset`. They apply to a file, not to a dataset.
    cv, split
        See `cross_validate`.
    tune : bool
        Choose parameters by cross-validation inside each training fold (nested). The parameters of
        the saved head are chosen on all images.
    params : mapping, optional
        Parameters of the heads, see `make_heads`. Tuning does not change them.
    scoring : str or sequence of str
        Further scores, by scikit-learn's names. The first one ranks the heads; the default is
        accuracy.
    at : str, optional
        Target of an operating point for the class `positive`: `recall=0.95`, `precision=0.9`,
        `specificity=0.99`, or `cost=10:1`, the cost of a missed image to that of a false alarm. An
        image is then labelled with the class if its probability is at least a threshold, and
        otherwise with the most probable other class. The threshold is chosen on the out-of-fold
        predictions of the best head; see `tlfeatures.metrics.operating_points.choose_threshold`.
        The scores that rank the heads remain those of their own labels.
    positive : str, optional
        Class of the operating point.
    model : path, optional
        File for the best head, fitted again on all labelled images. Its model card is saved too.
    n_jobs : int or None
        Number of folds that are fitted at the same time. It does not change the results.
    random_state : int or None
        Seed of folds, heads and resamples.
    scale_from : int
        Number of training rows (images and their variants) from which the heads that are given by
        name have their forms for many rows, see `tlfeatures.heads.forms`; 20,000 by default. 0:
        always these forms; a number above that of the rows: the exact heads.
    cluster : str or distributed.Client, optional
        A Dask cluster whose workers fit the folds, instead of `n_jobs` processes: the address of
        a scheduler, "local" to start one on this machine, or a client. The saved head is fitted in
        this process, unless the workers read the shards of a sharded file, see `benchmark`.
    tls : TLS, optional
        Certificates, see `tlfeatures.features.cluster.connect.TLS`.
    command : str, optional
        The command line, stored with the results as information for people.
    progress : bool or callable of (done, total), optional
        Counts folds, the ranking, and the fit of the saved head. See `extract`.

    Returns
    -------
    FitResult

    Raises
    ------
    ClusterError
        If the scheduler can't be reached, the connection to it is lost, or its workers can't fit
        the folds.
    DatasetError
        See `load_dataset`; also if there is only one class, or a class has fewer images than there
        are folds.
    ParameterError
        If a head, parameter, score, split or class is unknown, no model can be written to this
        path, or no threshold reaches the target of `at`.

    Examples
    --------
    >>> result = fit("photos.h5", ["logreg", "knn"], model="photos.model")  # doctest: +SKIP
    >>> result.verdict[0]  # doctest: +SKIP
    'logreg, the best of 2 heads: accuracy 84.8 % (95 % interval 82.4 to 87.1 %) on new images ...'
    """
    named = checked_heads(heads, params)
    target = None if at is None else Target.parse(at)
    if model is not None:
        check_model_target(model)
        check_card_target(model)
    with starting_processes(n_jobs if cluster is None else 1):
        dataset = as_dataset(
            data,
            embedding=embedding,
            labels=labels,
            groups=groups,
            label_level=label_level,
            columns=columns,
            near_duplicates=near_duplicates,
            variants=variants,
            on_disk=may_be_sums(cluster, named, params, tune),
        )
        plan = Plan.of(
            dataset,
            named,
            params=params,
            tune=tune,
            scoring=scoring,
            cv=cv,
            split=split,
            repeats=1,
            random_state=random_state,
            many_rows=has_many_rows(TrainingRows.count(dataset), scale_from),
        )
        (dataset,), plan = place_rows([dataset], plan, cluster)
        check_point(dataset, plan.folds[0], target, positive)
        if model is not None:
            _check_savable(plan, dataset)
        store = open_store(plan, [dataset], labels, groups, command=command)
    with (
        shown_progress(progress, "fitting", "folds") as show,
        connect_if(cluster, tls) as connected,
    ):
        # The saved head is fitted on all images, which takes about as long as a fold.
        count = ProgressCounter(plan.count_folds(1) + RANKING + (model is not None), show)
        with open_trainer(
            dataset, plan, n_jobs=n_jobs, progress=count.add, cluster=connected
        ) as trainer:
            compute_entries(trainer, plan, store)
            result = ranked(plan, store, [dataset])
            count.add(RANKING)
            point = labels = None
            if target is not None and positive is not None:
                point, labels = point_of(result, dataset, target, positive)
            if model is None:
                count.finish()
                return FitResult(result, dataset, operating_point=point)
            name = result.comparison.ranking[0].head
            head = _chosen_on_all(trainer, plan, name)
            # The workers that read the shards must fit it while they are connected.
            of_sums = trainer.fit_on_all(name, head) if isinstance(trainer, SumsTrainer) else None
        facts = model_facts(result, dataset, head, point)
        fitted = _model(head, of_sums, trainer, name, facts)
        count.finish()
    fitted = replace(fitted, sets=_prediction_sets(result, labels))
    fitted.save(model)
    return FitResult(result, dataset, fitted, str(model), point)


def _check_savable(plan: Plan, data: Dataset) -> None:
    """Check that heads that are not in `HEADS` can be saved, with a few images of each class."""
    few = np.concatenate([np.flatnonzero(data.y == label)[:_FEW] for label in data.classes])
    for name, head in plan.classifiers().items():
        given = plan.heads[name]
        if isinstance(given, str) and given in HEADS:
            continue
        try:
            with collected(name):  # with so few images, warnings have no meaning
                fitted = fit_head(clone(head), data.X[few], data.y[few])
        except ParameterError:
            continue  # the head may need more images
        check_head(name, fitted)


def _chosen_on_all(trainer: Trainer, plan: Plan, name: str) -> BaseEstimator:
    """Create the head to save, not fitted. With tuning, choose its parameters on all images."""
    head, data = plan.classifiers()[name], trainer.data
    grid = plan.grid(name)
    if grid:
        folds = inner_folds(data.y, data.together, np.arange(len(data.y)), plan.random_state)
        (chosen,) = choose(trainer, {name: head}, {name: grid}, [folds], plan.scoring)
        set_tuned(head, chosen[name].params)
    return head


def _model(
    head: BaseEstimator,
    of_sums: BaseEstimator | None,
    trainer: Trainer,
    name: str,
    facts: dict[str, Any],
) -> Model:
    """Return the model of a head that is fitted here, or that was fitted from sums over rows."""
    if of_sums is None:
        return Model.fit(head, trainer.data, name=name, facts=facts, notices=trainer.notices)
    return Model(**vars(model_of(of_sums, trainer.data, name, facts)))


def _prediction_sets(result: Benchmark, labels: NDArray[np.int_] | None) -> PredictionSets | None:
    """Create prediction sets from the out-of-fold predictions of the best head.

    The label of an image is always in its set. So the sets need the labels that the model gives:
    with an operating point, these are its out-of-fold labels.
    """
    tested = result.predictions_of()
    if labels is not None:
        tested = replace(tested, predicted=labels)
    return PredictionSets.fit(tested, result.together_of())
