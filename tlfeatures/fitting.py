"""What the command `fit` does: load, cross-validate each head, refit the best, save it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sklearn.pipeline import Pipeline

from tlfeatures.dataset import Dataset, load_dataset
from tlfeatures.evaluate import Evaluation, cross_validate
from tlfeatures.features.spec import as_list
from tlfeatures.heads import make_heads
from tlfeatures.model import Model, check_model_target


@dataclass(frozen=True)
class HeadReport:
    """One head's cross-validation, and where its refit was saved, if it was."""

    head: str
    params: dict[str, Any]
    evaluation: Evaluation
    model: str | None = None


@dataclass(frozen=True)
class FitReport:
    """What `fit` did.

    Attributes
    ----------
    file, embedding : str
    weights : str
        Those of the backbone that made the embeddings.
    images : int
        Labelled images in the file.
    tested : int
        Of these, the images that a head was scored on.
    classes : list of str
    groups : int or None
        Number of groups that were kept together.
    split : str
        `cv`, or the split that was scored on.
    held_back : bool
        Whether there is a test split that was not looked at.
    scoring : str
        The score by which the heads are ranked.
    heads : list of HeadReport
        Best first.
    """

    file: str
    embedding: str
    weights: str
    images: int
    tested: int
    classes: list[str]
    groups: int | None
    split: str
    held_back: bool
    scoring: str
    heads: list[HeadReport]

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready plain data; fit_seconds is the mean over folds."""
        return {
            "file": self.file,
            "embedding": self.embedding,
            "weights": self.weights,
            "images": self.images,
            "tested": self.tested,
            "classes": self.classes,
            "groups": self.groups,
            "split": self.split,
            "heads": [
                {
                    "head": report.head,
                    "params": report.params,
                    "scores": report.evaluation.summary(),
                    "fit_seconds": float(report.evaluation.fit_seconds.mean()),
                    "model": report.model,
                }
                for report in self.heads
            ],
        }


def fit(
    file: str | os.PathLike[str],
    heads: str | Sequence[str] = "logreg",
    *,
    embedding: str | None = None,
    labels: str | os.PathLike[str] | Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    model: str | os.PathLike[str] | None = None,
    scoring: str | Sequence[str] = (),
    random_state: int | None = 0,
    **validation: Any,
) -> FitReport:
    """Cross-validate heads on an embeddings file, and save the best one fitted on all of it.

    Parameters
    ----------
    file : path
        Made by `extract`.
    heads : str or sequence of str
        Names of `HEADS`, or "all".
    embedding, labels
        See `load_dataset`.
    params : mapping, optional
        Parameters of the heads, see `make_heads`.
    model : path, optional
        Where the best head, fitted again on all labelled images, is saved.
    scoring : str or sequence of str
        Further scores, by scikit-learn's names; the first one ranks the heads, else accuracy.
    random_state : int or None
    **validation
        `cv`, `split` and `n_jobs`, see `cross_validate`.

    Returns
    -------
    FitReport
    """
    scoring = as_list(scoring)
    made = make_heads(heads, params, random_state=random_state)
    if model is not None:
        check_model_target(model)
    data = load_dataset(file, embedding, labels)
    evaluations = {
        name: cross_validate(head, data, scoring=scoring, random_state=random_state, **validation)
        for name, head in made.items()
    }
    ranking = scoring[0] if scoring else "accuracy"
    ranked = sorted(made, key=lambda name: _rank(evaluations[name], ranking), reverse=True)
    reports = [HeadReport(name, _plain_params(made[name]), evaluations[name]) for name in ranked]
    if model is not None:
        best = reports[0]
        facts = _facts(best, data)
        Model.fit(made[best.head], data, name=best.head, facts=facts).save(model)
        reports[0] = replace(best, model=str(model))
    return _report(data, reports, ranking)


def _report(data: Dataset, heads: list[HeadReport], scoring: str) -> FitReport:
    first = heads[0].evaluation
    return FitReport(
        file=data.file,
        embedding=data.embedding,
        weights=data.spec.weights,
        images=len(data.y),
        tested=int((first.fold >= 0).sum()),
        classes=data.classes,
        groups=_count_groups(data),
        split=first.split,
        held_back=first.split == "val" and data.split is not None and "test" in data.split,
        scoring=scoring,
        heads=heads,
    )


def _facts(report: HeadReport, data: Dataset) -> dict[str, Any]:
    """What the model file keeps of how its scores were reached."""
    return {
        "params": report.params,
        "split": report.evaluation.split,
        "folds": len(report.evaluation.fit_seconds),
        "groups": _count_groups(data),
        "tested": int((report.evaluation.fold >= 0).sum()),
        "scores": report.evaluation.summary(),
    }


def _count_groups(data: Dataset) -> int | None:
    return None if data.groups is None else len(set(data.groups.tolist()))


def _rank(evaluation: Evaluation, scoring: str) -> float:
    """Larger is better, and no number is worst; of our own scores only log loss is a loss."""
    mean = float(evaluation.scores[scoring].mean())
    if math.isnan(mean):
        return -math.inf
    return -mean if scoring == "log_loss" else mean


def _plain_params(head: Pipeline) -> dict[str, Any]:
    """The parameters of PCA and classifier, under the names that `--param` takes."""
    params: dict[str, Any] = {}
    for step, estimator in head.steps:
        if step in ("pca", "classifier"):
            params |= estimator.get_params(deep=False)
    return {name: value for name, value in params.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | dict)
