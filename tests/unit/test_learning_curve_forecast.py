"""Forecasts of learning curves: the law, its fit, and what is said of a measured curve."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from tlfeatures.model_selection.learning_curve.forecast import choose_verdict, judge
from tlfeatures.model_selection.learning_curve.points import Measured
from tlfeatures.model_selection.learning_curve.power_law import fit_law
from tlfeatures.model_selection.learning_curve.results import CurvePoint

# ---- what is said of a measured curve


def measured(accuracy, spread=0.002) -> Measured:
    """Make the measurement of 7 sizes, 10 to 80 images a class, without a dataset."""
    images = 10 * 2 ** np.arange(0, 3.1, 0.5)
    seen = np.array([accuracy(size) for size in images])
    points = tuple(
        CurvePoint(size, 2 * size, 3, value, (value - 0.01, value + 0.01))
        for size, value in zip(images, seen, strict=True)
    )
    resampled = seen[:, None] + np.random.default_rng(0).normal(size=(1, 500)) * 0.005
    return Measured(points, resampled, np.full(7, spread), np.full(7, 1e4), 0.5)


def test_a_law_that_fails_its_backtest_gives_no_number():
    good = judge(measured(lambda size: 0.95 - size**-0.5), 0)
    assert good.backtest.passed
    assert good.backtest.predicted == pytest.approx(good.backtest.seen, abs=0.002)
    assert good.forecasts[0].accuracy == pytest.approx(0.95 - 160**-0.5, abs=0.003)
    assert good.verdict == "help"
    bad = judge(measured(lambda size: 0.7 if size < 50 else 0.9), 0)
    assert not bad.backtest.passed
    assert not bad.backtest.interval[0] <= bad.backtest.seen <= bad.backtest.interval[1]
    assert (bad.verdict, bad.forecasts) == ("unknown", ())
    assert "predicts an accuracy of 0.700" in bad.sentence
    assert "the measured accuracy is 0.900" in bad.sentence


def test_a_wide_interval_is_no_verdict():
    judged = judge(measured(lambda size: 0.95 - size**-0.5, spread=0.03), 0)
    assert judged.verdict == "unknown"
    assert "It can't be said" in judged.sentence
    low, high = judged.forecasts[0].gain_interval
    assert high - low > 0.02


def test_what_the_law_missed_in_its_backtest_widens_the_intervals():
    # The whole is 0.003 above the law: passed, but the law errs by as much at each doubling.
    def bent(size):
        return 0.95 - size**-0.5 + 0.004 * (size > 75)

    exact = judge(measured(lambda size: 0.95 - size**-0.5), 0)
    judged = judge(measured(bent), 0)
    assert judged.backtest.passed
    missed = abs(judged.backtest.predicted - judged.backtest.seen)
    assert missed > 0.003
    assert judged.backtest.missed(2) == pytest.approx(missed, rel=0.01)
    assert judged.backtest.missed(4) == pytest.approx(2 * missed, rel=0.01)
    for forecast, straight in zip(judged.forecasts, exact.forecasts, strict=True):
        reach = 1.96 * judged.backtest.missed(forecast.factor)
        low, high = forecast.gain_interval
        assert low <= forecast.gain - reach
        assert high >= forecast.gain + reach
        low, high = straight.gain_interval
        assert high - low < 4 * reach


@pytest.mark.parametrize(
    ("gain", "interval", "verdict"),
    [
        (0.03, (0.001, 0.06), "help"),
        (0.03, (-0.001, 0.06), "unknown"),
        (0.005, (-0.01, 0.019), "little"),
        (0.005, (-0.01, 0.021), "unknown"),
    ],
)
def test_no_verdict_stands_beside_an_interval_that_contradicts_it(gain, interval, verdict):
    assert choose_verdict(np.full(100, gain), interval) == verdict


# ---- the law


@pytest.mark.parametrize("law", [(0.9, 0.8, 0.5), (0.99, 0.3, 1.5), (0.7, 0.2, 0.1)])
def test_the_fit_finds_the_law(law):
    sizes = np.array([0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0])
    a, b, c = law
    b *= 0.125**c  # within 0 to 1
    curve = a - b * sizes**-c
    fitted = fit_law(sizes, curve[:, None], np.ones(7))
    assert fitted.at(2)[0] == pytest.approx(a - b * 2.0**-c, abs=5e-4)
    assert fitted.at(4)[0] == pytest.approx(a - b * 4.0**-c, abs=2e-3)


def test_the_fit_stays_within_its_bounds():
    sizes = np.geomspace(0.1, 1, 8)
    curves = np.column_stack([np.linspace(0.9, 0.5, 8), np.linspace(0.1, 1, 8), np.ones(8)])
    fitted = fit_law(sizes, curves, np.arange(1.0, 9))
    assert (fitted.a <= 1).all()
    assert (fitted.b >= 0).all()
    assert fitted.b[[0, 2]] == pytest.approx(0)
    assert fitted.at(4).max() <= 1


@pytest.mark.parametrize(("top", "drop"), [(0.9, 0.1), (1.02, 0.05)])  # the second ends at a = 1
def test_the_fit_is_as_good_as_scipys(top, drop):
    random = np.random.default_rng(0)
    sizes, weights = np.geomspace(0.125, 1, 7), random.uniform(1, 5, 7)
    curve = top - drop * sizes**-0.6 + random.normal(size=7) * 0.01
    ours = fit_law(sizes, curve[:, None], weights)
    assert (ours.a[0] == pytest.approx(1)) == (top > 1)

    def loss(values):
        return weights @ (values - curve) ** 2

    found, _ = curve_fit(
        lambda x, a, b, c: a - b * x**-c,
        sizes,
        curve,
        p0=[0.8, 0.1, 0.5],
        sigma=weights**-0.5,
        bounds=([0, 0, 0.02], [1, 10, 2]),
    )
    mine = loss(np.array([ours.at(size)[0] for size in sizes]))
    assert mine <= loss(found[0] - found[1] * sizes ** -found[2]) * 1.005
