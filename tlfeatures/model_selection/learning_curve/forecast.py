"""Forecasts of a learning curve, the backtest that comes before them, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlfeatures.metrics.scores import Floats
from tlfeatures.model_selection.learning_curve.points import Measured
from tlfeatures.model_selection.learning_curve.power_law import Law, fit_law
from tlfeatures.model_selection.learning_curve.results import (
    Backtest,
    CurvePoint,
    Forecast,
    Interval,
)
from tlfeatures.model_selection.learning_curve.subsets import OCTAVES, ROUNDING

WORTH = 0.01  # smallest gain in accuracy that is worth more images
SURE = 0.9  # share of resamples that must agree for a verdict
FACTORS = (2, 4)  # times the images; larger ones were never tested
_UNKNOWN = "It can't be said whether more images would help."
_SIZES, _BACKTEST_SIZES = 5, 4  # least number of sizes for a fit, and for the backtest's fit


def _last_octaves(images: Floats, top: float) -> NDArray[np.bool_]:
    """Select the sizes in the last octaves (factors of 2) up to `top`."""
    chosen: NDArray[np.bool_] = (images <= top) & (images * ROUNDING >= top / 2**OCTAVES)
    return chosen


@dataclass(frozen=True)
class Judgement:
    """The attributes of `LearningCurve` that are computed from the points."""

    law: dict[str, float] | None
    backtest: Backtest | None
    forecasts: tuple[Forecast, ...]
    verdict: str
    sentence: str


def judge(measured: Measured, seed: int | None) -> Judgement:
    """Fit the law, test it on the largest size, and forecast the accuracy with more images.

    Parameters
    ----------
    measured : Measured
        The measured points and their resamples.
    seed : int or None
        Seed of the noise that represents the choice of training images.
    """
    if measured.few_groups is not None:
        return Judgement(None, None, (), "unknown", f"{_UNKNOWN} Reason: {measured.few_groups}.")
    images = np.array([point.images_per_class for point in measured.points])
    used, held = _last_octaves(images, images[-1]), _backtest_sizes(images)
    if used.sum() < _SIZES or held.sum() < _BACKTEST_SIZES:
        return Judgement(None, None, (), "unknown", _too_few_sizes(images, used))
    seen = np.array([point.accuracy for point in measured.points])
    whole = measured.points[-1]
    if whole.interval is not None and whole.interval[0] <= measured.chance:
        return Judgement(None, None, (), "unknown", _at_chance(seen[-1], measured.chance))
    noise = np.random.default_rng(seed).normal(size=measured.resampled.shape)
    resampled = measured.resampled + noise * measured.spread[:, None]
    curves, sizes = np.column_stack([seen, resampled]), images / images[-1]
    law = fit_law(sizes[used], curves[used], measured.weights[used])
    half = fit_law(sizes[held], curves[held], measured.weights[held])
    backtest = _backtest(half, curves[-1], images[held][-1], images[-1])
    if not backtest.passed:
        return Judgement(law.first(images[-1]), backtest, (), "unknown", _failed_backtest(backtest))
    forecasts = tuple(_forecast(law, factor, whole, backtest.missed(factor)) for factor in FACTORS)
    verdict = choose_verdict(law.at(FACTORS[0]) - law.at(1), forecasts[0].gain_interval)
    sentence = _forecast_sentence(verdict, forecasts[0])
    return Judgement(law.first(images[-1]), backtest, forecasts, verdict, sentence)


def _backtest_sizes(images: Floats) -> NDArray[np.bool_]:
    """Select sizes up to half of the largest; if they are too few, all sizes but the largest."""
    below = images[images <= ROUNDING * images[-1] / 2]
    chosen = _last_octaves(images, below[-1]) if len(below) else np.zeros(len(images), bool)
    if chosen.sum() >= _BACKTEST_SIZES or len(images) < 2:
        return chosen
    return _last_octaves(images, images[-2])


def _backtest(half: Law, seen: Floats, fitted_to: float, images: float) -> Backtest:
    """Compare the prediction for the largest size with its measured accuracy.

    Both are computed on the same resamples, because chance affects both in the same way.
    """
    misses = half.at(1) - seen
    high, low = np.quantile(misses[1:] - misses[0], [0.025, 0.975])
    predicted = float(half.at(1)[0])
    interval = max(0.0, float(predicted - low)), min(1.0, float(predicted - high))
    passed = interval[0] <= seen[0] <= interval[1] or abs(misses[0]) < WORTH / 2
    return Backtest(
        float(fitted_to), float(images), predicted, interval, float(seen[0]), bool(passed)
    )


def _forecast(law: Law, factor: int, whole: CurvePoint, missed: float) -> Forecast:
    future = law.at(factor)
    gain = future - law.at(1)
    low, high = _widened(future, missed)
    interval = max(low, 0.0), min(high, 1.0)
    if whole.accuracy == 1 and whole.interval is not None:
        # No resample has an error, but other images may have errors.
        interval = min(interval[0], whole.interval[0]), 1.0
    return Forecast(
        factor=factor,
        images_per_class=factor * whole.images_per_class,
        accuracy=float(future[0]),
        interval=interval,
        gain=float(gain[0]),
        gain_interval=_widened(gain, missed),
    )


def _widened(values: Floats, missed: float) -> Interval:
    """Return the 95 % interval around the first value, widened by the error of the law."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    more = 1.96 * missed
    below, above = max(values[0] - low, 0.0), max(high - values[0], 0.0)
    return float(values[0] - np.hypot(below, more)), float(values[0] + np.hypot(above, more))


