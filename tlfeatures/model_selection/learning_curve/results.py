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
        Training images divided by classes, mean over folds and draws.
    train_images : float
    draws : int
        Random subsets of this size in each fold, over which the accuracy is averaged.
    accuracy : float
        Over the images of all folds together.
    interval : (float, float)
        95 %, over which images happened to be tested.
    """

    images_per_class: float
    train_images: float
    draws: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class Forecast:
    """What the law says of `factor` times the images.

    The intervals are of 95 %; that of the gain may begin below 0, as the law may be wrong.
    """

    factor: int
    images_per_class: float
    accuracy: float
    interval: Interval
    gain: float
    gain_interval: Interval


@dataclass(frozen=True)
class Backtest:
    """What the law, fitted up to `fitted_to` images a class, said of the largest size.

    Attributes
    ----------
    fitted_to, images_per_class : float
    predicted, seen : float
    interval : (float, float)
        In which the seen accuracy was to lie.
    passed : bool
        It does, or it misses the prediction by less than half of what counts, `WORTH`.
    """

    fitted_to: float
    images_per_class: float
    predicted: float
    interval: Interval
    seen: float
    passed: bool

    def missed(self, factor: float) -> float:
        """Give how far the law may be off at `factor` times the images, if it errs as it did."""
        doublings = np.log2(factor) / np.log2(self.images_per_class / self.fitted_to)
        return float(abs(self.predicted - self.seen) * doublings)


@dataclass(frozen=True)
class LearningCurve:
    """What `learning_curve` measured, and what it makes of it.

    Attributes
    ----------
    file, embedding, weights, head : str
    params : dict
        Those that were given for the head.
    images, folds, variants : int
        Variants of each training image, that the head was fitted on, too.
    classes : list of str
    points : tuple of CurvePoint
        Smallest first; the last one is the whole training fold.
    law : dict of a, b, c, or None
        None where there are too few sizes to fit it, or the accuracy is at chance.
    backtest : Backtest or None
    forecasts : tuple of Forecast
        Empty where the law could not be fitted or has failed its backtest.
    verdict : {"help", "little", "unknown"}
    sentence : str
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
        """Give it as JSON-ready plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> LearningCurve:
        """Read what `to_dict` wrote, also after JSON made lists of its tuples."""
        parts = {
            "points": tuple(CurvePoint(**_paired(point)) for point in facts["points"]),
            "backtest": Backtest(**_paired(facts["backtest"])) if facts["backtest"] else None,
            "forecasts": tuple(Forecast(**_paired(each)) for each in facts["forecasts"]),
        }
        return cls(**{**facts, **parts})


def _paired(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Intervals are lists in JSON."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()}
