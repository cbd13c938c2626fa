"""Thresholds for a target: chosen so that new images reach it, scored on images that chose none."""

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from benchmarks.honesty.point import clouds, simulate
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.intervals import wilson
from tlfeatures.metrics.operating_points import (
    choose_threshold,
    cross_fitted,
    point_scores,
)
from tlfeatures.metrics.targets import Target, check_enough

NAMED = ["recall=0.9", "specificity=0.9", "precision=0.7", "cost=5:1", "cost=1:5"]


def draw(n=200, seed=0, signal=1.5):
    """Positive images, and probabilities that are higher for them."""
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    return positive, 1 / (1 + np.exp(-random.normal(size=n) - signal * (positive - 0.5)))


def choose(text, positive, probabilities, groups=None):
    return choose_threshold(Target.parse(text), positive, probabilities, groups)


@pytest.mark.parametrize(
    ("text", "name", "value", "fewest"),
    [
        ("recall=0.95", "recall", 0.95, 19),
        (" recall = 0.9 ", "recall", 0.9, 9),
        ("specificity=0.99", "specificity", 0.99, 99),
        ("precision=0.9999", "precision", 0.9999, 9999),
        ("recall=0.5", "recall", 0.5, 1),
        ("cost=10:1", "cost", 10, 1),
        ("cost=1:4", "cost", 0.25, 1),
    ],
)
def test_a_target(text, name, value, fewest):
    target = Target.parse(text)
    assert (target.name, target.value, target.fewest) == (name, value, fewest)
    assert Target.parse(target.text) == target


@pytest.mark.parametrize(
    "text",
    [
        *("", "recall", "recall=", "recall=0", "recall=1", "recall=1.5", "recall=-1", "recall=nan"),
        *("recall=95%", "recall=0.9:1", "accuracy=0.9", "cost=10", "cost=0:1", "cost=1:0"),
        *("cost=inf:1", "cost=1:2:3", "cost=a:b", "Recall=0.9", None, 0.95),
    ],
)
def test_what_is_no_target(text):
    with pytest.raises(ParameterError, match=r"expected recall=0\.95, .* or cost=10:1"):
        Target.parse(text)


def test_recall_is_the_quantile_that_new_images_reach_on_average():
    """Of 19 images none may be missed; of 39, one: (1 + 1) / (39 + 1) = 0.05."""
    for n, missed in ((19, 0), (38, 0), (39, 1), (59, 2)):
        probabilities = np.linspace(0.1, 0.9, 2 * n)
        positive = np.arange(2 * n) % 2 == 1
        threshold = choose("recall=0.95", positive, probabilities)
        assert (probabilities[positive] < threshold).sum() == missed


def test_no_image_is_missed_without_need():
    positive, apart = np.arange(60) >= 20, np.linspace(0, 1, 60)
    for text in ("recall=0.9", "specificity=0.9", "precision=0.9"):
        assert ((apart >= choose(text, positive, apart)) == positive).all()


@pytest.mark.parametrize("text", ["recall=0.8", "recall=0.95", "specificity=0.8", "precision=0.7"])
def test_it_is_the_best_threshold_of_those_that_reach_the_target(text):
    """Compared with all thresholds, one after the other."""
    positive, probabilities = draw()
    target = Target.parse(text)
    n, wrong = len(positive), []
    for threshold in np.unique(probabilities):
        labelled = probabilities >= threshold
        hits, alarms = (labelled & positive).sum(), (labelled & ~positive).sum()
        careful = {
            "recall": 1 - (positive.sum() - hits + 1) / (positive.sum() + 1),
            "specificity": 1 - (alarms + 1) / (n - positive.sum() + 1),
            "precision": hits / (hits + alarms + 1),
        }[target.name]
        if careful >= target.value:
            order = (alarms, -hits) if target.name == "recall" else (-hits, alarms)
            wrong.append((order, labelled.tolist()))
    assert (probabilities >= choose(text, positive, probabilities)).tolist() == min(wrong)[1]


@pytest.mark.parametrize("cost", ["10:1", "1:1", "1:3"])
def test_no_threshold_is_cheaper(cost):
    positive, probabilities = draw()
    miss, alarm = map(int, cost.split(":"))

    def total(threshold):
        labelled = probabilities >= threshold
        return miss * (positive & ~labelled).sum() + alarm * (~positive & labelled).sum()

    threshold = choose(f"cost={cost}", positive, probabilities)
    assert total(threshold) == min(map(total, np.unique(probabilities)))


def test_of_equally_cheap_thresholds_the_one_for_calibrated_probabilities():
    """The classes are apart, so that every threshold between them costs nothing."""
    positive = np.array([False, True, False, False, True])
    between = np.array([0.1, 0.9, 0.15, 0.2, 0.95])
    assert choose("cost=1:1", positive, between) == pytest.approx(0.55)


def test_equal_probabilities_are_on_one_side():
    positive = np.repeat([True, False], 30)
    probabilities = np.tile([0.2, 0.8, 0.8], 20)
    with pytest.raises(ParameterError, match=r"no threshold reaches precision=0\.9"):
        choose("precision=0.9", positive, probabilities)
    assert choose("recall=0.9", positive, probabilities) == 0
    assert choose("recall=0.6", positive, probabilities) == pytest.approx(0.5)