def choose_verdict(gain: Floats, interval: Interval) -> str:
    """Return "help", "little" or "unknown".

    Parameters
    ----------
    gain : ndarray of shape (1 + B,)
        Gain of the measured curve, and of its B resamples. Most resamples must agree.
    interval : (float, float)
        95 % interval of the gain. It must not contradict the verdict.
    """
    share = float((gain[1:] >= WORTH).mean())
    if share >= SURE and interval[0] > 0:
        return "help"
    return "little" if share <= 1 - SURE and interval[1] < 2 * WORTH else "unknown"


def _forecast_sentence(verdict: str, doubled: Forecast) -> str:
    """Write the verdict on twice the images."""
    many = f"twice the images (about {doubled.images_per_class:,.0f} per class)"
    gain = _span(doubled.gain_interval)
    if verdict == "unknown":
        return (
            f"{_UNKNOWN} With {many}, the gain in accuracy has the 95 % interval {gain}. A gain of "
            f"{WORTH} or more would be worth more images."
        )
    words = {"help": "More images would probably help.", "little": "More images would help little."}
    return (
        f"{words[verdict]} With {many}, the forecast accuracy is {doubled.accuracy:.3f} (95 % "
        f"interval {_span(doubled.interval)}). This is a gain of {doubled.gain:.3f} (95 % interval "
        f"{gain})."
    )


def _too_few_sizes(images: Floats, used: NDArray[np.bool_]) -> str:
    """Explain that there are too few sizes for a forecast."""
    return (
        f"{_UNKNOWN} {used.sum()} sizes from {images[used][0]:,.0f} to {images[-1]:,.0f} images "
        f"per class are too few to fit a curve and to check it; at least {_SIZES} sizes are needed."
    )


def _at_chance(seen: float, chance: float) -> str:
    """Explain that a curve that is not better than chance has no forecast."""
    return (
        f"{_UNKNOWN} The accuracy of {seen:.3f} is not surely better than always predicting the "
        f"largest class ({chance:.3f}). With more images, such a curve may rise or stay as it is."
    )


def _failed_backtest(backtest: Backtest) -> str:
    """Explain that the law has failed its backtest."""
    return (
        f"{_UNKNOWN} The check of the forecast failed: a curve fitted up to "
        f"{backtest.fitted_to:,.0f} images per class predicts an accuracy of "
        f"{backtest.predicted:.3f} (95 % interval {_span(backtest.interval)}) at "
        f"{backtest.images_per_class:,.0f} images per class, but the measured accuracy is "
        f"{backtest.seen:.3f}."
    )


def _span(interval: Interval) -> str:
    low, high = (round(value, 3) + 0.0 for value in interval)  # + 0.0: not -0.000
    return f"{low:.3f} to {high:.3f}"
