"""The score of the best of several heads is corrected for having been chosen."""

import json
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.honesty.chosen import Draw
from benchmarks.honesty.chosen import compare as compare_with_truth
from tests.unit.data import dataset
from tests.unit.simulations import entries_of
from tlfeatures.benchmarking.comparison import Comparison
from tlfeatures.benchmarking.rank import compare
from tlfeatures.benchmarking.ranking_html import ranking_parts
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.bootstrap_scorer import BootstrapScorer, HeadPredictions
from tlfeatures.metrics.chosen import ChosenScore, chosen_scores, optimism_of_choice
from tlfeatures.metrics.scores import SCORES, score_text
from tlfeatures.names import number
from tlfeatures.terminal.ranking_text import ranking_lines

TIMES = 40  # draws of a simulation


def predictions(codes, accuracy, random, odds=True):
    """Make predictions of one repeat that are right on a share of the images, at random.

    Without probabilities (`odds`), they are scored faster.
    """
    right = random.random(len(codes)) < accuracy
    predicted = np.where(right, codes, 1 - codes)
    table = 0.1 + 0.3 * random.random((len(codes), 2))
    table[np.arange(len(codes)), predicted] += 1
    table /= table.sum(axis=1, keepdims=True)
    return [HeadPredictions(predicted, table if odds else np.full(table.shape, np.nan))]


def chosen(candidates, y, scoring="accuracy", groups=None):
    """Choose the best candidate, as `compare` does; return its scores and corrected scores."""
    classes = np.unique(y).tolist()
    scorer = BootstrapScorer.of(y, groups, np.ones(len(y), bool), classes, 0)
    scores = [scorer.score(repeats) for repeats in candidates]
    sign = -1 if scoring == "log_loss" else 1
    order = np.argsort([-sign * score[scoring]["score"] for score in scores], kind="stable")
    ranked = [scores[c] for c in order]
    return ranked[0], chosen_scores([candidates[c] for c in order], ranked, scoring, scorer)


def equal_heads(seed, heads=5, n=100, accuracy=0.7, odds=True):
    random = np.random.default_rng(seed)
    y = np.array(list("ab"))[random.integers(0, 2, n)]
    codes = np.searchsorted(["a", "b"], y)
    return [predictions(codes, accuracy, random, odds) for _ in range(heads)], y


@pytest.mark.parametrize("scoring", SCORES)
def test_one_candidate_keeps_its_score_and_interval(scoring):
    (candidate,), y = equal_heads(0, heads=1)
    own, corrected = chosen([candidate], y, scoring)
    for name in {scoring, "accuracy"}:
        assert corrected[name].score == corrected[name].own == own[name]["score"]
        assert corrected[name].interval == own[name]["interval"]
        assert (corrected[name].optimism, corrected[name].candidates) == (0, 1)


@pytest.mark.parametrize("scoring", SCORES)
def test_identical_candidates_give_no_optimism(scoring):
    (candidate,), y = equal_heads(0, heads=1)
    own, corrected = chosen([candidate] * 4, y, scoring)
    assert corrected[scoring].optimism == 0
    assert corrected[scoring].score == own[scoring]["score"]
    assert corrected[scoring].interval == own[scoring]["interval"]


@pytest.mark.parametrize("scoring", SCORES)
def test_the_best_of_equal_heads_is_corrected(scoring):
    """The correction goes towards worse scores, and the interval reaches farther."""
    for seed in range(5):
        own, corrected = chosen(*equal_heads(seed), scoring)
        score, worse = corrected[scoring], -1 if scoring == "log_loss" else 1
        assert worse * score.score < worse * own[scoring]["score"]
        assert score.optimism == pytest.approx(worse * (score.own - score.score))
        low, high = own[scoring]["interval"]
        if worse > 0:
            assert score.interval[0] <= low - score.optimism
            assert score.interval[1] == high
        else:
            assert score.interval[0] == low
            assert score.interval[1] >= high + score.optimism


@pytest.mark.slow
def test_the_corrected_accuracy_of_equal_heads_is_nearer_the_truth():
    """All heads are truly right on 70 %; the best of ten looks better on 100 images."""
    draws = [equal_heads(seed, heads=10, odds=False) for seed in range(TIMES)]
    found = [chosen(*one)[1]["accuracy"] for one in draws]
    own = np.mean([score.own for score in found]) - 0.7
    left = np.mean([score.score for score in found]) - 0.7
    assert own > 0.05
    assert 0 <= left < own / 2
    held = [low <= 0.7 <= high for low, high in (score.interval for score in found)]
    assert np.mean(held) > 0.9


