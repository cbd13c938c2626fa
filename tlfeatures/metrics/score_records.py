"""The record of a score: pooled over all tested images, and of each fold.

There is one convention. The score of a head is computed from all its out-of-fold predictions
together, and has a 95 % interval. The mean and standard deviation of the scores of the folds are
reported with it. The mean differs a little from the pooled score, because folds differ in size and
in their classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from tlfeatures.metrics.scores import bounds_text, finite_or_none, score_name

NO_INTERVAL = "scores of --scoring are means over folds, without an interval"


class GroupsRange(TypedDict):
    """The lowest and the highest score of a few groups. It is not an interval.

    Attributes
    ----------
    lowest, highest : float
    groups : int
        Number of groups in the range: they define the score and have five or more images.
    too_small : int
        Number of groups that define the score and have fewer images. They are left out.
    """

    lowest: float
    highest: float
    groups: int
    too_small: int


class PooledScore(TypedDict):
    """A score of all tested images together.

    Attributes
    ----------
    score : float or None
        Value of the score; None if it is not defined.
    interval : [float, float] or None
        95 % interval of the score; None if there is none.
    reason : str or None
        Explanation if the score or its interval is None.
    groups_range : GroupsRange or None
        Lowest and highest score of the groups, if these are too few for an interval.
    """

    score: float | None
    interval: list[float] | None
    reason: str | None
    groups_range: GroupsRange | None


class Score(PooledScore):
    """A pooled score, and the scores of the folds, as plain data for JSON.

    Attributes
    ----------
    mean, std : float or None
        Mean and standard deviation (ddof 1) of the scores of the folds. Both are None if a fold
        doesn't define the score. The standard deviation of a single fold is None.
    folds : list of float or None
        Scores of the folds. With several repeats, those of the first repeat come first.
    folds_reason : str or None
        Explanation if the mean is None. `reason` is about the pooled score and its interval.
    """

    mean: float | None
    std: float | None
    folds: list[float | None]
    folds_reason: str | None


def score_record(
    folds: Sequence[float | None] | NDArray[np.float64],
    pooled: PooledScore | None = None,
    reason: str | None = None,
) -> Score:
    """Create the record of a score.

    Parameters
    ----------
    folds : sequence of float or None, length folds
        Score of each fold; NaN or None in a fold that doesn't define the score.
    pooled : PooledScore, optional
        Pooled score. Without it, the score is the mean of the folds and has no interval, as for
        scikit-learn's scorers: they need the fitted head, and can't score pooled predictions.
    reason : str, optional
        Reason if some folds don't define the score. It becomes `folds_reason`, and `reason` too if
        there is no pooled score.
    """
    values = np.array(folds, np.float64)  # NumPy turns None into NaN
    mean = finite_or_none(values.mean())
    if pooled is None:
        pooled = PooledScore(
            score=mean, interval=None, reason=reason or NO_INTERVAL, groups_range=None
        )
    return Score(
        score=pooled["score"],
        interval=pooled["interval"],
        reason=pooled["reason"],
        groups_range=pooled["groups_range"],
        mean=mean,
        std=finite_or_none(values.std(ddof=1)) if len(values) > 1 else None,
        folds=[finite_or_none(value) for value in values],
        folds_reason=reason if mean is None else None,
    )


def score_columns(records: Sequence[Mapping[str, Score]]) -> dict[str, NDArray[np.float64]]:
    """Return scores as columns of numbers, for a data frame.

    Parameters
    ----------
    records : sequence of n dict of name to Score
        Scores of n heads. A head may lack a score.

    Returns
    -------
    dict of name to ndarray of shape (n,), float64
        `NAME`, the bounds of its interval `NAME_low` and `NAME_high`, and `NAME_std` of the folds,
        for each score. NaN where there is none.
    """
    names = dict.fromkeys(name for scores in records for name in scores)
    columns: dict[str, NDArray[np.float64]] = {}
    for name in names:
        own = [scores.get(name) for scores in records]
        bounds = [(score and score["interval"]) or (None, None) for score in own]
        values = {
            name: [score and score["score"] for score in own],
            f"{name}_low": [low for low, _ in bounds],
            f"{name}_high": [high for _, high in bounds],
            f"{name}_std": [score and score["std"] for score in own],
        }
        # NumPy turns None into NaN.
        columns |= {key: np.array(column, np.float64) for key, column in values.items()}
    return columns


def score_line(name: str, scores: Mapping[str, PooledScore] | Mapping[str, Score]) -> str:
    """Write a score with its interval, for example "accuracy 0.851 [0.829, 0.870]".

    Without an interval, the range between groups is given, if there is one.
    """
    record = scores[name]
    if record["score"] is None:
        return f"no {score_name(name)}"
    interval = record["interval"]
    bounds = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    if record["groups_range"] is not None:
        bounds = f" ({range_line(record['groups_range'])})"
    return f"{score_name(name)} {record['score']:.3f}{bounds}"


def range_line(found: GroupsRange) -> str:
    """Write a range with three digits, for example "0.863 to 0.941 between the 3 groups".

    With groups that are too small, it is "0.863 to 0.941 between 3 of 5 groups".
    """
    return f"{found['lowest']:.3f} to {found['highest']:.3f} {_between(found)}"


def range_text(scoring: str, found: GroupsRange | None) -> str:
    """Write a range in the unit of the score, for example "86.3 to 94.1 between the 3 groups".

    It is empty without a range.
    """
    if found is None:
        return ""
    return f"{bounds_text(scoring, (found['lowest'], found['highest']))} {_between(found)}"


def _between(found: GroupsRange) -> str:
    count, total = found["groups"], found["groups"] + found["too_small"]
    if count < total:
        return f"{'in' if count == 1 else 'between'} {count} of {total} groups"
    return "in the only group" if count == 1 else f"between the {count} groups"


def spread_text(scoring: str, record: PooledScore) -> str:
    """Write the bounds of an interval, or the range between groups; empty without both."""
    return bounds_text(scoring, record["interval"]) or range_text(scoring, record["groups_range"])
