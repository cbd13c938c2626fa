"""What the command `fit` does: load, cross-validate each head, refit the best, save it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from tlfeatures.benchmarking.rank import compare, nothing_ranks
from tlfeatures.benchmarking.run import Benchmark
from tlfeatures.benchmarking.store import (
    Entry,
    Study,
    entry_facts,
    entry_of,
    fingerprint,
    sources_of,
)
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.duplicates import NEAR_DUPLICATE
from tlfeatures.dataset.load import load_dataset
from tlfeatures.dataset.stratified_folds import folds_of
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
from tlfeatures.model_selection.head_fit import fit_head as fit_head
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.model_selection.tuning import choose
from tlfeatures.models.card import check_card_target
from tlfeatures.models.model import Model
from tlfeatures.models.model_file import check_head, check_model_target
from tlfeatures.names import as_list

if TYPE_CHECKING:
    from tlfeatures.features.cluster.client import Client

logger = logging.getLogger(__name__)

_FEW = 5  # images of a class


@dataclass(frozen=True)
class HeadReport:
    """One head's cross-validation, and where its refit was saved, if it was.

    Attributes
    ----------
    head : str
    params : dict
        Those of the saved head, where it was tuned on all images; else those it began with.
    evaluation : Evaluation
    pooled : dict of name to {"score", "interval", "reason"}
        Scores of all tested images together, see `scores_with_intervals`.
    model : str or None
        The model file.
    """

    head: str
    params: dict[str, Any]
    evaluation: Evaluation
    pooled: dict[str, dict[str, Any]]
    model: str | None = None

    @property
    def intervals(self) -> dict[str, list[float] | None]:
        """The 95 % interval of each pooled score; None where it has none."""
        return {name: row["interval"] for name, row in self.pooled.items()}

    def scores(self) -> dict[str, dict[str, Any]]:
        """Give each score's mean, deviation and folds, and the interval of the pooled score.

        `reason` says in words why the mean is None, else why the interval is.
        """
        return {
            name: {
                **summary,
                "interval": self.pooled[name]["interval"],
                "reason": summary["reason"] or self.pooled[name]["reason"],
            }
            for name, summary in self.evaluation.summary().items()
        }


@dataclass(frozen=True)
class FitReport:
    """What `fit` did.

    Attributes
    ----------
    file, embedding : str
    weights : str
        Those of the backbone that made the embeddings.
    variants : int
        Of each training image, that the heads were fitted on, too.
    images : int
        Labelled images in the file.
    tested : int
        Of these, the images that a head was scored on.
    classes : list of str
    groups : int or None
        Number of groups that were kept together.
    copies : int
        Pairs of images that are the same, or nearly, and were kept together.
    tuned : bool
    split : str
        `cv`, or the split that was scored on.
    held_back : bool
        Whether there is a test split that was not looked at.
    scoring : str
        The score by which the heads are ranked.
    heads : list of HeadReport
        Best first.
    data : Dataset
    sources : dict
        What it was loaded with: labels, groups, near_duplicates, label_level, label_columns.
    random_state : int or None
    command : str or None
        The command line that asked for it.
    """

    file: str
    embedding: str
    weights: str
    variants: int
    images: int
    tested: int
    classes: list[str]
    groups: int | None
    copies: int
    tuned: bool
    split: str
    held_back: bool
    scoring: str
    heads: list[HeadReport]
    data: Dataset = field(repr=False)
    sources: dict[str, Any] = field(repr=False)
    random_state: int | None
    command: str | None

    @property
    def included(self) -> list[str]:
        """Splits beside train that the saved head is fitted on, where there is a given split."""
        return _included(self.data, self.split)

    @property
    def tested_classes(self) -> int:
        """Number of classes that have tested images."""
        return len(np.unique(self.data.y[self.heads[0].evaluation.fold >= 0]))

    def as_benchmark(self) -> Benchmark:
        """Give it as a benchmark of one embedding, of which a page can be made."""
        folds = folds_of(self.heads[0].evaluation.fold)
        seed, sources = self.random_state, sources_of([self.file], **self.sources)
        study = Study.of(self.data, self.split, folds, seed, sources)
        matrix = fingerprint(self.data)
        entries = [_entry(report, self.data, matrix) for report in self.heads]
        comparison = compare(entries, study, self.scoring, seed)
        commands = [] if self.command is None else [self.command]
        return Benchmark(study, entries, comparison, len(entries), None, commands)

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data; fit_seconds is the mean over folds."""
        return {
            "file": self.file,
            "embedding": self.embedding,
            "weights": self.weights,
            "variants": self.variants,
            "images": self.images,
            "tested": self.tested,
            "classes": self.classes,
            "groups": self.groups,
            "copies": self.copies,
            "tuned": self.tuned,
            "split": self.split,
            "heads": [
                {
                    "head": report.head,
                    "params": report.params,
                    "chosen": [dict(choice.params) for choice in report.evaluation.choices],
                    "scores": report.scores(),
                    "fit_seconds": float(report.evaluation.fit_seconds.mean()),
                    "model": report.model,
                }
                for report in self.heads
            ],
        }


def _entry(report: HeadReport, data: Dataset, matrix: str) -> Entry:
    facts = entry_facts(
        data,
        matrix,
        head=report.head,
        repeat=0,
        tuned=bool(report.evaluation.choices),
        params=report.params,
        key=report.head,
    )
    return entry_of(report.evaluation, facts)


def fit(
    file: str | os.PathLike[str],
    heads: str | Sequence[str] = "logreg",
    *,
    embedding: str | None = None,
    labels: str | os.PathLike[str] | Mapping[str, str] | None = None,
    groups: str | os.PathLike[str] | None = None,
    label_level: int | None = None,
    label_columns: Mapping[str, str] | None = None,
    near_duplicates: float | None = NEAR_DUPLICATE,
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
        "groups": _count_groups(data),
        "copies": len(data.copies),
        "split": first.split,
        "held_back": first.split == "val" and "test" in _included(data, first.split),
    }


def _included(data: Dataset, split: str) -> list[str]:
    """Splits that the saved head has seen, and the one that was scored has not."""
    if split == "cv" or data.split is None:
        return []
    return [name for name in ("val", "test") if name in data.split]


def _facts(report: HeadReport, data: Dataset, tuned: bool, compared: int) -> dict[str, Any]:
    """What the model file keeps of how its scores were reached."""
    return {
        "params": report.params,
        "tuned": tuned,
        "split": report.evaluation.split,
        "folds": len(report.evaluation.fit_seconds),
        "groups": _count_groups(data),
        "copies": len(data.copies),
        "compared": compared,
        "included": _included(data, report.evaluation.split),
        "tested": int((report.evaluation.fold >= 0).sum()),
        "scores": report.scores(),
    }


def _count_groups(data: Dataset) -> int | None:
    return None if data.groups is None else len(set(data.groups.tolist()))


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