def test_more_candidates_flatter_more():
    means = []
    for heads in (1, 2, 5, 20):
        draws = [equal_heads(seed, heads=heads, odds=False) for seed in range(10)]
        means.append(np.mean([chosen(*one)[1]["accuracy"].optimism for one in draws]))
    assert all(few < many for few, many in pairwise(means))


def test_a_head_that_is_clearly_the_best_is_not_corrected():
    random = np.random.default_rng(0)
    y = np.array(list("ab") * 200)
    codes = np.searchsorted(["a", "b"], y)
    heads = [predictions(codes, accuracy, random) for accuracy in (0.95, 0.6, 0.55)]
    assert chosen(heads, y)[1]["accuracy"].optimism < 1e-6


def test_groups_are_resampled_as_wholes():
    """Heads differ by whole groups of 10 images: chance is larger than for single images."""
    wide, narrow = [], []
    for seed in range(5):
        random = np.random.default_rng(seed)
        groups = np.repeat(np.arange(20), 10)
        y = np.array(list("ab"))[groups % 2]
        codes = np.searchsorted(["a", "b"], y)
        heads = []
        for _ in range(5):
            predicted = np.where((random.random(20) < 0.7)[groups], codes, 1 - codes)
            heads.append([HeadPredictions(predicted, np.full((200, 2), np.nan))])
        wide.append(chosen(heads, y, groups=groups)[1]["accuracy"].optimism)
        narrow.append(chosen(heads, y)[1]["accuracy"].optimism)
    assert np.mean(wide) > 2 * np.mean(narrow)


def test_repeats_of_an_image_stay_together():
    """The same predictions in three repeats are no more images than in one."""
    heads, y = equal_heads(0)
    once, thrice = chosen(heads, y)[1], chosen([head * 3 for head in heads], y)[1]
    assert thrice["accuracy"].score == pytest.approx(once["accuracy"].score)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 6).flatmap(
        lambda c: st.lists(
            st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=8, max_size=8),
            min_size=c,
            max_size=c,
        )
    ),
    st.randoms(use_true_random=False),
)
def test_optimism_is_never_negative(right, random):
    """Also with ties, as shares of right predictions over repeats have them."""
    right = np.array(right)
    counts = np.random.default_rng(random.randrange(2**32)).integers(0, 3, (8, 50)) + 1e-9
    own = right.mean(axis=1)
    right, own = right[np.argsort(-own)], np.sort(own)[::-1]
    bags = right @ counts / counts.sum(axis=0)
    assert optimism_of_choice(own, bags, bags.argmax(axis=0)) >= 0


def test_resamples_without_the_score_are_left_out():
    own, bags = [0.9, 0.8], [[np.nan, 0.8, 0.9], [np.nan, 0.9, 0.7]]
    assert optimism_of_choice(own, bags, [-1, 1, 0]) == pytest.approx((0.1 + 0.1) / 2)
    assert np.isnan(optimism_of_choice(own, np.full((2, 3), np.nan), [-1, -1, -1]))
    with pytest.raises(ParameterError, match="must have shapes"):
        optimism_of_choice(own, bags, [0, 1])


# ---- in a comparison


HEADS = {f"head {number}": 0.8 for number in range(6)}


def compared(scoring="accuracy", heads=HEADS, n=120, **fields):
    made, study, scorer = entries_of(dataset(n, **fields), heads)
    return compare(made, study, scoring, scorer)


def test_the_verdict_says_by_how_much_choosing_flattered():
    found = compared()
    score = found.chosen["accuracy"]
    low, high = score.interval
    name = found.ranking[0].label
    assert found.verdict[0].startswith(
        f"{name}, the best of 6 heads, labels about {100 * score.score:.0f} of 100 new images "
        f"like these 120 right (accuracy {100 * score.score:.1f} %, probably "
        f"{100 * low:.1f} to {100 * high:.1f} %: the 95 % interval); always predicting "
    )
    points = score.optimism_text(partial(score_text, "accuracy"))
    assert found.verdict[1] == (
        f"Report this accuracy, not its own {100 * score.own:.1f} % in the table: that is "
        f"{points} percentage points too high, because the head was chosen as the best on the "
        "same images."
    )
    assert score.optimism > 0.01


@given(st.floats(0.5, 0.99), st.floats(0, 0.05))
def test_the_optimism_is_the_difference_of_the_numbers_that_are_shown(own, optimism):
    score = ChosenScore("accuracy", own - optimism, None, own, optimism, 3, None)
    for write, digits in ((number, 3), (partial(score_text, "accuracy"), 1)):
        expected = round(float(write(own)) - float(write(own - optimism)), digits)
        assert score.optimism_text(write) == f"{expected:.{digits}f}"


