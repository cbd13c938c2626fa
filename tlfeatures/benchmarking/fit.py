"""Fitting heads: load, cross-validate, and save the best head, fitted again on all images."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from tlfeatures.benchmarking.fit_report import FitReport, HeadReport, count_groups, included_splits
from tlfeatures.benchmarking.rank import nothing_ranks
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import Similarity
from tlfeatures.dataset.load import load_dataset
from tlfeatures.errors import ParameterError
from tlfeatures.features.cluster.connect import TLS, connect_if
from tlfeatures.heads.coordinate_step import set_tuned
from tlfeatures.heads.parameters import plain_params
from tlfeatures.heads.table import HEADS, Grid, head_grid, make_heads
from tlfeatures.metrics.scores import SCORES, pooled_scores
from tlfeatures.model_selection.cross_validation import Evaluation, cross_validate_heads
from tlfeatures.model_selection.evaluation_scores import scores_with_intervals
from tlfeatures.model_selection.fit_warnings import collected
from tlfeatures.model_selection.folds import inner_folds
from tlfeatures.model_selection.head_fit import fit_head
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.model_selection.tuning import choose
from tlfeatures.models.card import check_card_target
from tlfeatures.models.head_checks import check_head
from tlfeatures.models.model import Model
from tlfeatures.models.model_file import check_model_target
from tlfeatures.names import as_list

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client

logger = logging.getLogger(__name__)
_FEW = 5  # images of a class


def fit(
    file: str | os.PathLike[str],
    heads: str | Sequence[str] = "logreg",
    *,
    embedding: str | None = None,
    labels: str | os.PathLike[str] | Mapping[str, str] | None = None,
    groups: str | os.PathLike[str] | None = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: Similarity = "auto",
    variants: int | None = None,
    params: Mapping[str, Any] | None = None,
    tune: bool = False,
    model: str | os.PathLike[str] | None = None,
    scoring: str | Sequence[str] = (),
    n_jobs: int | None = None,
    random_state: int | None = 0,
    cluster: str | Client | None = None,
    tls: TLS | None = None,
    command: str | None = None,
    **validation: Any,
) -> FitReport:
    """Cross-validate heads on an embeddings file, and save the best one fitted on all of it.

    Parameters
    ----------
    file : path
        Embeddings file, written by `extract`.
    heads : str or sequence of str
        See `make_head`, or "all".
    embedding, labels, groups, label_level, label_columns, near_duplicates, variants
        See `load_dataset`.
    params : mapping, optional
        Parameters of the heads, see `make_heads`.
    tune : bool
        Choose parameters inside each training fold, and for the saved head on all images.
    model : path, optional
        Save the best head, fitted again on all labelled images, to this file, with its card.
    scoring : str or sequence of str
        Further scores, by scikit-learn's names; the first one ranks, by default accuracy.
    n_jobs, random_state
        See `cross_validate_heads`.
    cluster : str or distributed.Client, optional
        Its workers fit the folds instead of `n_jobs` processes: the address of a Dask scheduler,
        "local" to start one on this machine, or a client. The saved head is
        fitted here.
    tls : TLS, optional
        Certificates, see `tlfeatures.features.cluster.connect.TLS`.
    command : str, optional
        The command line, for people to read.
    **validation
        `cv` and `split`, see `cross_validate_heads`.

    Returns
    -------
    FitReport

    Raises
    ------
    ClusterError
        If the scheduler can't be reached, or is lost, or its workers can't fit the folds.
    """
    scoring = as_list(scoring)
    classifiers = make_heads(heads, params, random_state=random_state)
    grids = {name: head_grid(name, params or ()) for name in classifiers} if tune else None
    if model is not None:
        check_model_target(model)
        check_card_target(model)
    sources: dict[str, Any] = {
        "labels": labels,
        "groups": groups,
        "near_duplicates": near_duplicates,
        "label_level": label_level,
        "label_columns": label_columns,
    }
    data = load_dataset(file, embedding, variants=variants, **sources)
    if model is not None:
        _check_savable(classifiers, data)
    validation |= {"grids": grids, "scoring": scoring, "random_state": random_state}
    ranking = scoring[0] if scoring else "accuracy"
    with (
        connect_if(cluster, tls) as connected,
        Trainer(data, n_jobs=n_jobs, cluster=connected) as trainer,
    ):
        evaluations = cross_validate_heads(classifiers, data, trainer=trainer, **validation)
        ranked = _ranked(evaluations, data, ranking)
        if model is not None and grids:
            _tune_on_all(trainer, classifiers, ranked[0], grids, scoring, random_state)
    reports = [
        _head_report(name, classifiers[name], evaluations[name], data, random_state)
        for name in ranked
    ]
    if model is not None:
        facts = _model_facts(reports[0], data, tune, len(reports))
        head, name = classifiers[ranked[0]], ranked[0]
        Model.fit(head, data, name=name, facts=facts, notices=trainer.notices).save(model)
        reports[0] = replace(reports[0], model=str(model))
    return FitReport(
        **_facts_of(data, reports[0].evaluation),
        tuned=tune,
        scoring=ranking,
        heads=reports,
        data=data,
        sources=sources,
        random_state=random_state,
        command=command,
    )


def _head_report(
    name: str, head: BaseEstimator, evaluation: Evaluation, data: Dataset, seed: int | None
) -> HeadReport:
    pooled = scores_with_intervals(evaluation, data, seed)
    return HeadReport(name, plain_params(head), evaluation, pooled)


def _check_savable(classifiers: Mapping[str, Any], data: Dataset) -> None:
    """Check with a few images of each class that heads from elsewhere can be saved."""
    few = np.concatenate([np.flatnonzero(data.y == label)[:_FEW] for label in data.classes])
    for name, head in classifiers.items():
        if name in HEADS:
            continue
        try:
            with collected(name):  # warnings about so few images say nothing about the head
                fitted = fit_head(clone(head), data.X[few], data.y[few])
        except ParameterError:
            continue  # the head may need more images than these
        check_head(name, fitted)


def _tune_on_all(
    trainer: Trainer,
    classifiers: Mapping[str, Any],
    name: str,
    grids: Mapping[str, Grid],
    scoring: Sequence[str],
    seed: int | None,
) -> None:
    """Choose parameters of the saved head on all images, in the same way as in every fold."""
    data = trainer.data
    folds = inner_folds(data.y, data.together, np.arange(len(data.y)), seed)
    (chosen,) = choose(trainer, {name: classifiers[name]}, grids, [folds], scoring)
    if name in chosen:
        set_tuned(classifiers[name], chosen[name].params)


def _facts_of(data: Dataset, first: Evaluation) -> dict[str, Any]:
    """Return facts of the images, and of the split that heads were scored on."""
    return {
        "file": data.file,
        "embedding": data.embedding,
        "weights": data.spec.weights,
        "variants": data.n_variants,
        "images": len(data.y),
        "tested": int((first.fold >= 0).sum()),
        "classes": data.classes,
        "groups": count_groups(data),
        "copies": len(data.copies),
        "split": first.split,
        "held_back": first.split == "val" and "test" in included_splits(data, first.split),
    }


def _model_facts(report: HeadReport, data: Dataset, tuned: bool, compared: int) -> dict[str, Any]:
    """Return facts for the model file about how its scores were measured."""
    return {
        "params": report.params,
        "tuned": tuned,
        "split": report.evaluation.split,
        "folds": len(report.evaluation.fit_seconds),
        "groups": count_groups(data),
        "copies": len(data.copies),
        "compared": compared,
        "included": included_splits(data, report.evaluation.split),
        "tested": int((report.evaluation.fold >= 0).sum()),
        "scores": report.scores(),
    }


def _ranked(evaluations: Mapping[str, Evaluation], data: Dataset, scoring: str) -> list[str]:
    """Return the names of the heads, the best first.

    They are ranked by the mean over folds. If a fold lacks a class, some scores have no mean; then
    all heads are ranked by the score of the pooled out-of-fold predictions.
    """
    means = {name: float(own.scores[scoring].mean()) for name, own in evaluations.items()}
    if scoring in SCORES and any(map(math.isnan, means.values())):
        logger.warning(
            "%s is not defined in every fold: the score of all out-of-fold predictions together "
            "ranks the heads",
            scoring,
        )
        means = {name: _pooled(own, data, scoring) for name, own in evaluations.items()}
    if all(map(math.isnan, means.values())):
        raise nothing_ranks(scoring, (own.reasons.get(scoring) for own in evaluations.values()))
    sign = (
        -1 if scoring == "log_loss" else 1
    )  # of our own scores, only log loss is better if smaller
    ranks = {name: -math.inf if math.isnan(x) else sign * x for name, x in means.items()}
    return sorted(ranks, key=lambda name: ranks[name], reverse=True)


def _pooled(evaluation: Evaluation, data: Dataset, scoring: str) -> float:
    tested = evaluation.fold >= 0
    codes = np.searchsorted(data.classes, data.y[tested])
    predicted, table = evaluation.predicted[tested], evaluation.probabilities[tested]
    return float(pooled_scores(codes, predicted, table, np.ones((len(codes), 1)))[scoring][0])
