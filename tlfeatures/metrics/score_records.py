"""The record of a score: pooled over all tested images, with the spread over folds beside it.

There is one convention. The score of a head is that of all its out-of-fold predictions together,
with a 95 % interval. Mean and standard deviation of the folds' own scores are reported next to it.
They differ a little from the pooled score, because folds differ in size and in their classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from tlfeatures.metrics.scores import finite_or_none

NO_INTERVAL = "scores of --scoring are means over folds, without an interval"


class PooledScore(TypedDict):
    """A score of all tested images together.

    Attributes
    ----------
    score : float or None
        None if it is not defined.
    interval : [float, float] or None
        Its 95 % interval; None if there is none.
    reason : str or None
        Why the score, or else the interval, is None.
    """

    score: float | None
    interval: list[float] | None
    reason: str | None


class Score(PooledScore):
    """A pooled score with the scores of the folds; plain data for JSON.

    Attributes
    ----------
    mean, std : float or None
        Mean and standard deviation (ddof 1) of the folds' scores. None if a fold doesn't define
        the score, and the deviation of a single fold.
    folds : list of float or None
        Score of each fold; of all repeats, one after the other.
    """

    mean: float | None
    std: float | None
    folds: list[float | None]


def score_record(
    folds: Sequence[float | None] | NDArray[np.float64],
    pooled: PooledScore | None = None,
    reason: str | None = None,
) -> Score:
    """Put the pooled score and the folds' scores together.

    Parameters
    ----------
    folds : sequence of float or None, length folds
        NaN or None in a fold that doesn't define the score.
    pooled : PooledScore, optional
        Without it, the score is the mean of the folds, and has no interval: scores by
        scikit-learn's scorers need the fitted head, so that they can't be pooled.
    reason : str, optional
        Why folds don't define the score.
    """
    values = np.array(folds, np.float64)  # NumPy turns None into NaN
    mean = finite_or_none(values.mean())
    if pooled is None:
        pooled = PooledScore(score=mean, interval=None, reason=reason or NO_INTERVAL)
    return Score(
        score=pooled["score"],
        interval=pooled["interval"],
        reason=pooled["reason"] or (reason if mean is None else None),
        mean=mean,
        std=finite_or_none(values.std(ddof=1)) if len(values) > 1 else None,
        folds=[finite_or_none(value) for value in values],
    )
