"""Whether what is printed about few and many sites holds for other sites.

A draw takes so many sites from a population of sites, in which the accuracy of the head differs:
its log-odds are normally distributed. Each site has about 100 images, or sizes that differ by a
factor of three (log-normal, standard deviation 1). The truth is the mean accuracy of the population
of sites.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.honesty._markdown import table
from tlfeatures.metrics.group_scores import few_groups, score_groups
from tlfeatures.metrics.intervals import share_interval

SITES = (3, 5, 10, 20)
SPREADS = (0.0, 0.5, 1.0)  # standard deviation of the log-odds of sites
ACCURACIES = (0.85, 0.97)
IMAGES = 100  # of a site, on average of the logarithm
RESAMPLES = 400

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """How often intervals hold the mean accuracy of the population of sites.

    Attributes
    ----------
    printed : str
        "interval", or "range" if the groups are too few for an interval.
    interval : float
        Share of draws in which the interval holds the truth, also if it isn't printed.
    below : float
        Share of draws in which the whole interval is too high.
    width : float
        Mean width of the interval.
    bootstrap : float
        Share of draws in which percentiles of a bootstrap over whole groups hold the truth.
    range : float
        Share of draws in which the range between the sites holds the accuracy of another site.
    """

    printed: str
    interval: float
    below: float
    width: float
    bootstrap: float
    range: float


def held(
    sites: int, spread: float, accuracy: float, *, uneven: bool, draws: int, seed: int = 0
) -> Held:
    """Simulate draws of sites, and compare what is printed with the truth.

    Parameters
    ----------
    sites : int
        Number of sites of a draw.
    spread : float
        Standard deviation of the log-odds of the accuracies of sites.
    accuracy : float
        Mean accuracy of the population of sites.
    uneven : bool
        Whether the numbers of images of the sites differ much.
    draws, seed : int
        Number of draws, and the seed of their random numbers.
    """
    random = np.random.default_rng(seed)
    center = _center(accuracy, spread)
    printed, rows = "interval", []
    for _ in range(draws):
        factors = np.exp(random.normal(size=sites)) if uneven else np.ones(sites)
        groups = np.repeat(np.arange(sites), np.maximum(2, np.round(IMAGES * factors).astype(int)))
        shares = special.expit(center + spread * random.normal(size=sites + 1))
        right = random.random(len(groups)) < shares[groups]
        low, high = share_interval(right, groups)
        first, last = _bootstrap(right, groups, random)
        names = np.array([f"site{site}" for site in range(sites)])[groups]
        printed = "interval" if few_groups(names) is None else "range"
        between = score_groups(right, names)
        worst, best = between.lowest, between.highest
        if worst is None or best is None:
            raise ValueError("no site has enough images for the range")
        rows.append(
            (
                low <= accuracy <= high,
                low > accuracy,
                high - low,
                first <= accuracy <= last,
                worst.accuracy <= shares[-1] <= best.accuracy,
            )
        )
    return Held(printed, *np.mean(rows, axis=0).tolist())


def _center(accuracy: float, spread: float) -> float:
    """Return the log-odds around which sites lie, so that their mean accuracy is the given one."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float(weights @ special.expit(middle + spread * nodes))
        low, high = (middle, high) if mean < accuracy else (low, middle)
    return low


def _bootstrap(
    right: NDArray[np.bool_], groups: NDArray[np.int_], random: np.random.Generator
) -> tuple[float, float]:
    """Return percentiles of the accuracies of resamples of whole groups."""
    sizes = np.bincount(groups)
    hits = np.bincount(groups, weights=right)
    counts = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=RESAMPLES)
    low, high = np.quantile((counts @ hits) / (counts @ sizes), [0.025, 0.975])
    return float(low), float(high)


def run(draws: int) -> str:
    """Return the table in Markdown."""
    header = ["sites", "accuracy", "spread of sites", "images of sites", "printed"]
    header += ["the interval holds the truth", "it is too high", "its width, points"]
    header += ["bootstrap over groups holds it", "the range holds another site"]
    rows = []
    for uneven in (False, True):
        for sites in SITES:
            for accuracy in ACCURACIES:
                for spread in SPREADS:
                    found = held(sites, spread, accuracy, uneven=uneven, draws=draws)
                    rows.append(_row(sites, accuracy, spread, uneven, found))
    return table(header, rows, left=0)


def _row(sites: int, accuracy: float, spread: float, uneven: bool, found: Held) -> list[str]:
    holds = f"{100 * found.interval:.1f} %"
    return [
        str(sites),
        f"{100 * accuracy:.0f} %",
        f"{spread:g}",
        "uneven" if uneven else "equal",
        found.printed,
        holds if found.printed == "interval" else f"({holds})",
        f"{100 * found.below:.1f} %",
        f"{100 * found.width:.1f}",
        f"{100 * found.bootstrap:.1f} %",
        f"{100 * found.range:.1f} %",
    ]
