"""Bootstrap resamples and the intervals made of them."""

import numpy as np
import pytest
from scipy import stats

from tests.unit.simulations import scored_case
from tlfeatures.errors import ParameterError
from tlfeatures.metrics.intervals import mean_share_interval, score_intervals, share_interval
from tlfeatures.metrics.resampling import resample_counts
from tlfeatures.metrics.scores import SCORES, pooled_scores


def no_table(n, k=2):
    return np.full((n, k), np.nan)


# ---- resamples


def test_a_resample_is_n_draws_with_replacement():
    counts = resample_counts(50, resamples=4000)
    assert counts.shape == (50, 4000)
    assert counts.dtype == np.uint8
    assert (counts.sum(axis=0) == 50).all()
    # Binomial(50, 1/50): mean 1, variance 0.98; bounds of 5 standard errors over the columns.
    assert np.abs(counts.mean(axis=1) - 1).max() < 0.08
    assert counts.var() == pytest.approx(0.98, rel=0.03)
    np.testing.assert_array_equal(counts, resample_counts(50, resamples=4000))
    assert (counts != resample_counts(50, resamples=4000, random_state=1)).any()


@pytest.mark.parametrize("kind", [str, int, object])
def test_a_group_is_drawn_whole(kind):
    groups = np.array([7, 3, 7, 7, 5, 3]).astype(kind)
    if kind is object:
        groups[4] = "not sortable beside numbers"
    counts = resample_counts(6, groups, resamples=500)
    np.testing.assert_array_equal(counts[[0, 0, 1]], counts[[2, 3, 5]])
    assert (counts[[0, 1, 4]].sum(axis=0) == 3).all()  # as many groups as there are
    assert counts[0].max() == 3


@pytest.mark.parametrize(
    ("arguments", "options"), [((0,), {}), ((5,), {"resamples": 0}), ((5, [1, 2]), {})]
)
def test_resamples_of_nothing_are_refused(arguments, options):
    with pytest.raises(ParameterError):
        resample_counts(*arguments, **options)


# ---- intervals


def expanded(values, units):
    """Percentiles at the levels of a t distribution, and with the variance's factor n / (n - 1)."""
    reach = stats.t.ppf(0.975, units - 1) * np.sqrt(units / (units - 1))
    return tuple(np.nanquantile(values, stats.norm.cdf([-reach, reach])))


def f1_interval(right, counts, groups=None, level=0.95):
    """Of images that are half of class 0, and predicted as the other class where wrong."""
    n = len(right)
    y = np.arange(n) % 2
    predicted = np.where(right, y, 1 - y)[None]
    found = score_intervals(y, predicted, no_table(n)[None], counts, groups, level=level)
    return found["f1_macro"]


@pytest.mark.parametrize(
    ("sets", "least", "most"),
    [
        # If 95 % of the intervals hold the truth, fewer do with a probability of 0.0005, and all
        # with one of 0.006. Of 68 % of them, at most 85 would.
        (100, 87, 99),
        pytest.param(1000, 925, 973, marks=pytest.mark.long),  # 0.0003 and 0.0001
    ],
)
def test_19_of_20_intervals_hold_the_true_score(sets, least, most):
    random = np.random.default_rng(0)
    inside = 0
    for seed in range(sets):
        right = random.random(200) < 0.8
        counts = resample_counts(200, resamples=400, random_state=seed)
        low, high = f1_interval(right, counts)
        inside += low <= 0.8 <= high
    assert least <= inside <= most


def test_a_lower_level_is_a_narrower_interval():
    right = np.random.default_rng(0).random(400) < 0.7
    counts = resample_counts(400, resamples=4000)
    widths = [np.ptp(f1_interval(right, counts, level=level)) for level in (0.6827, 0.9545)]
    error = np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert widths == pytest.approx([2 * error, 4 * error], rel=0.08)


