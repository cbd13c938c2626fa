"""Prediction sets: how often they hold the right label, and how large they are.

Images are divided at random into two halves. `fit` chooses and fits a head on one half, and the
saved model gives sets for the other half, as users do it. In the simulations with many classes and
with sites, images are drawn from normal distributions. A site moves all of its images; the tested
images come from sites that the model has never seen.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.honesty._markdown import row, table
from tlfeatures import Dataset, Model, fit, load_dataset

COVERAGE = 0.95

Draw = tuple[Dataset, NDArray[Any], NDArray[Any]]  # images to fit on, X and labels of new images


@dataclass(frozen=True)
class Covered:
    """Sets of new images in many draws.

    Attributes
    ----------
    coverage : ndarray of shape (draws,)
        Share of new images whose set has the right label.
    size, single, accuracy : ndarray of shape (draws,)
        Mean number of labels of a set, share of sets with one label, and accuracy.
    stated : ndarray of shape (draws,)
        Coverage that the model's card states; NaN if it states none.
    """

    coverage: NDArray[np.float64]
    size: NDArray[np.float64]
    single: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    stated: NDArray[np.float64]


def covered(
    draw: Callable[[np.random.Generator], Draw],
    draws: int,
    heads: Sequence[str],
    coverage: float = COVERAGE,
) -> Covered:
    """Fit a model for each draw, and compare its sets with the right labels of new images."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.model"
        for number in range(draws):
            data, X, y = draw(np.random.default_rng(number))
            fit(data, list(heads), split="cv", random_state=number, model=path, n_jobs=1)
            model = Model.load(path)
            rows.append(_figures(model, X, y, coverage))
    return Covered(*np.array(rows).T)


def _figures(model: Model, X: NDArray[Any], y: NDArray[Any], coverage: float) -> list[float]:
    predictions = model.predict_features(X, coverage=coverage)
    assert predictions.sets is not None
    assert model.sets is not None
    size = predictions.sets.sum(axis=1)
    right = predictions.sets[np.arange(len(y)), np.searchsorted(model.classes, y)]
    measured = model.sets.measured
    stated = np.nan if measured is None else measured["coverage"]
    accuracy = (predictions.labels == y).mean()
    return [right.mean(), size.mean(), (size == 1).mean(), accuracy, stated]


def halves(data: Dataset) -> Callable[[np.random.Generator], Draw]:
    """Return draws of half of the images; the other half is new."""

    def draw(random: np.random.Generator) -> Draw:
        order = random.permutation(len(data.y))
        rows, rest = np.sort(order[: len(order) // 2]), order[len(order) // 2 :]
        return data.take(rows), data.X[rest], data.y[rest]

    return draw


def many_classes(
    classes: int, images: int, apart: float = 1.0
) -> Callable[[np.random.Generator], Draw]:
    """Return draws of images of many classes, each a normal distribution in 20 dimensions."""

    def draw(random: np.random.Generator) -> Draw:
        centres = apart * random.normal(size=(classes, 20))
        y = np.arange(images + 2000) % classes
        X = centres[y] + 1.2 * random.normal(size=(len(y), 20))
        return _divided(X, y, images)

    return draw


def sites(
    count: int, each: int, new_sites: int = 50, shift: float = 0.8
) -> Callable[[np.random.Generator], Draw]:
    """Return draws of images from sites; the new images come from other sites.

    Each site moves all of its images, and has its own shares of three classes.
    """

    def draw(random: np.random.Generator) -> Draw:
        site = np.repeat(np.arange(count + new_sites), each)
        shares = random.dirichlet([2.0] * 3, count + new_sites)
        y = np.array([random.choice(3, p=shares[one]) for one in site])
        moved = shift * random.normal(size=(count + new_sites, 10))
        centres = np.eye(3, 10) * 2.5
        X = centres[y] + moved[site] + random.normal(size=(len(y), 10))
        return _divided(X, y, count * each, site)

    return draw


def _divided(
    X: NDArray[Any], y: NDArray[Any], images: int, site: NDArray[Any] | None = None
) -> Draw:
    labels = np.array([f"c{code:03d}" for code in y])
    X = X.astype(np.float32)
    data = Dataset.from_arrays(
        X[:images], labels[:images], groups=None if site is None else site[:images]
    )
    return data, X[images:], labels[images:]


def run(draws: int) -> str:
    """Return the table of all simulations as Markdown.

    The real images are read from the files scenes.h5 and insects.h5 in the folder that the variable
    `HONESTY_DATA` names; those that don't exist are left out.

    Parameters
    ----------
    draws : int
        Number of draws of each.
    """
    folder = Path(os.environ.get("HONESTY_DATA", "."))
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    heads = ("logreg", "lda", "knn")
    header = ["images", "coverage", "its std", "labels of a set", "one label", "accuracy", "card"]
    rows = []
    cases: dict[str, tuple[Callable[[np.random.Generator], Draw], Sequence[str]]] = {}
    for file in (folder / "scenes.h5", folder / "insects.h5"):
        if file.exists():
            cases[f"half of {file.stem}"] = halves(load_dataset(file)), heads
    cases |= {
        "10 classes, 200 images": (many_classes(10, 200), heads),
        "30 classes, 600 images": (many_classes(30, 600), ("lda", "knn")),
        "3 classes, 60 images": (many_classes(3, 60, 0.5), heads),
        "20 sites of 20 images": (sites(20, 20), heads),
        "40 sites of 10 images": (sites(40, 10), heads),
    }
    for name, (draw, chosen) in cases.items():
        cells = _row(name, covered(draw, draws, chosen))
        print(row(cells), flush=True)
        rows.append(cells)
    return table(header, rows)


def _row(name: str, result: Covered) -> list[str]:
    return [
        name,
        f"{100 * result.coverage.mean():.1f} %",
        f"{100 * result.coverage.std():.1f} %",
        f"{result.size.mean():.2f}",
        f"{100 * result.single.mean():.0f} %",
        f"{100 * result.accuracy.mean():.1f} %",
        f"{100 * np.nanmean(result.stated):.1f} %" if np.isfinite(result.stated).any() else "none",
    ]
