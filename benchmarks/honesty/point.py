"""Simulation of operating points: the score that `fit --at` aims at, and that on new images.

Each draw takes n images, chooses the threshold on their out-of-fold probabilities, fits the head
again on all n images, as `fit` does, and measures the score on all other images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from benchmarks.honesty._markdown import table
from tlfeatures import Dataset, load_dataset, make_head
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.targets import Target
from tlfeatures.model_selection.folds import make_folds
from tlfeatures.models.operating_point import OperatingPoint, measured_point

TARGETS = ("recall=0.95", "recall=0.9", "specificity=0.95", "precision=0.9")


@dataclass(frozen=True)
class Outcomes:
    """What d draws of one head, target and number of images gave.

    Attributes
    ----------
    true, printed : ndarray of shape (d,)
        The score on the other images, and the score that `fit` prints.
    low, high : ndarray of shape (d,)
        Bounds of the printed interval.
    unreached : int
        Number of further draws in which no threshold reached the target.
    """

    true: NDArray[np.float64]
    printed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    unreached: int

    def row(self) -> list[str]:
        """Return the columns of the table."""
        within = (self.low <= self.true) & (self.true <= self.high)
        return [
            f"{self.true.mean():.3f}",
            f"{self.printed.mean():.3f}",
            f"{100 * within.mean():.0f} %",
            f"{100 * (self.true < self.low).mean():.0f} %",
            str(self.unreached),
        ]


def simulate(
    data: Dataset, head: str, n: int, positive: str, targets: Sequence[str], draws: int
) -> dict[str, Outcomes]:
    """Draw n images (or, with groups, whole groups of about n images) many times.

    Parameters
    ----------
    data : Dataset
        Many more than n images, which stand for all images of their kind.
    head : str
    n : int
    positive : str
    targets : sequence of str
    draws : int
    """
    found: dict[str, list[tuple[float, ...]]] = {text: [] for text in targets}
    unreached = dict.fromkeys(targets, 0)
    for draw in range(draws):
        rows, rest = _drawn(data, n, np.random.default_rng([n, draw]))
        for text, point in _points(data, data.take(rows), rest, head, positive, targets, draw):
            if point is None:
                unreached[text] += 1
            else:
                found[text].append(point)
    return {
        text: Outcomes(*np.array(found[text] or np.empty((0, 4))).T, unreached[text])
        for text in targets
    }


def _drawn(
    data: Dataset, n: int, random: np.random.Generator
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Draw whole groups until there are n images; the others are those of other groups."""
    number = np.arange(len(data.y)) if data.together is None else data.together
    order = random.permutation(np.unique(number))
    sizes = np.bincount(number)[order]
    taken = np.isin(number, order[: np.searchsorted(sizes.cumsum(), n) + 1])
    return np.flatnonzero(taken), np.flatnonzero(~taken)


def _points(
    data: Dataset,
    part: Dataset,
    rest: NDArray[np.int_],
    name: str,
    positive: str,
    targets: Sequence[str],
    seed: int,
) -> Iterator[tuple[str, tuple[float, ...] | None]]:
    """Give, for each target, the true score, the printed one and the bounds of its interval."""
    head = make_head(name, random_state=seed)
    y, truth = (np.searchsorted(part.classes, labels) for labels in (part.y, data.y[rest]))
    table, fold = np.empty((len(y), len(part.classes))), np.empty(len(y), int)
    for number, (train, test) in enumerate(make_folds(part, split="cv", random_state=seed)[1]):
        fitted = clone(head).fit(part.X[train], part.y[train])
        table[test], fold[test] = fitted.predict_proba(part.X[test]), number
    new = clone(head).fit(part.X, part.y).predict_proba(data.X[rest]).astype(float)
    for text in targets:
        target = Target.parse(text)
        try:
            point, _ = measured_point(target, positive, part.classes, y, table, fold, part.together)
        except ParameterError:
            yield text, None
            continue
        own = point.scores[target.name]
        true = point.scored_on(truth, point.codes(new, part.classes), part.classes)
        yield text, (_value(true, target), _value(point, target), *(own["interval"] or (0, 1)))


def _value(point: OperatingPoint, target: Target) -> float:
    score = point.scores[target.name]["score"]
    return 1.0 if score is None else score  # no image is labelled with the class


def clouds(n: int = 6000, d: int = 20, groups: int = 0, effect: float = 1.0) -> Dataset:
    """Draw embeddings of two classes; with groups, images of a group are shifted together."""
    random = np.random.default_rng(0)
    code = random.integers(0, 2, n)
    X = random.normal(size=(n, d)) + 0.45 * code[:, None]
    group = None
    if groups:
        group = np.sort(random.integers(0, groups, n))
        X = X + effect * 0.3 * random.normal(size=(groups, d))[group]
    return Dataset.from_arrays(X.astype(np.float32), np.array(["ant", "bee"])[code], groups=group)


def point_table(rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    header = ["images", "head", "n", "target", "true", "printed", "interval holds"]
    header += ["true is below it", "not reached"]
    return table(header, rows)


def run(draws: int) -> str:
    """Return the table of all cases.

    The scenes are read from the file scenes.h5 in the folder that the variable `HONESTY_DATA`
    names. Without it, the table has simulated images only.
    """
    rows = []
    for name, data, positive, fits in _cases():
        for head, n in fits:
            for text, outcome in simulate(data, head, n, positive, TARGETS, draws).items():
                rows.append([name, head, str(n), text, *outcome.row()])
    return point_table(rows)


def _cases() -> Iterator[tuple[str, Dataset, str, list[tuple[str, int]]]]:
    """Give the images, the class, and the heads with numbers of images of each case."""
    folder = os.environ.get("HONESTY_DATA")
    if folder:
        data = load_dataset(Path(folder) / "scenes.h5")
        fits = [("logreg", 120), ("logreg", 240), ("logreg", 480), ("rbf-svm", 240), ("knn", 240)]
        yield "scenes", data, data.classes[-1], fits
    yield "simulated", clouds(), "bee", [("logreg", 120), ("logreg", 480)]
    yield "simulated, groups of 10", clouds(groups=600), "bee", [("logreg", 480)]
