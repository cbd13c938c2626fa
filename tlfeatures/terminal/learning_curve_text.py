"""The result of `learning-curve` as text, with a plot of characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlfeatures.names import number, sample_words
from tlfeatures.terminal.shared_lines import RANDOM_WEIGHTS, SAMPLING, images_line, trained_on
from tlfeatures.terminal.tables import filled, interval, table

if TYPE_CHECKING:
    from tlfeatures.model_selection.learning_curve.results import (
        CurvePoint,
        Forecast,
        LearningCurve,
    )


def render_learning_curve(curve: LearningCurve) -> str:
    """The measured sizes with a plot, the forecast for more images, and the verdict."""
    points = curve.points
    lines = [
        images_line(curve.images, curve.classes),
        f"{curve.head} on {curve.embedding} of {curve.file}; {curve.folds}-fold cross-validation, "
        f"all sizes tested on the same images{trained_on(curve.variants)}",
    ]
    if curve.sample is not None:
        lines.append(f"measured on {sample_words(curve.sample, curve.images)} ({SAMPLING})")
    if curve.weights == "random":
        lines.append(RANDOM_WEIGHTS)
    low, high = min(_bounds(p)[0] for p in points), max(_bounds(p)[1] for p in points)
    ends = f"{low:.3f}{high:{_PLOT - 5}.3f}"
    header = ["images per class", "training images", "accuracy", "95 % interval", ends]
    lines += ["", table(header, [_point_row(point, low, high) for point in points])]
    if curve.verdict != "unknown":  # a number would be believed, whatever the text says
        header = ["forecast for", "accuracy", "95 % interval", "gain", "95 % interval"]
        lines += ["", table(header, [_forecast_row(each) for each in curve.forecasts])]
    if curve.backtest is not None and curve.backtest.passed:
        test = curve.backtest
        check = (
            f"Check: a curve fitted up to {test.fitted_to:,.0f} images per class predicts an "
            f"accuracy of {test.predicted:.3f} (95 % interval {test.interval[0]:.3f} to "
            f"{test.interval[1]:.3f}) at {test.images_per_class:,.0f} images per class. The "
            f"measured accuracy is {test.seen:.3f}. No forecast is possible for more than "
            f"{curve.forecasts[-1].factor} times the images."
        )
        lines += ["", filled(check)]
    return "\n".join([*lines, "", filled(curve.sentence)])


_PLOT = 24  # characters


def _bounds(point: CurvePoint) -> tuple[float, float]:
    """Return the ends of the point's line in the plot: its interval, or else the accuracy alone."""
    return point.interval or (point.accuracy, point.accuracy)


def _point_row(point: CurvePoint, low: float, high: float) -> list[str]:
    scale = (_PLOT - 1) / max(high - low, 1e-9)
    start, middle, end = (
        round((value - low) * scale)
        for value in (_bounds(point)[0], point.accuracy, _bounds(point)[1])
    )
    bar = " " * start + "-" * (end - start + 1)
    return [
        f"{point.images_per_class:,.0f}",
        f"{point.train_images:,.0f}",
        number(point.accuracy),
        interval(point.interval),
        (bar[:middle] + "o" + bar[middle + 1 :]).ljust(_PLOT),
    ]


def _forecast_row(forecast: Forecast) -> list[str]:
    return [
        f"{forecast.images_per_class:,.0f} per class ({forecast.factor} times)",
        number(forecast.accuracy),
        interval(forecast.interval),
        f"{forecast.gain:+.3f}",
        interval(forecast.gain_interval),
    ]