def test_images_of_one_group_count_once():
    right = np.random.default_rng(0).random(150) < 0.8
    copies, groups = np.tile(right, 5), np.tile(np.arange(150), 5)
    images = np.ptp(f1_interval(right, resample_counts(150, resamples=3000)))
    counts = resample_counts(750, groups, resamples=3000, random_state=1)
    grouped = np.ptp(f1_interval(copies, counts, groups))
    torn = np.ptp(f1_interval(copies, resample_counts(750, resamples=3000, random_state=2)))
    assert grouped == pytest.approx(images, rel=0.08)
    assert torn == pytest.approx(images / np.sqrt(5), rel=0.08)


def test_repeats_are_averaged_and_are_not_more_images():
    y, first, table = scored_case(0)
    second, other = scored_case(0, steps=2)[1:]
    counts = resample_counts(80, resamples=200)
    once = score_intervals(y, first[None], table[None], counts)
    again = score_intervals(y, np.stack([first] * 3), np.stack([table] * 3), counts)
    both = score_intervals(y, np.stack([first, second]), np.stack([table, other]), counts)
    alone = [pooled_scores(y, first, table, counts), pooled_scores(y, second, other, counts)]
    for name in SCORES:
        assert again[name] == pytest.approx(once[name])
        values = (alone[0][name] + alone[1][name]) / 2
        if name not in ("accuracy", "balanced_accuracy"):
            assert both[name] == pytest.approx(expanded(values, 80))
            assert both[name] != pytest.approx(once[name])


def test_accuracies_have_the_intervals_of_shares():
    y, first, table = scored_case(0)
    second, other = scored_case(0, steps=2)[1:]
    groups = np.arange(80) // 5
    counts = resample_counts(80, groups, resamples=50)
    predicted, tables = np.stack([first, second]), np.stack([table, other])
    found = score_intervals(y, predicted, tables, counts, groups)
    right = (predicted == y).mean(axis=0)
    assert found["accuracy"] == share_interval(right, groups)
    assert found["balanced_accuracy"] == mean_share_interval(right, y, groups)


def test_scores_that_no_resample_changes_have_no_interval():
    y = np.array([0, 1] * 20)
    table = np.eye(2)[y] * 0.8 + 0.1
    counts = resample_counts(40, resamples=100)
    found = score_intervals(y, y[None], table[None], counts)
    assert tuple(found) == SCORES
    for name in SCORES[:2]:
        assert 0.85 < found[name][0] < 0.95
        assert found[name][1] == 1
    for name in SCORES[2:]:
        assert np.isnan(found[name]).all(), name


def test_without_probabilities_their_scores_have_no_interval():
    y, predicted, _ = scored_case(0)
    counts = resample_counts(80, resamples=100)
    found = score_intervals(y, predicted[None], no_table(80, 3)[None], counts)
    assert np.isnan([found["log_loss"], found["roc_auc"]]).all()
    assert np.isfinite([found[name] for name in SCORES[:3]]).all()


def test_resamples_that_lack_a_class_are_left_out():
    y, predicted, table = scored_case(0, k=2)
    y[:] = 0
    y[7] = 1
    counts = resample_counts(80, resamples=300)
    values = pooled_scores(y, predicted, table, counts)["roc_auc"]
    assert 0.25 < np.isnan(values).mean() < 0.5  # (1 - 1/80) ** 80 = 0.37
    found = score_intervals(y, predicted[None], table[None], counts)
    assert found["roc_auc"] == pytest.approx(expanded(values, 80))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"level": 0}, "level"),
        ({"level": 1.0}, "level"),
        ({"groups": np.zeros(79)}, "groups"),
        ({"predicted": np.zeros(80, int)}, "repeats"),
        ({"predicted": np.zeros((2, 80), int)}, "repeats"),
        ({"predicted": np.zeros((0, 80), int), "probabilities": np.zeros((0, 80, 3))}, "repeats"),
        ({"counts": np.ones((79, 3))}, "shapes"),
    ],
)
def test_intervals_of_what_does_not_fit_are_refused(changed, message):
    y, predicted, table = scored_case(0)
    fitting = {"predicted": predicted[None], "probabilities": table[None]}
    with pytest.raises(ParameterError, match=message):
        score_intervals(y, **{**fitting, "counts": np.ones((80, 3)), **changed})