def test_the_optimism_of_rounded_numbers():
    percent = partial(score_text, "accuracy")
    rounded = ChosenScore("accuracy", 0.8474, None, 0.8487, 0.0013, 3, None)
    assert rounded.optimism_text(percent) == "0.2"
    less_is_better = ChosenScore("log_loss", 0.5, None, 0.4, 0.1, 3, None)
    assert less_is_better.optimism_text(number) == "0.100"
    assert ChosenScore("accuracy", None, None, 0.5, None, 3, "").optimism_text(percent) == ""


def test_one_head_was_not_chosen():
    found = compared(heads={"a": 0.8})
    assert "best of" not in found.verdict[0] + repr(found) + "".join(ranking_lines(found))
    assert found.corrected("accuracy") is None


def test_the_accuracy_is_corrected_also_if_another_score_ranks():
    found = compared("log_loss")
    assert set(found.chosen) == {"log_loss", "accuracy"}
    assert found.chosen["log_loss"].score > found.chosen["log_loss"].own
    assert found.chosen["accuracy"].optimism > 0


def test_a_mean_of_folds_is_not_corrected_and_the_reason_is_given():
    made, study, scorer = entries_of(dataset(120), HEADS)
    for entry in made:
        scores = entry.facts["scores"]
        scores["neg_brier_score"] = {**scores["accuracy"], "interval": None, "reason": "folds"}
    found = compare(made, study, "neg_brier_score", scorer)
    assert [score.score for score in found.chosen.values()] == [None, None]
    assert "can't be corrected, because the heads were ranked by" in found.verdict[1]
    assert "a mean over folds" in "\n".join(ranking_lines(found))


def test_the_corrected_score_is_the_first_row_of_the_tables():
    found = compared()
    score = found.chosen["accuracy"]
    lines = ranking_lines(found)[0].splitlines()
    assert lines[2].split()[:4] == ["best", "of", "6,", "corrected"]
    assert f"{score.score:.3f}" in lines[2]
    assert f"{score.own:.3f}" in lines[3]
    assert any(
        f'best of 6, corrected</th><td class="tlf-short">{100 * score.score:.1f}' in part
        for part in ranking_parts(found)
    )


def test_results_json_keeps_the_corrected_scores():
    found = compared("roc_auc")
    facts = json.loads(json.dumps({**found.to_dict(), "folds": 5}, allow_nan=False))
    assert facts["chosen"]["roc_auc"]["candidates"] == 6
    assert Comparison.from_dict(facts) == found


@pytest.mark.slow
def test_heads_that_guess_are_no_better_than_guessing():
    """The labels say nothing, and there are ten heads to choose from: 95 of 100 are called so."""
    called = [_guessing(seed) for seed in range(TIMES // 2)]
    assert np.mean(called) >= 0.9


def _guessing(seed):
    made, study, scorer = entries_of(
        dataset(100), {f"head {number}": 0.5 for number in range(10)}, seed=seed
    )
    return compare(made, study, "accuracy", scorer).verdict[0].startswith("No better than guessing")


def test_few_images_that_are_all_right_are_better_than_guessing():
    """There is no least number of images: the interval alone decides."""
    found = compared(heads={"a": 1.0}, n=12)
    assert found.is_surely_better(found.ranking[0])
    assert "the head is surely better than that" in found.verdict[0]


def test_a_dummy_that_the_test_does_not_tell_apart_is_named():
    """The interval says better, the test does not: the sentence has both, and no contradiction."""
    found = compared(heads={"a": 0.8, "b": 0.7, "dummy": 0.5}, n=40)
    assert found.interval_of(found.ranking[0], "accuracy")[0] > 0.5
    assert not found.is_surely_better(found.ranking[0])
    assert "finds no significant difference between" in found.verdict[0]
    assert "No better than guessing" not in found.verdict[0]


# ---- against the truth


def simulated_draws(count, n=60, others=400):
    """Make draws of ten heads that are right on the same share of all images.

    Images differ in how hard they are, so that heads agree more than by chance, as real ones do.
    """
    for seed in range(count):
        random = np.random.default_rng(seed)
        hardness = random.normal(size=n)
        y = random.integers(0, 2, n)
        right = hardness + random.normal(size=(10, n)) > -1
        yield Draw(
            y, np.where(right, y, 1 - y), np.arange(n), np.full(10, 0.7602), others=10 * others
        )


@pytest.mark.slow
def test_the_corrected_accuracy_agrees_with_the_truth():
    """The short form of the simulation; the long one has real images."""
    ((own, corrected),) = compare_with_truth(list(simulated_draws(TIMES)), [10])
    assert own.bias > 0.04
    assert abs(corrected.bias) < own.bias / 2
    assert corrected.coverage_of_truth >= 0.9
