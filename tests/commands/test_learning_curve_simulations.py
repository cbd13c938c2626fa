"""Learning curves of simulated classes: what they say, against the truth that is known."""

import numpy as np
import pytest

from tests.unit.simulations import gaussian_classes
from tlfeatures.heads.table import make_head
from tlfeatures.model_selection.learning_curve.measure import learning_curve


def true_accuracy(counts, fits, **fields) -> float:
    """Mean accuracy of heads fitted on so many images, each tested on many others."""
    new = gaussian_classes((1000,) * len(counts), seed=1000, **fields)
    fitted = (
        make_head("logreg").fit(data.X, data.y)
        for data in (gaussian_classes(counts, seed=100 + fit, **fields) for fit in range(fits))
    )
    return float(np.mean([head.score(new.X, new.y) for head in fitted]))


@pytest.mark.parametrize(
    ("seeds", "fits", "cv"),
    [
        ([2], 4, 3),
        pytest.param(range(12), 12, 5, marks=pytest.mark.long),
    ],
)
@pytest.mark.slow
def test_doubling_is_forecast(seeds, fits, cv):
    """Twice the images are simulated, too; the short form has a set for which help is foreseen."""
    fields = {"d": 200, "signal": 1.6}
    now, doubled = (true_accuracy((count,) * 2, fits, **fields) for count in (200, 400))
    assert doubled - now > 0.015  # else this would test nothing
    images = 200 * cv // (cv - 1)  # of which each fold trains on 200 a class
    curves = [
        learning_curve(gaussian_classes((images,) * 2, seed=seed, **fields), cv=cv)
        for seed in seeds
    ]
    made = [curve.forecasts[0] for curve in curves if curve.forecasts]
    # If each of 12 intervals of 95 % misses the truth in 1 of 20 cases, 4 or more miss it with a
    # probability of 0.002; the only one of the short form must not.
    missing = 3 if len(seeds) > 1 else 0
    assert len(made) >= len(seeds) - missing
    inside = sum(each.interval[0] <= doubled <= each.interval[1] for each in made)
    assert inside >= len(seeds) - missing
    gains = np.array([each.gain_interval for each in made])
    inside = (gains[:, 0] <= doubled - now) & (doubled - now <= gains[:, 1])
    assert inside.sum() >= len(seeds) - missing
    assert np.mean([each.gain for each in made]) == pytest.approx(doubled - now, abs=0.015)
    assert np.mean(gains[:, 1] - gains[:, 0]) < 0.1
    verdicts = [curve.verdict for curve in curves]
    assert "help" in verdicts
    assert "little" not in verdicts


def test_where_every_image_is_right_more_help_little_and_certainty_is_not_claimed():
    curve = learning_curve(gaussian_classes((150, 150), d=5, signal=12), "lda", cv=3)
    assert curve.verdict == "little"
    assert curve.sentence.startswith("More images would help little.")
    assert curve.points[-1].accuracy == 1
    doubled = curve.forecasts[0]
    assert doubled.gain_interval[1] < 0.005
    assert 0.97 < doubled.interval[0] < 0.995  # 300 right ones leave room for 3 errors in 300


def test_random_labels_are_flat_at_chance_and_nothing_is_forecast():
    curve = learning_curve(gaussian_classes((100, 100), signal=0), "lda", cv=3)
    assert all(abs(point.accuracy - 0.5) < 0.12 for point in curve.points)
    assert curve.points[-1].interval[0] <= 0.5 <= curve.points[-1].interval[1]
    assert (curve.verdict, curve.forecasts) == ("unknown", ())
    assert "always predicting the largest class (0.500)" in curve.sentence


def test_naming_only_the_large_class_is_chance_too():
    data = gaussian_classes((150, 15), d=40, signal=0.5)
    curve = learning_curve(data, params={"C": 1e-5}, cv=3)
    assert curve.points[-1].accuracy > 0.85
    assert curve.verdict == "unknown"
    assert "largest class (0.909)" in curve.sentence


def test_few_images_say_so():
    curve = learning_curve(gaussian_classes((12, 12), d=5, signal=4), "lda")
    assert (curve.verdict, curve.law, curve.forecasts) == ("unknown", None, ())
    assert "too few" in curve.sentence
    assert "forecast accuracy" not in curve.sentence
