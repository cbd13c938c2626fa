"""The result of a fit: a benchmark of one embedding, and the saved model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator

from tlfeatures.benchmarking.benchmark_result import Benchmark
from tlfeatures.benchmarking.comparison import Rank
from tlfeatures.benchmarking.control import MODEL_FACTS
from tlfeatures.benchmarking.ranking_html import ranking_parts
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.heads.forms import form_sentence
from tlfeatures.heads.parameters import plain_params
from tlfeatures.html_tables import facts_html, result_html, text_html
from tlfeatures.models.model import Model
from tlfeatures.models.operating_point import OperatingPoint
from tlfeatures.models.probabilities import Probabilities
from tlfeatures.names import counted

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class FitResult:
    """The result of `fit`.

    Attributes
    ----------
    benchmark : Benchmark
        The heads with their scores and out-of-fold predictions.
    data : Dataset
        The labelled images that the heads were fitted on.
    model : Model or None
        The best head, fitted again on all images; None if it was not saved.
    model_file : str or None
        Path of the saved model.
    operating_point : OperatingPoint or None
        Threshold that gives the labels of the saved model, and its scores; None without `at`.
    """

    benchmark: Benchmark
    data: Dataset = field(repr=False)
    model: Model | None = None
    model_file: str | None = None
    operating_point: OperatingPoint | None = None

    def __repr__(self) -> str:
        """Describe it in one line; the arrays would fill the screen."""
        saved = "no model saved" if self.model_file is None else f"model {self.model_file}"
        return f"<FitResult: {self.benchmark.comparison!r}, {saved}>"

    def _repr_html_(self) -> str:
        """Show the verdict, the ranking and the file of the model in a notebook."""
        facts = {
            "saved model": self.model_file or "none",
            "embedding": self.data.embedding,
            "file": self.data.file,
        }
        about = f"{counted(len(self.data), 'image')}, {counted(len(self.ranking), 'head')}"
        parts = [
            *ranking_parts(self.benchmark.comparison),
            *map(text_html, self.point_sentences),
        ]
        return result_html("FitResult", *parts, facts_html(facts), about=about)

    def to_frame(self) -> DataFrame:
        """Return the ranking as a data frame, see `Benchmark.to_frame`. It needs pandas."""
        return self.benchmark.to_frame()

    @property
    def ranking(self) -> list[Rank]:
        """The heads with their scores, best first."""
        return self.benchmark.comparison.ranking

    @property
    def verdict(self) -> list[str]:
        """The conclusions from the scores, in sentences."""
        return self.benchmark.comparison.verdict

    @property
    def point_sentences(self) -> list[str]:
        """The operating point in sentences; empty if there is none."""
        point = self.operating_point
        return [] if point is None else point.sentences(self.data.classes)

    @cached_property
    def probabilities(self) -> Probabilities | None:
        """How the probabilities of the best head are calibrated; None if it gives none."""
        saved_on = None if self.model is None else len(self.data)
        return self.benchmark.probabilities_of(saved_on=saved_on)

    @property
    def included(self) -> list[str]:
        """Names of the splits, in addition to train, that the saved head is fitted on."""
        return included_splits(self.data, self.benchmark.study.facts["split"])

    @property
    def tested_classes(self) -> int:
        """Number of classes that have tested images."""
        return len(np.unique(self.data.y[self.benchmark.entries[0].fold >= 0]))

    @property
    def test_split_unused(self) -> bool:
        """Whether the heads were scored on the val split although there is a test split."""
        return self.benchmark.study.facts["split"] == "val" and "test" in self.included

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data. `fit_seconds` is the mean over folds."""
        study, comparison = self.benchmark.study.facts, self.benchmark.comparison
        point = self.operating_point
        groups = comparison.group_scores
        names = ("weights", "images", "tested", "classes", "groups", "copies", "split")
        return {
            "file": self.data.file,
            "embedding": self.data.embedding,
            "variants": self.data.n_variants,
            **{name: study[name] for name in names},
            "tuned": any(rank.tuned for rank in self.ranking),
            "scoring": comparison.scoring,
            "chosen": {name: asdict(score) for name, score in comparison.chosen.items()},
            "verdict": comparison.verdict,
            "controls": [asdict(control) for control in comparison.controls],
            "operating_point": None if point is None else point.to_dict(),
            "group_scores": None if groups is None else asdict(groups),
            "probabilities": None if self.probabilities is None else self.probabilities.to_dict(),
            "heads": [self._head(rank) for rank in self.ranking],
        }

    def _head(self, rank: Rank) -> dict[str, Any]:
        (entry,) = self.benchmark.entries_of(rank)
        saved = rank is self.ranking[0] and self.model is not None
        return {
            "head": rank.head,
            "params": self.model.info["params"] if saved and self.model else rank.params,
            "chosen": entry.facts["chosen"],
            "scores": rank.scores,
            "standing": rank.standing,
            "difference": rank.difference,
            "p": rank.p,
            "fit_seconds": rank.fit_seconds,
            "model": self.model_file if saved else None,
        }


def model_facts(
    result: Benchmark,
    data: Dataset,
    head: BaseEstimator,
    point: OperatingPoint | None = None,
) -> dict[str, Any]:
    """Return facts for the model file: parameters, folds, scores and verdict of the saved head.

    `chosen` has its scores corrected for having been chosen as the best.

    Parameters
    ----------
    result : Benchmark
        The comparison whose best head is saved.
    data : Dataset
    head : scikit-learn classifier
        The head to save; its parameters may have been tuned on all images.
    point : OperatingPoint, optional
        Operating point of the head.
    """
    study, comparison = result.study.facts, result.comparison
    first = comparison.ranking[0]
    form = form_sentence({first.head: (first.classifier, first.params)})
    probabilities = result.probabilities_of(saved_on=len(data))
    return {
        "params": plain_params(head),
        **({} if form is None else {"form": form}),
        "tuned": first.tuned,
        "compared": len(comparison.ranking),
        "included": included_splits(data, study["split"]),
        **{name: study[name] for name in ("split", "folds", "groups", "copies", "tested")},
        "scores": first.scores,
        "chosen": {name: asdict(score) for name, score in comparison.chosen.items()},
        "verdict": comparison.verdict,
        "controls": [
            {name: getattr(control, name) for name in MODEL_FACTS}
            for control in comparison.controls
        ],
        **({} if point is None else {"operating_point": point.to_dict()}),
        "probabilities": None if probabilities is None else probabilities.to_dict(),
    }


def included_splits(data: Dataset, split: str) -> list[str]:
    """Return the names of the splits, in addition to train, that the saved head is fitted on."""
    if split == "cv" or data.split is None:
        return []
    return [name for name in ("val", "test") if name in data.split]
