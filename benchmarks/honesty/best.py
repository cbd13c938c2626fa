"""How often a head is called different from the best although all heads are equally good.

The model is that of Nadeau and Bengio: the scores of two folds are correlated by the share of the
images that they test, because they have training images in common. `python -m benchmarks.honesty
best` prints the tables. They compare the test of the package with an older one, "before".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.honesty._markdown import table
from tlfeatures.metrics.against_best import FoldScores, Outcome, compare_folds, compare_images
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions

Floats = NDArray[np.float64]

# Parts of the variance of the latent variable that decides whether a head is right: the image, the
# head on the image, and the training set of the repeat. So heads are mostly right on the same
# images.
IMAGE, HEAD = 0.7, 0.2
_SAMPLE = 20_000  # images from which the covariance of the heads is computed


@dataclass(frozen=True)
class Case:
    """Heads that are tested on the same images.

    Attributes
    ----------
    heads, images, folds, repeats : int
    accuracies : tuple of float
        True accuracy of each head.
    image : tuple of float
        For each head, part of the variance that all heads share. Heads with a small part have
        differences of large variance.
    """

    heads: int
    images: int
    folds: int = 5
    repeats: int = 1
    accuracies: tuple[float, ...] = ()
    image: tuple[float, ...] = ()

    @property
    def levels(self) -> Floats:
        """True accuracy of each head."""
        return np.array(self.accuracies or (0.85,) * self.heads)

    @property
    def fraction(self) -> float:
        """Test images divided by training images."""
        return 1 / (self.folds - 1)

    def outcomes(
        self, random: np.random.Generator, levels: Floats, images: int
    ) -> NDArray[np.bool_]:
        """Draw whether each head is right, of shape (repeats, images, heads)."""
        own = np.array(self.image or (IMAGE,) * self.heads)
        noise = np.minimum(1 - own, 1 - IMAGE - HEAD)
        common = random.standard_normal((images, 1))
        of_head = random.standard_normal((images, self.heads))
        of_repeat = random.standard_normal((self.repeats, images, self.heads))
        latent = np.sqrt(own) * common + np.sqrt(1 - own - noise) * of_head
        right: NDArray[np.bool_] = latent + np.sqrt(noise) * of_repeat < special.ndtri(levels)
        return right


@dataclass(frozen=True)
class Draws:
    """Draws of a case, with the part of each head's accuracy that all its folds share."""

    case: Case
    root: Floats

    @classmethod
    def of(cls, case: Case) -> Draws:
        """Compute the covariance of the shared part from many images."""
        once = replace(case, repeats=1).outcomes(np.random.default_rng(1), case.levels, _SAMPLE)
        covariance = np.cov(once[0].T.astype(float))
        shared = case.folds * case.fraction * covariance / case.images
        values, vectors = np.linalg.eigh(shared)
        return cls(case, vectors * np.sqrt(np.maximum(values, 0)))

    def draw(self, random: np.random.Generator) -> NDArray[np.bool_]:
        """Draw whether each head is right, of shape (repeats, images, heads)."""
        levels = self.case.levels + self.root @ random.standard_normal(self.case.heads)
        return self.case.outcomes(random, np.clip(levels, 0.02, 0.995), self.case.images)


# ---- the two procedures: which heads are different from the best?


def now(right: NDArray[np.bool_], case: Case) -> tuple[NDArray[np.intp], list[bool]]:
    """Return the heads, best first, and whether the package calls each different from the best."""
    order = np.argsort(-right.mean(axis=(0, 1)), kind="stable")
    n = right.shape[1]
    codes = np.zeros(n, int)
    everything = np.ones(n, bool)
    scorer = BootstrapScorer(["a", "b"], everything, codes, np.ones((n, 1), np.float32), n)
    table = np.full((n, 2), np.nan)
    ranked = [
        [HeadPredictions(np.where(repeat[:, head], 0, 1), table) for repeat in right]
        for head in order
    ]
    scores = [
        {"score": float(right[..., head].mean()), "interval": None, "reason": None}
        for head in order
    ]
    outcomes, _ = compare_images(
        ranked, scores, "accuracy", scorer, shared=case.folds * case.fraction
    )
    return order, _different(outcomes)


def before(scores: Floats, fraction: float) -> tuple[NDArray[np.intp], list[bool]]:
    """Return the same by corrected resampled t-tests with Holm's adjustment.

    Parameters
    ----------
    scores : ndarray of shape (heads, J)
        Scores of folds.
    fraction : float
        Test images divided by training images.
    """
    order = np.argsort(-scores.mean(axis=1), kind="stable")
    differences = scores[order[1:]] - scores[order[0]]
    folds = scores.shape[1]
    errors = np.sqrt((1 / folds + fraction) * differences.var(axis=1, ddof=1))
    statistics = np.abs(differences.mean(axis=1)) / np.where(errors > 0, errors, np.inf)
    p = 2 * special.stdtr(folds - 1, -statistics)
    rising = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[rising] = np.maximum.accumulate(p[rising] * (len(p) - np.arange(len(p))))
    return order, [False, *(adjusted <= 0.05).tolist()]


def by_folds(scores: Floats, fraction: float, folds: int) -> tuple[NDArray[np.intp], list[bool]]:
    """Return the same by the package's test of fold scores, of shape (heads, J)."""
    order = np.argsort(-scores.mean(axis=1), kind="stable")
    ranked = [
        [
            FoldScores(repeat, values, fraction)
            for repeat, values in enumerate(scores[head].reshape(-1, folds))
        ]
        for head in order
    ]
    best = {"score": float(scores[order[0]].mean()), "interval": None, "reason": None}
    outcomes, _ = compare_folds(ranked, best, "any")
    return order, _different(outcomes)


