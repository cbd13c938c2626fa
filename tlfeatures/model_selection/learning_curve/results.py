"""The results of a learning curve: points, forecasts, the backtest and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tlfeatures.data_frames import frame_of_rows
from tlfeatures.html_tables import facts_html, result_html, table_html, text_html
from tlfeatures.metrics.scores import bounds_text, score_text, score_title
from tlfeatures.names import counted

if TYPE_CHECKING:
    from pandas import DataFrame

Interval = tuple[float, float]


@dataclass(frozen=True)
class CurvePoint:
    """One size of the training set.

    Attributes
    ----------
    images_per_class : float
        Number of training images divided by the number of classes, mean over folds and draws.
    train_images : float
        Number of training images, mean over folds and draws.
    draws : int
        Number of random subsets of this size in each fold. The accuracy is their mean.
    accuracy : float
        Accuracy over the tested images of all folds together.
    interval : (float, float) or None
        95 % interval of the accuracy. It includes the choice of tested images. None with fewer than
        ten groups.
    """

    images_per_class: float
    train_images: float
    draws: int
    accuracy: float
    interval: Interval | None


@dataclass(frozen=True)
class Forecast:
    """Accuracy that the law predicts for more images, and the gain.

    Attributes
    ----------
    factor : int
        The forecast is for `factor` times the images.
    images_per_class : float
        Number of training images divided by the number of classes.
    accuracy : float
    interval : (float, float)
        95 % interval of the accuracy.
    gain : float
        Difference to the accuracy that the law has for all images.
    gain_interval : (float, float)
        95 % interval of the gain. It may begin below 0, because the law may be wrong.
    """

    factor: int
    images_per_class: float
    accuracy: float
    interval: Interval
    gain: float
    gain_interval: Interval


@dataclass(frozen=True)
class Backtest:
    """Test of the law: a fit to smaller sizes predicts the accuracy at the largest size.

    Attributes
    ----------
    fitted_to : float
        Largest size of the fit, in images per class.
    images_per_class : float
        Size that is predicted, in images per class.
    predicted, seen : float
        Predicted and measured accuracy at this size.
    interval : (float, float)
        95 % interval of the prediction.
    passed : bool
        Whether the measured accuracy is in the interval, or differs from the prediction by less
        than half of `WORTH`.
    """

    fitted_to: float
    images_per_class: float
    predicted: float
    interval: Interval
    seen: float
    passed: bool

    def missed(self, factor: float) -> float:
        """Return the expected error of the law at `factor` times the images.

        It is assumed that each doubling of the number of images adds the same error.
        """
        doublings = np.log2(factor) / np.log2(self.images_per_class / self.fitted_to)
        return float(abs(self.predicted - self.seen) * doublings)


@dataclass(frozen=True)
class LearningCurve:
    """A measured learning curve, its forecasts and the verdict.

    Attributes
    ----------
    file, embedding, weights, head : str
        Path of the embeddings file, and names of the embedding, the weights and the head.
    params : dict
        Parameters that were given for the head.
    images, folds : int
        Numbers of images and of folds.
    classes : list of str
        Names of the classes, sorted.
    points : tuple of CurvePoint
        Points, smallest size first. The last point is the whole training fold.
    law : dict of a, b, c, or None
        Parameters of the law. None if there are too few sizes to fit the law, or the accuracy is
        not better than chance.
    backtest : Backtest or None
        Test of the law; None if there is no law.
    forecasts : tuple of Forecast
        Empty if the law could not be fitted or has failed its backtest.
    verdict : {"help", "little", "unknown"}
        Whether more images would help.
    sentence : str
        The verdict in words.
    variants : int
        Number of variants of each training image that the head was also fitted on.
    sample : int or None
        Number of images of the sample that was used; None if all images were.
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
    sample: int | None = None

    def __repr__(self) -> str:
        """Describe it in one line."""
        last = self.points[-1]
        between = ""
        if last.interval is not None:
            between = f" [{last.interval[0]:.3f}, {last.interval[1]:.3f}]"
        return (
            f"<LearningCurve: {self._about()}, accuracy {last.accuracy:.3f}{between} at"
            f" {last.images_per_class:,.0f} images per class; more images: {self.verdict}>"
        )

    def _about(self) -> str:
        return f"{self.head} on {self.embedding}, {counted(self.images, 'image')}"

    def _repr_html_(self) -> str:
        """Show the verdict, the measured sizes and the forecasts in a notebook."""
        accuracy = score_title("accuracy")
        points = [
            (f"{p.images_per_class:,.0f}", *_with_bounds(p.accuracy, p.interval))
            for p in self.points
        ]
        # As on the page: a forecast that is not reliable would be believed.
        believed = () if self.verdict == "unknown" else self.forecasts
        forecasts = [
            (f"{f.images_per_class:,.0f} ({f.factor} times)", *_with_bounds(f.accuracy, f.interval))
            for f in believed
        ]
        return result_html(
            "LearningCurve",
            text_html(self.sentence),
            table_html(["images per class", accuracy, "95 % interval"], points, most=len(points)),
            table_html(["forecast for images per class", accuracy, "95 % interval"], forecasts),
            facts_html({"file": self.file, "folds": self.folds, "classes": len(self.classes)}),
            about=self._about(),
        )

    def to_frame(self) -> DataFrame:
        """Return a data frame with one row for each size, smallest first. It needs pandas.

        Returns
        -------
        DataFrame
            Columns `images_per_class`, `train_images`, `draws`, `accuracy`, and the bounds
            `accuracy_low` and `accuracy_high` of its 95 % interval, see `CurvePoint`; NaN without
            an interval.

        Raises
        ------
        ParameterError
            If pandas is not installed.
        """
        rows = [
            {**asdict(p), "accuracy_low": low, "accuracy_high": high}
            for p in self.points
            for low, high in [p.interval or (math.nan, math.nan)]
        ]
        return frame_of_rows(rows, dict.fromkeys(_COLUMNS, float))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> LearningCurve:
        """Create a learning curve from the result of `to_dict`, also if it was read as JSON."""
        parts = {
            "points": tuple(CurvePoint(**_paired(point)) for point in facts["points"]),
            "backtest": Backtest(**_paired(facts["backtest"])) if facts["backtest"] else None,
            "forecasts": tuple(Forecast(**_paired(forecast)) for forecast in facts["forecasts"]),
        }
        return cls(**{**facts, **parts})


_COLUMNS = (
    *("images_per_class", "train_images", "draws"),
    *("accuracy", "accuracy_low", "accuracy_high"),
)


def _with_bounds(accuracy: float, bounds: Interval | None) -> tuple[str | None, str]:
    return score_text("accuracy", accuracy), bounds_text("accuracy", bounds)


def _paired(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Convert intervals, which are lists in JSON, to tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()}
