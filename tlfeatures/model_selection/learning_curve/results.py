"""The results of a learning curve as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Interval = tuple[float, float]


@dataclass(frozen=True)
class CurvePoint:
    """One size of the training set.

    Attributes
    ----------
    images_per_class : float
        Training images divided by the number of classes, mean over folds and draws.
    train_images : float
    draws : int
        Number of random subsets of this size in each fold; the accuracy is their mean.
    accuracy : float
        Accuracy over the images of all folds together.
    interval : (float, float)
        95 % interval over the choice of tested images.
    """

    images_per_class: float
    train_images: float
    draws: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class Forecast:
    """Accuracy that the law predicts for `factor` times the images, and the gain.

    The intervals are of 95 %. The interval of the gain may begin below 0, as the law may be wrong.
    """

    factor: int
    images_per_class: float
    accuracy: float
    interval: Interval
    gain: float
    gain_interval: Interval


@dataclass(frozen=True)
class Backtest:
    """Prediction for the largest size, by a law fitted to sizes up to `fitted_to` images a class.

    Attributes
    ----------
    fitted_to, images_per_class : float
    predicted, seen : float
        Predicted and measured accuracy at the largest size.
    interval : (float, float)
        The measured accuracy should lie in it.
    passed : bool
        Whether it does, or differs from the prediction by less than half of `WORTH`.
    """

    fitted_to: float
    images_per_class: float
    predicted: float
    interval: Interval
    seen: float
    passed: bool

    def missed(self, factor: float) -> float:
        """Return the error of the law at `factor` times the images, growing with doublings."""
        doublings = np.log2(factor) / np.log2(self.images_per_class / self.fitted_to)
        return float(abs(self.predicted - self.seen) * doublings)


@dataclass(frozen=True)
class LearningCurve:
    """A measured learning curve, its forecasts and the verdict.

    Attributes
    ----------
    file, embedding, weights, head : str
    params : dict
        Parameters that were given for the head.
    images, folds : int
    classes : list of str
    points : tuple of CurvePoint
        Smallest first; the last one is the whole training fold.
    law : dict of a, b, c, or None
        None if there are too few sizes to fit it, or the accuracy is not better than chance.
    backtest : Backtest or None
    forecasts : tuple of Forecast
        Empty if the law could not be fitted or has failed its backtest.
    verdict : {"help", "little", "unknown"}
    sentence : str
        The verdict in words.
    variants : int
        Number of variants of each training image that the head was fitted on, too.
    """

    file: str
    embedding: str
    weights: str
    head: str
    params: dict[str, Any]
    images: int
    folds: int
    classes: list[str]
    points: tuple[CurvePoint, ...]
    law: dict[str, float] | None
    backtest: Backtest | None
    forecasts: tuple[Forecast, ...]
    verdict: str
    sentence: str
    variants: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> LearningCurve:
        """Read what `to_dict` returned, also with lists instead of tuples, as from JSON."""
        parts = {
            "points": tuple(CurvePoint(**_paired(point)) for point in facts["points"]),
            "backtest": Backtest(**_paired(facts["backtest"])) if facts["backtest"] else None,
            "forecasts": tuple(Forecast(**_paired(forecast)) for forecast in facts["forecasts"]),
        }
        return cls(**{**facts, **parts})


def _paired(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Turn intervals, which are lists in JSON, into tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()}
