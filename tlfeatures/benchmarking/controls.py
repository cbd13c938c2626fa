"""The controls of a benchmark: simple rules that a good head must beat, on the same folds.

Each control is tested on the folds of the first repeat, as the heads are. Its training rows are
those of the heads, so that groups and copies are on one side of each fold. A control is beaten if
the best head is surely better on the same images: the 95 % interval of the difference, by a paired
bootstrap over images or whole groups, lies above what the best head gains from having been chosen.
With fewer than ten images or groups, it is unknown.
The difference is that of the score that ranks the heads if it is one of `LABEL_SCORES`,
else that of the accuracy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.benchmarking.compute import FIT_VERSION
from tlfeatures.benchmarking.control import COLOURS, FILE, LARGEST, PERMUTED, Control
from tlfeatures.benchmarking.digests import versions
from tlfeatures.benchmarking.entries import Entry
from tlfeatures.benchmarking.plan import Plan
from tlfeatures.benchmarking.property_heads import (
    colour_columns,
    colour_head,
    file_columns,
    file_head,
    out_of_fold,
)
from tlfeatures.benchmarking.shortcut import told_apart
from tlfeatures.benchmarking.store.store import ResultStore
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.rows import in_memory
from tlfeatures.dataset.samples import MOST_IMAGES, folds_among, sampled_rows
from tlfeatures.dataset.stratified_folds import Fold
from tlfeatures.errors import ParameterError
from tlfeatures.heads.make_heads import make_heads
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.group_scores import FEWEST_GROUPS
from tlfeatures.metrics.intervals import percentile_levels
from tlfeatures.metrics.scores import LABEL_SCORES
from tlfeatures.model_selection.fold_work import Task, fit_and_score
from tlfeatures.model_selection.trainer import Trainer
from tlfeatures.names import sample_words

CONTROLS_VERSION = 3  # increase it when the code of this module gives other numbers
_UNKNOWN_SHARE = 0.05  # largest share of images whose properties may be unknown

# Heads that are fitted on permuted labels if they are the best. Others would take too long, and
# logistic regression is fitted in their place. With an SVM, whose probabilities need fits of their
# own, the controls would take 14 % of the time of all heads on 1,078 images instead of 8 %.
_QUICK = ("logreg", "knn", "centroid", "ridge", "lda")


class _NotComputedError(Exception):
    """Its text says why a control can't be computed."""


def compute_controls(
    comparison: Comparison, plan: Plan, store: ResultStore, datasets: Sequence[Dataset]
) -> list[Control]:
    """Compute the controls of a benchmark, or take them from its folder if nothing has changed.

    Parameters
    ----------
    comparison : Comparison
        The ranking, without controls and verdict.
    plan : Plan
        Folds and scorer of the first repeat.
    store : ResultStore
        Entries and earlier controls.
    datasets : sequence of Dataset
        All datasets of this run. They have the same images.
    """
    entries = {entry.facts["key"]: entry for entry in store.entries}
    best = entries[comparison.ranking[0].keys[0]]
    bench = _Bench(comparison, plan, best, store.study.facts["study"], datasets)
    earlier = {control.name: control for control in store.controls}
    computed = (bench.control(name, earlier.get(name)) for name in (COLOURS, FILE, PERMUTED))
    return [_largest_class(comparison, plan.scorer), *computed]


def _largest_class(comparison: Comparison, scorer: BootstrapScorer) -> Control:
    largest, first = comparison.largest_class, comparison.ranking[0]
    is_known = comparison.interval_of(first, "accuracy") is not None
    return Control(
        LARGEST,
        f"that most images are of {largest.label}",
        score=largest.share,
        balanced_accuracy=1 / len(np.unique(scorer.codes)),
        images=len(scorer.codes),
        beaten=comparison.is_surely_better(first) if is_known else None,
    )


