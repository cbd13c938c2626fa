"""What the command `fit` does: load, cross-validate each head, refit the best, save it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

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
from tlfeatures.models.model import Model
from tlfeatures.models.model_file import check_head, check_model_target
from tlfeatures.names import as_list

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client
from tlfeatures.benchmarking.fit_report import FitReport, HeadReport, count_groups, included_splits

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
        Made by `extract`.
    heads : str or sequence of str
        See `make_head`, or "all".
    embedding, labels, groups, label_level, label_columns, near_duplicates, variants
        See `load_dataset`.
    params : mapping, optional
        Parameters of the heads, see `make_heads`.
    tune : bool
        Choose parameters inside each training fold, and for the saved head on all images.
    model : path, optional
        Where the best head, fitted again on all labelled images, is saved, with its card beside.
    scoring : str or sequence of str
        Further scores, by scikit-learn's names; the first one ranks the heads, else accuracy.
    n_jobs, random_state
        See `cross_validate_heads`.
    cluster : str or distributed.Client, optional
        Whose workers do the folds, in place of `n_jobs`: the address of a scheduler of Dask,
        "local" for one that is started on this machine, or a client. The saved head is
        fitted here.
    tls : TLS, optional
        Certificates, see `tlfeatures.features.cluster.connect.TLS`.
    command : str, optional
        The command line that asks for it, to be read by people.
    **validation
        `cv` and `split`, see `cross_validate_heads`.

    Returns
    -------
    FitReport

    Raises
    ------
    ClusterError
        If the scheduler can't be reached, or is gone, or its workers can't do the folds.
    """
    scoring = as_list(scoring)
    made = make_heads(heads, params, random_state=random_state)
    grids = {name: head_grid(name, params or ()) for name in made} if tune else None
    if model is not None:
        check_model_target(model)
        check_card_target(model)
    data = load_dataset(
        file,
        embedding,
        labels,
        groups=groups,
        label_level=label_level,
        label_columns=label_columns,
        near_duplicates=near_duplicates,
        variants=variants,
    )
    if model is not None:
        _check_heads(made, data)
    with (
        connect_if(cluster, tls) as connected,
        Trainer(data, n_jobs=n_jobs, cluster=connected) as trainer,
    ):
        evaluations = cross_validate_heads(
            made,
            data,
            grids=grids,
            scoring=scoring,
            random_state=random_state,
            trainer=trainer,
            **validation,
        )
        ranking = scoring[0] if scoring else "accuracy"
        ranked = _ranked(evaluations, data, ranking)
        if model is not None and grids:
            _tune_on_all(trainer, made, ranked[0], grids, scoring, random_state)
    reports = [
        HeadReport(
            name,
            plain_params(made[name]),
            evaluations[name],
            scores_with_intervals(evaluations[name], data, random_state),
        )
        for name in ranked
    ]
    if model is not None:
        best = reports[0]
        facts = _facts(best, data, tune, len(reports))
        fitted = Model.fit(
            made[best.head], data, name=best.head, facts=facts, notices=trainer.notices
        )
        fitted.save(model)
        reports[0] = replace(best, model=str(model))
    return FitReport(
        **_facts_of(data, reports[0].evaluation),
        tuned=tune,
        scoring=ranking,
        heads=reports,
        data=data,
        sources={
            "labels": labels,
            "groups": groups,
            "near_duplicates": near_duplicates,
            "label_level": label_level,
            "label_columns": label_columns,
        },
        random_state=random_state,
        command=command,
    )


def _check_heads(made: Mapping[str, Any], data: Dataset) -> None:
    """Try on a few images of each class whether heads from elsewhere could be saved."""
    few = np.concatenate([np.flatnonzero(data.y == label)[:_FEW] for label in data.classes])
    for name, head in made.items():
        if name in HEADS:
            continue
        try:
            with collected(name):  # what is said of so few images is no news of the head
                tried = fit_head(clone(head), data.X[few], data.y[few])
        except ParameterError:
            continue  # few images may be too few for it
        check_head(name, tried)


def _tune_on_all(
    trainer: Trainer,
    made: Mapping[str, Any],
    name: str,
    grids: Mapping[str, Grid],
    scoring: Sequence[str],
    seed: int | None,
) -> None:
    """Choose the parameters of the head that is saved as those of every fold were chosen."""
    data = trainer.data
    folds = inner_folds(data.y, data.together, np.arange(len(data.y)), seed)
    (chosen,) = choose(trainer, {name: made[name]}, grids, [folds], scoring)
    if name in chosen:
        set_tuned(made[name], chosen[name].params)


def _facts_of(data: Dataset, first: Evaluation) -> dict[str, Any]:
    """What was scored, on which images."""
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


def _facts(report: HeadReport, data: Dataset, tuned: bool, compared: int) -> dict[str, Any]:
    """What the model file keeps of how its scores were reached."""
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
    """Name the heads, the best first.

    The mean over folds ranks them. Where a fold lacks a class, some scores have no mean: then the
    score of the pooled out-of-fold predictions ranks all heads.
    """
    means = {name: float(each.scores[scoring].mean()) for name, each in evaluations.items()}
    if scoring in SCORES and any(map(math.isnan, means.values())):
        logger.warning(
            "%s is not defined in every fold: the score of all out-of-fold predictions together "
            "ranks the heads",
            scoring,
        )
        means = {name: _pooled(each, data, scoring) for name, each in evaluations.items()}
    if all(map(math.isnan, means.values())):
        raise nothing_ranks(scoring, (each.reasons.get(scoring) for each in evaluations.values()))
    sign = -1 if scoring == "log_loss" else 1  # of our own scores only log loss is a loss
    ranks = {name: -math.inf if math.isnan(x) else sign * x for name, x in means.items()}
    return sorted(ranks, key=lambda name: ranks[name], reverse=True)


def _pooled(evaluation: Evaluation, data: Dataset, scoring: str) -> float:
    tested = evaluation.fold >= 0
    codes = np.searchsorted(data.classes, data.y[tested])
    predicted, table = evaluation.predicted[tested], evaluation.probabilities[tested]
    return float(pooled_scores(codes, predicted, table, np.ones((len(codes), 1)))[scoring][0])