def _different(outcomes: Sequence[Outcome]) -> list[bool]:
    return [outcome.standing(place == 0) == "different" for place, outcome in enumerate(outcomes)]


def fold_scores(right: NDArray[np.bool_], folds: int) -> Floats:
    """Return the accuracies of folds, of shape (heads, repeats * folds)."""
    parts = [np.array_split(repeat, folds) for repeat in right]
    return np.array([fold.mean(axis=0) for repeat in parts for fold in repeat]).T


def gaussian_folds(
    random: np.random.Generator, heads: int, folds: int, repeats: int, spread: Floats | float = 1.0
) -> Floats:
    """Draw normal scores of folds, correlated by 1 / folds, of shape (heads, J)."""
    rho = 1 / folds
    shared = random.standard_normal((heads, 1))
    own = random.standard_normal((heads, repeats * folds))
    fold = random.standard_normal((1, repeats * folds))
    scores: Floats = np.reshape(spread, (-1, 1)) * (
        math.sqrt(rho) * shared + math.sqrt(1 - rho) * own
    )
    return 0.85 + 0.03 * (scores + fold)


# ---- tables


def level(case: Case, draws: int, seed: int = 0) -> tuple[float, float]:
    """Return how often some head is called different from the best: before, and now."""
    random, model = np.random.default_rng(seed), Draws.of(case)
    found = np.zeros(2)
    for _ in range(draws):
        right = model.draw(random)
        found[0] += any(before(fold_scores(right, case.folds), case.fraction)[1])
        found[1] += any(now(right, case)[1])
    old, new = found / draws
    return float(old), float(new)


def level_of_folds(
    heads: int, folds: int, repeats: int, draws: int, spread: Floats | float = 1.0
) -> tuple[float, float]:
    """Return the same for normal scores of folds, before, and now."""
    random = np.random.default_rng(0)
    found = np.zeros(2)
    for _ in range(draws):
        scores = gaussian_folds(random, heads, folds, repeats, spread)
        found[0] += any(before(scores, 1 / (folds - 1))[1])
        found[1] += any(by_folds(scores, 1 / (folds - 1), folds)[1])
    old, new = found / draws
    return float(old), float(new)


def power(case: Case, draws: int, seed: int = 0) -> tuple[float, float]:
    """Return how often the last head, which is worse, is called different: before, and now."""
    random, model = np.random.default_rng(seed), Draws.of(case)
    found = np.zeros(2)
    for _ in range(draws):
        right = model.draw(random)
        scores = fold_scores(right, case.folds)
        for number, (order, different) in enumerate(
            (before(scores, case.fraction), now(right, case))
        ):
            found[number] += different[order.tolist().index(case.heads - 1)]
    old, new = found / draws
    return float(old), float(new)


COMPARED = [
    (heads, folds, repeats) for heads in (5, 10, 20) for folds in (5, 10) for repeats in (1, 3)
]

SIZES = (60, 300, 1000)
KINDS = {
    "all correlated": (),
    "uncorrelated": (0.01,) * 10,
    "five correlated, five noisy": (0.9,) * 5 + (0.3,) * 5,
    "one noisy": (0.01,) + (0.85,) * 9,
}


def run(draws: int) -> str:
    """Return the tables in Markdown."""
    return "\n\n".join(
        [make(draws) for make in (_folds_table, _images_table, _kinds_table, _power_table)]
    )


def _folds_table(draws: int) -> str:
    rows = [
        (*case, *level_of_folds(*case, draws), level_of_folds(*case, draws, _unequal(case[0]))[1])
        for case in COMPARED
    ]
    header = ("heads", "folds", "repeats", "before", "now", "now, unequal variances")
    return _markdown(header, rows)


def _unequal(heads: int) -> Floats:
    """Return standard deviations: one half of the heads has three times that of the other."""
    return np.where(np.arange(heads) < heads // 2, 1.0, 3.0)


def _images_table(draws: int) -> str:
    rows = []
    for case in COMPARED:
        found = [level(Case(case[0], images, *case[1:]), draws) for images in SIZES]
        rows.append((*case, found[1][0], *(now for _, now in found)))
    header = ("heads", "folds", "repeats", "before, 300 images")
    return _markdown((*header, *(f"now, {images:,} images" for images in SIZES)), rows)


def _kinds_table(draws: int) -> str:
    rows = []
    for name, image in KINDS.items():
        found = [level(Case(10, images, image=image), draws) for images in SIZES]
        rows.append((name, found[1][0], *(now for _, now in found)))
    header = ("ten heads, 5 folds", "before, 300 images")
    return _markdown((*header, *(f"now, {images:,} images" for images in SIZES)), rows)


def _power_table(draws: int) -> str:
    rows = [
        (
            heads,
            images,
            *power(Case(heads, images, accuracies=(0.85,) * (heads - 1) + (0.8,)), draws),
        )
        for heads in (2, 5, 10, 20)
        for images in (300, 1000)
    ]
    return _markdown(("heads", "images", "before", "now"), rows)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[float | str]]) -> str:
    """Write a table; shares, which are floats, as percentages."""
    cells = [
        [f"{100 * cell:.1f} %" if isinstance(cell, float) else cell for cell in row] for row in rows
    ]
    return table(header, cells, left=0)