@dataclass(frozen=True)
class _Bench:
    """What the controls of a benchmark have in common: images, folds and the best head."""

    comparison: Comparison
    plan: Plan
    best: Entry
    study: str
    datasets: Sequence[Dataset]

    def control(self, name: str, earlier: Control | None) -> Control:
        """Compute a control, or return the earlier one of the same inputs.

        The earlier one is also returned if this run doesn't have the inputs, but an earlier run of
        the same images did.
        """
        own = Control(name, _ABOUT[name], head=self.best.facts["key"])
        known = earlier is not None and earlier.head == own.head and earlier.score is not None
        try:
            own = replace(own, key=self._key(name, _INPUTS[name](self)))
            if known and earlier is not None and earlier.key == own.key:
                return earlier
            return _COMPUTE[name](self, own)
        except _NotComputedError as reason:
            if known and earlier is not None:
                return earlier
            return replace(own, reason=str(reason))

    def _key(self, name: str, inputs: Sequence[Any]) -> str:
        settings = [CONTROLS_VERSION, FIT_VERSION, MOST_IMAGES, self.plan.random_state]
        parts = [name, *inputs, self.study, self.metric, self.optimism, *settings, versions()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @property
    def metric(self) -> str:
        """The score by which the controls are compared with the best head."""
        scoring = self.comparison.scoring
        return scoring if scoring in LABEL_SCORES else "accuracy"

    @property
    def optimism(self) -> float:
        """How much the best head's score gains from having been chosen."""
        corrected = self.comparison.corrected(self.metric)
        return 0 if corrected is None else corrected.optimism or 0

    # ---- images and folds

    @cached_property
    def rows(self) -> NDArray[np.int_]:
        """The images of the controls: all, or of very many a sample."""
        data = self.datasets[0]
        return sampled_rows(data.y, data.together, MOST_IMAGES, self.plan.random_state)

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds of the first repeat, as positions in `rows`.

        Raises
        ------
        _NotComputedError
            If a sample has no fold with training and tested images.
        """
        kept = folds_among(self.rows, self.plan.folds[0])
        folds = [(train, test) for train, test in kept if len(train) and len(test)]
        if not folds:
            sample = sample_words(len(self.rows), len(self.datasets[0]))
            raise _NotComputedError(f"{sample} has no fold with training and tested images")
        return folds

    @cached_property
    def data(self) -> Dataset:
        """The images of the controls, with the properties that any dataset has."""
        with_properties = [data for data in self.datasets if data.properties is not None]
        data = (with_properties or list(self.datasets))[0]
        return replace(data, variants=None, looks=None).take(self.rows)

    @cached_property
    def codes(self) -> NDArray[np.int_]:
        """Class codes of the images, of all classes of the benchmark."""
        return np.searchsorted(self.plan.scorer.classes, self.data.y)

    @cached_property
    def scorer(self) -> BootstrapScorer:
        whole = self.plan.scorer
        if len(self.rows) == len(self.datasets[0]):
            return whole
        tested, data = whole.tested[self.rows], self.data
        return BootstrapScorer.of(
            data.y,
            data.together,
            tested,
            whole.classes,
            self.plan.random_state,
            groups=data.groups,
        )

    @cached_property
    def properties(self) -> NDArray[np.float32]:
        """The properties of the images.

        Raises
        ------
        _NotComputedError
            If they are unknown.
        """
        properties = self.data.properties
        if properties is None:
            raise _NotComputedError(_without_properties(self.datasets[0]))
        unknown = np.isnan(properties).all(axis=1).mean()
        if unknown > _UNKNOWN_SHARE:
            raise _NotComputedError(
                f"the properties of {100 * unknown:.0f} % of the images are unknown"
            )
        return properties

    # ---- scores

    def scored(
        self, control: Control, predicted: NDArray[np.int_], codes: NDArray[np.int_] | None = None
    ) -> Control:
        """Add the scores of predictions, and whether the best head is surely better.

        Parameters
        ----------
        control : Control
        predicted : ndarray of shape (m,), int
            Predicted class codes of all images of the controls.
        codes : ndarray of shape (tested,), int, optional
            Codes that would be right, of the tested images; by default those of their labels.
        """
        scorer = self.scorer if codes is None else replace(self.scorer, codes=codes)
        own = [self._without_probabilities(predicted)]
        resampled = scorer.resampled(own, names=[self.metric])[self.metric]
        difference = self.best_resampled - resampled
        low = np.nanquantile(difference, percentile_levels(scorer.units)[0]) - self.optimism
        scores = scorer.score(own)
        return replace(
            control,
            score=scores["accuracy"]["score"],
            interval=scores["accuracy"]["interval"],
            balanced_accuracy=scores["balanced_accuracy"]["score"],
            images=len(scorer.codes),
            beaten=bool(low > 0) if scorer.units >= FEWEST_GROUPS else None,
        )

    @cached_property
    def best_resampled(self) -> NDArray[np.float64]:
        """The score of the best head in each resample of the tested images, of shape (B,)."""
        head = [self._without_probabilities(self.best.predicted[self.rows])]
        return self.scorer.resampled(head, names=[self.metric])[self.metric]

    def _without_probabilities(self, predicted: NDArray[np.int_]) -> HeadPredictions:
        """Return predictions whose labels alone are scored, which is faster."""
        table = np.full((len(predicted), len(self.scorer.classes)), np.nan)
        return HeadPredictions(predicted, table)

    def tested(
        self, control: Control, head: ClassifierMixin, columns: NDArray[np.float32]
    ) -> Control:
        """Test a head on some of the properties."""
        table = out_of_fold(head, columns, self.codes, self.folds, len(self.scorer.classes))
        predicted = np.where(np.isnan(table).any(axis=1), -1, np.nan_to_num(table).argmax(axis=1))
        return self.scored(control, predicted)

    # ---- permuted labels

    @cached_property
    def best_data(self) -> Dataset:
        """The dataset of the best head.

        Raises
        ------
        _NotComputedError
            If only an earlier run had it.
        """
        facts = self.best.facts
        for data in self.datasets:
            if (data.file, data.embedding) == (facts["file"], facts["embedding"]):
                return data
        raise _NotComputedError(
            f"this run does not include {facts['embedding']} of {facts['file']}, the best embedding"
        )

    def head(self) -> tuple[str, BaseEstimator]:
        """Return the best head, or logistic regression if the best head would take too long."""
        name = self.best.facts["head"]
        if self.plan.heads.get(name) in _QUICK:
            return name, self.plan.classifiers()[name]
        return "logreg", make_heads("logreg", random_state=self.plan.random_state)["logreg"]


def _without_properties(data: Dataset) -> str:
    if any(part.spec.imported is not None for part in data.parts):
        return "imported embeddings have no image files"
    return f"{data.file} has no properties of its images"


def _colours(bench: _Bench, control: Control) -> Control:
    return bench.tested(control, colour_head(), colour_columns(bench.properties))


def _file_properties(bench: _Bench, control: Control) -> Control:
    control = bench.tested(control, file_head(), file_columns(bench.properties))
    found = told_apart(bench.properties, bench.codes, bench.folds, bench.scorer)
    return replace(control, classes=list(found), evidence=list(found.values()))


def _permuted_labels(bench: _Bench, control: Control) -> Control:
    name, head = bench.head()
    data = in_memory(replace(bench.best_data, variants=None, looks=None).take(bench.rows))
    y = permuted(data.y, data.together, bench.plan.random_state)
    tasks = [Task(train, test, {name: head}) for train, test in bench.folds]
    try:
        with Trainer(replace(data, y=y)) as trainer:
            results = trainer.map(fit_and_score, tasks, 1.0, np.array(bench.scorer.classes), None)
    except ParameterError as error:
        # The error's advice, as to choose another head, is about labels that are not shuffled.
        raise _NotComputedError(_too_few(name)) from error
    predicted = np.full(len(y), -1)
    for (_, test), result in zip(bench.folds, results, strict=True):
        predicted[test] = result[name].predicted
    codes = np.searchsorted(bench.scorer.classes, y)[bench.scorer.tested]
    about = f"{control.about} ({name})"
    scored = bench.scored(replace(control, about=about), predicted, codes)
    guessing = np.bincount(codes).max() / len(codes)
    return replace(scored, beaten=scored.beaten and not scored.is_surely_above(guessing))


def _too_few(name: str) -> str:
    # The same head was fitted on the true labels, which folds divide evenly.
    return (
        f"{name} can't be fitted on shuffled labels, because a class has too few training images "
        "in one of the folds"
    )


def permuted(
    y: NDArray[np.str_], groups: NDArray[np.int64] | None, random_state: int | None
) -> NDArray[np.str_]:
    """Permute labels so that images that belong together keep what they have in common.

    Parameters
    ----------
    y : ndarray of shape (n,), str
    groups : ndarray of shape (n,), int, or None
        Group number of each image. Groups of one class exchange their labels as wholes. In a group
        of several classes, the images exchange their labels.
    random_state : int or None

    Returns
    -------
    ndarray of shape (n,), str
    """
    random = np.random.default_rng(random_state)
    if groups is None:
        return random.permutation(y)
    _, first, code = np.unique(groups, return_index=True, return_inverse=True)
    mixed = np.unique(code[y != y[first][code]])
    label = y[first]
    whole = np.setdiff1d(np.arange(len(first)), mixed)
    label[whole] = random.permutation(label[whole])
    shuffled = label[code]
    order = np.argsort(code, kind="stable")
    ends = np.cumsum(np.bincount(code))
    for group in mixed:
        rows = order[ends[group - 1] if group else 0 : ends[group]]
        shuffled[rows] = random.permutation(y[rows])
    return shuffled


def _digest(values: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()[:16]


_INPUTS: dict[str, Callable[[_Bench], list[Any]]] = {
    COLOURS: lambda bench: [_digest(bench.properties)],
    FILE: lambda bench: [_digest(bench.properties)],
    PERMUTED: lambda bench: [bench.best.facts["matrix"], bench.best_data.embedding],
}
_COMPUTE = {COLOURS: _colours, FILE: _file_properties, PERMUTED: _permuted_labels}
_ABOUT = {
    COLOURS: "the colours of the image, without shapes",
    FILE: "size, width, height, quality and format of the file",
    PERMUTED: "the best embedding, and shuffled labels",
}