def test_one_probability_for_all_images():
    positive = np.repeat([True, False], 30)
    same = np.full(60, 0.5)
    assert choose("recall=0.9", positive, same) == 0
    for text in ("specificity=0.9", "precision=0.9"):
        with pytest.raises(ParameterError, match="no threshold reaches"):
            choose(text, positive, same)


def test_neighbouring_numbers_have_a_threshold_between_them():
    low = 0.3
    high = np.nextafter(low, 1)
    positive = np.repeat([False, True], 30)
    threshold = choose("recall=0.9", positive, np.repeat([low, high], 30))
    assert low < threshold <= high


def test_a_probability_that_is_missing():
    positive, probabilities = draw()
    probabilities[3] = np.nan
    with pytest.raises(ParameterError, match="gives no probability for some images"):
        choose("recall=0.9", positive, probabilities)


def test_a_precision_out_of_reach_names_the_best():
    positive, probabilities = draw(signal=0.2)
    with pytest.raises(ParameterError, match=r"the highest precision .* is 0\.\d+, at recall 0\."):
        choose("precision=0.95", positive, probabilities)


def test_a_class_that_is_not_worth_a_label():
    with pytest.raises(ParameterError, match="cheapest to label no image with the class"):
        choose("cost=1:1000", np.repeat([True, False], 30), np.tile([0.2, 0.8], 30))


def test_a_group_counts_once():
    positive, probabilities = draw(400)
    groups = np.arange(400) // 8
    alone = choose("recall=0.9", positive, probabilities)
    assert choose("recall=0.9", positive, probabilities, np.arange(400)) == alone
    assert choose("recall=0.9", positive, probabilities, groups) < alone


@pytest.mark.parametrize(
    ("text", "groups", "said"),
    [
        ("recall=0.95", None, "needs 19 images of bee that are tested, and there are 18"),
        ("recall=0.9", 2, "needs 9 groups of images of bee that are tested, and there are 2"),
        ("specificity=0.99", None, "needs 99 images of other classes than bee .* there are 42"),
        ("precision=0.95", None, "needs 19 images of bee"),
    ],
)
def test_too_few_images(text, groups, said):
    positive = np.arange(60) < 18
    of = None if groups is None else np.arange(60) % groups
    with pytest.raises(ParameterError, match=said):
        check_enough(Target.parse(text), positive, of, "bee")


def test_enough_images():
    check_enough(Target.parse("recall=0.95"), np.arange(60) < 19, None, "bee")


def test_the_scores_are_those_of_scikit_learn():
    positive, probabilities = draw()
    decided = probabilities >= 0.6
    scores = point_scores(positive, decided)
    assert scores.recall["score"] == pytest.approx(recall_score(positive, decided))
    assert scores.precision["score"] == pytest.approx(precision_score(positive, decided))
    specificity = recall_score(positive, decided, pos_label=False)
    assert scores.specificity["score"] == pytest.approx(specificity)
    expected = wilson(scores.recall["score"], positive.sum()).tolist()
    assert scores.recall["interval"] == expected
    grouped = point_scores(positive, decided, np.arange(200) // 10).recall["interval"]
    assert grouped[0] < expected[0]
    assert grouped[1] > expected[1]


def test_no_image_with_the_label_has_no_precision():
    positive = np.repeat([True, False], 5)
    scores = point_scores(positive, np.zeros(10, bool))
    assert scores.precision["score"] is None
    assert scores.precision["reason"] == "no image is labelled with the class"
    assert scores.recall["score"] == 0


@pytest.mark.parametrize("text", NAMED)
def test_no_image_chooses_its_own_threshold(text):
    """Another probability of an image changes the decisions of other folds only."""
    positive, probabilities = draw()
    fold, target = np.arange(200) % 5, Target.parse(text)
    before = cross_fitted(target, positive, probabilities, fold)
    for number in range(5):
        here = fold == number
        turned = np.where(here, ~positive, positive)
        after = cross_fitted(target, turned, probabilities, fold)
        assert (after == before)[here].all()


def test_scores_of_the_images_that_chose_the_threshold_would_be_too_high():
    """So they are not printed. The images are noise: no threshold is better on new images."""
    gains, target = [], Target.parse("cost=1:1")
    for seed in range(30):
        positive, probabilities = draw(60, seed, signal=0)
        positive = ~positive  # most images, so that it is worth a label
        own = probabilities >= choose_threshold(target, positive, probabilities)
        others = cross_fitted(target, positive, probabilities, np.arange(60) % 5)
        gains.append((own == positive).mean() - (others == positive).mean())
    assert np.mean(gains) > 0.03


@pytest.mark.parametrize("draws", [12, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("groups", [0, 600])
def test_new_images_reach_the_target_on_average(draws, groups):
    """The head is fitted again on all images, and tested on images that it has never seen."""
    targets = ("recall=0.95", "recall=0.9", "specificity=0.9")
    found = simulate(clouds(groups=groups), "logreg", 240, "bee", targets, draws)
    slack = 0.005 if draws > 100 else 0.02
    for text, outcome in found.items():
        value = Target.parse(text).value
        assert outcome.true.mean() >= value - slack
        assert outcome.true.mean() <= value + 0.04
        assert abs(outcome.printed.mean() - outcome.true.mean()) <= 0.03
        assert (outcome.low <= outcome.true).mean() >= (0.9 if draws > 100 else 0.8)
