"""Whether the corrected accuracy of the best of several heads on few real images is true.

A draw takes n of the images of an embeddings file at random. The heads are cross-validated on
them as `benchmark` does it, and the truth is the accuracy of each head, fitted on all n images, on
the images that were not drawn. The truth of the best head is compared with what is reported.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from benchmarks.honesty._markdown import table
from tlfeatures import load_dataset
from tlfeatures.dataset.dataset import Dataset
from tlfeatures.heads.table import make_head
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.chosen import ChosenScore, chosen_scores
from tlfeatures.metrics.intervals import wilson
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.model_selection.head_fit import fit_on_all
from tlfeatures.model_selection.head_folds import run_folds
from tlfeatures.model_selection.trainer import Trainer

FILES = ("scenes", "insects")
IMAGES = (60, 120, 240)
HEADS = (6, 10)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """Ten heads on n images of two classes, and their accuracy on the other images.

    Attributes
    ----------
    y : ndarray of shape (n,), int
        Class codes.
    predicted : ndarray of shape (10, n), int
        Out-of-fold predictions of the heads, as class codes.
    groups : ndarray of shape (n,), int
        Group of each image: near-duplicates are in one group.
    truth : ndarray of shape (10,), float64
        Accuracy of each head, fitted on all n images, on the `others` images.
    others : int
        Number of images that were not drawn.
    """

    y: NDArray[np.int_]
    predicted: NDArray[np.int_]
    groups: NDArray[np.int_]
    truth: Floats
    others: int


def heads(random_state: int) -> dict[str, BaseEstimator]:
    """Create the ten heads; the first six are the smaller comparison."""
    names = ("logreg", "linear-svm", "ridge", "lda", "rbf-svm", "knn", "centroid")
    made = {name: make_head(name, random_state=random_state) for name in names}
    made["gradient-boosting"] = make_head("gradient-boosting", random_state=random_state)
    made["logreg with C=1"] = make_head("logreg", C=1.0, random_state=random_state)
    made["knn with k=1"] = make_head("knn", n_neighbors=1)
    return made


def draw(data: Dataset, n: int, number: int) -> Draw:
    """Draw n images at random, and test the heads on them and on the others."""
    random = np.random.default_rng([n, number])
    rows = np.sort(random.choice(len(data.y), n, replace=False))
    part, others = data.take(rows), np.setdiff1d(np.arange(len(data.y)), rows)
    made = heads(number)
    _, folds = make_folds(part, cv=None, split="cv", random_state=number)
    with warnings.catch_warnings(), Trainer(part, n_jobs=1, progress=lambda done: None) as trainer:
        warnings.simplefilter("ignore")  # of heads that don't converge on so few images
        runs = [run_folds(trainer, {k: h}, folds, random_state=number)[k] for k, h in made.items()]
        fitted = [fit_on_all(clone(head), part, name, None) for name, head in made.items()]
    truth = [(head.predict(data.X[others]) == data.y[others]).mean() for head in fitted]
    return Draw(
        np.searchsorted(part.classes, part.y),
        np.array([run.predicted for run in runs]),
        np.arange(n) if part.together is None else part.together,
        np.array(truth),
        len(others),
    )


def kept_draws(file: Path, n: int, count: int, embedding: str | None = None) -> Iterator[Draw]:
    """Yield draws of an embeddings file. They are kept next to it, because they take long."""
    data = None
    for number in range(count):
        kept = file.with_name("draws") / f"{file.stem}-{n}-{number}.npz"
        if not kept.is_file():
            data = load_dataset(file, embedding) if data is None else data
            kept.parent.mkdir(exist_ok=True)
            np.savez(kept, **vars(draw(data, n, number)))
        with np.load(kept) as stored:
            yield Draw(
                **{name: stored[name] for name in stored.files if name != "others"},
                others=int(stored["others"]),
            )


def corrected(one: Draw, numbers: Sequence[int]) -> list[tuple[ChosenScore, list[float], float]]:
    """Choose the best of the first heads of a draw, for each number of heads.

    Returns
    -------
    list of (score, own, truth)
        Corrected accuracy of the best head, 95 % interval of its own accuracy, and its truth.
    """
    labels = np.array(["a", "b"])[one.y]
    everything = np.ones(len(one.y), bool)
    scorer = BootstrapScorer.of(labels, one.groups, everything, ["a", "b"], 0)
    table = np.full((len(one.y), 2), np.nan)  # accuracy needs no probabilities
    candidates = [[HeadPredictions(codes, table)] for codes in one.predicted]
    scores = [scorer.score(repeats) for repeats in candidates]
    results = []
    for number in numbers:
        order = sorted(range(number), key=lambda c: scores[c]["accuracy"]["score"], reverse=True)
        ranked = [scores[c] for c in order]
        chosen = chosen_scores([candidates[c] for c in order], ranked, "accuracy", scorer)
        own = ranked[0]["accuracy"]["interval"]
        results.append((chosen["accuracy"], own, float(one.truth[order[0]])))
    return results


@dataclass(frozen=True)
class Result:
    """How well an accuracy and its interval agree with the truth, over all draws.

    Attributes
    ----------
    bias, error : float
        Mean of accuracy minus truth, and the standard error of this mean.
    coverage : float
        Share of the draws in which the interval holds the accuracy on the other images.
    coverage_of_truth : float
        The same, where it counts that the truth is itself measured on few images: whether the
        difference of accuracy and truth has an interval (Newcombe 1998) that holds 0.
    """

    bias: float
    error: float
    coverage: float
    coverage_of_truth: float

    @classmethod
    def of(cls, score: Floats, interval: Floats, truth: Floats, others: int) -> Result:
        """Compare scores of shape (draws,) and intervals of shape (draws, 2) with the truth."""
        low, high = interval.T
        least, most = wilson(truth, others).T
        above = truth - score > np.hypot(high - score, truth - least)
        below = score - truth > np.hypot(score - low, most - truth)
        return cls(
            float((score - truth).mean()),
            float((score - truth).std() / np.sqrt(len(score))),
            float(((low <= truth) & (truth <= high)).mean()),
            float(1 - (above | below).mean()),
        )


def compare(draws: Sequence[Draw], numbers: Sequence[int]) -> list[tuple[Result, Result]]:
    """Return results of the own and of the corrected accuracy, for each number of heads."""
    by_number = zip(*(corrected(one, numbers) for one in draws), strict=True)
    return [_results(found, draws[0].others) for found in by_number]


def _results(
    found: Sequence[tuple[ChosenScore, list[float], float]], others: int
) -> tuple[Result, Result]:
    scores, owns, truths = zip(*found, strict=True)
    truth, own = np.array(truths), np.array([score.own for score in scores])
    score, intervals = np.array([s.score for s in scores]), np.array([s.interval for s in scores])
    return (
        Result.of(own, np.array(owns), truth, others),
        Result.of(score, intervals, truth, others),
    )


def run(draws: int) -> str:
    """Return the table of all images, numbers of images and numbers of heads."""
    folder = Path(os.environ.get("HONESTY_DATA", "."))
    holds = "its interval holds the truth"
    header = ["images", "n", "heads", "own minus truth", holds, "corrected minus truth", holds]
    rows = []
    for name in FILES:
        for n in IMAGES:
            made = list(kept_draws(folder / f"{name}.h5", n, draws))
            results = zip(HEADS, compare(made, HEADS), strict=True)
            rows += [_row(name, n, number, *found) for number, found in results]
    return table(header, rows, left=1)


def _row(name: str, n: int, number: int, own: Result, score: Result) -> list[object]:
    cells: list[object] = [name, n, number]
    for result in (own, score):
        cells += [
            f"{100 * result.bias:+.1f} ± {100 * result.error:.1f}",
            f"{100 * result.coverage_of_truth:.0f} % ({100 * result.coverage:.0f} %)",
        ]
    return cells
