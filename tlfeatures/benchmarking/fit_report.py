"""The result of a fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tlfeatures.benchmarking.benchmark import Benchmark
from tlfeatures.benchmarking.digests import fingerprint
from tlfeatures.benchmarking.entries import Entry, entry_facts, entry_of
from tlfeatures.benchmarking.rank import compare
from tlfeatures.benchmarking.study import Study, sources_of
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.stratified_folds import folds_of
from tlfeatures.model_selection.cross_validation import Evaluation


@dataclass(frozen=True)
class HeadReport:
    """The cross-validation of one head, and the file that it was saved to.

    Attributes
    ----------
    head : str
    params : dict
        Parameters; for the saved head those of tuning on all images, if it was tuned.
    evaluation : Evaluation
    pooled : dict of name to {"score", "interval", "reason"}
        Scores of all tested images together, see `scores_with_intervals`.
    model : str or None
        The model file, if the head was saved.
    """

    head: str
    params: dict[str, Any]
    evaluation: Evaluation
    pooled: dict[str, dict[str, Any]]
    model: str | None = None

    @property
    def intervals(self) -> dict[str, list[float] | None]:
        """The 95 % interval of each pooled score, or None."""
        return {name: row["interval"] for name, row in self.pooled.items()}

    def scores(self) -> dict[str, dict[str, Any]]:
        """Return mean, deviation and fold values of each score, and the pooled score's interval.

        `reason` explains why the mean is None, or else why the interval is None.
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
    """The result of `fit`.

    Attributes
    ----------
    file, embedding : str
    weights : str
        Weights of the backbone that computed the embeddings.
    variants : int
        Number of variants of each training image that the heads were fitted on, too.
    images : int
        Number of labelled images in the file.
    tested : int
        Number of images that a head was scored on.
    classes : list of str
    groups : int or None
        Number of groups that were kept together.
    copies : int
        Number of pairs of (nearly) identical images, which were kept together.
    tuned : bool
    split : str
        `cv`, or the split that heads were scored on.
    held_back : bool
        Whether there is a test split that was not used.
    scoring : str
        The score by which the heads are ranked.
    heads : list of HeadReport
        Best first.
    data : Dataset
    sources : dict
        Arguments of `load_dataset`: labels, groups, near_duplicates, label_level, label_columns.
    random_state : int or None
    command : str or None
        The command line, for people to read.
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
        """Given splits, in addition to train, that the saved head is fitted on."""
        return included_splits(self.data, self.split)

    @property
    def tested_classes(self) -> int:
        """Number of classes that have tested images."""
        return len(np.unique(self.data.y[self.heads[0].evaluation.fold >= 0]))

    def as_benchmark(self) -> Benchmark:
        """Return it as a benchmark of one embedding, for a page."""
        folds = folds_of(self.heads[0].evaluation.fold)
        seed, given = self.random_state, ("labels", "groups", "near_duplicates")
        sources = sources_of([self.data], *(self.sources[name] for name in given))
        study = Study.of(self.data, self.split, folds, seed, sources)
        matrix = fingerprint(self.data)
        entries = [_entry(report, self.data, matrix) for report in self.heads]
        comparison = compare(entries, study, self.scoring, seed)
        commands = [] if self.command is None else [self.command]
        return Benchmark(study, entries, comparison, len(entries), None, commands)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data; fit_seconds is the mean over folds."""
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


def included_splits(data: Dataset, split: str) -> list[str]:
    """Return the splits, in addition to train, that the saved head is fitted on."""
    if split == "cv" or data.split is None:
        return []
    return [name for name in ("val", "test") if name in data.split]


def count_groups(data: Dataset) -> int | None:
    """Return the number of given groups; None if there are none."""
    return None if data.groups is None else len(set(data.groups.tolist()))
