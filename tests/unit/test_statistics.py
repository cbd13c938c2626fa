import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

from tlfeatures import statistics
from tlfeatures.errors import ParameterError
from tlfeatures.statistics import (
    bootstrap_intervals,
    corrected_t_test,
    detectable_difference,
    holm,
    pooled_scores,
    resample_counts,
)

SCORES = ["accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc"]


def sklearn_scores(y, predicted, table, weights=None) -> dict[str, float]:
    one_hot = y[:, None] == np.arange(table.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class that is predicted and not in y
        return {
            "accuracy": accuracy_score(y, predicted, sample_weight=weights),
            "balanced_accuracy": balanced_accuracy_score(y, predicted, sample_weight=weights),
            "f1_macro": f1_score(
                y, predicted, average="macro", sample_weight=weights, zero_division=0
            ),
            "log_loss": log_loss(y, table, labels=range(table.shape[1]), sample_weight=weights),
            "roc_auc": roc_auc_score(one_hot, table, average="macro", sample_weight=weights)
            if one_hot.any(axis=0).all() and not one_hot.all(axis=0).any()
            else np.nan,
        }


def case(seed, n=80, k=3, steps=None):
    """Predictions somewhat better than chance; with few steps, most probabilities are tied."""
    random = np.random.default_rng(seed)
    y = random.integers(0, k, n)
    raw = random.random((n, k)) + 0.5 * (y[:, None] == np.arange(k))
    if steps:
        raw = np.ceil(raw * steps)
    predicted = np.where(random.random(n) < 0.9, raw.argmax(axis=1), random.integers(0, k, n))
    return y, predicted, raw / raw.sum(axis=1, keepdims=True)


def no_table(n, k=2):
    return np.full((n, k), np.nan)


# ---- scores


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("steps", [None, 2])
def test_scores_are_scikit_learns_with_sample_weights(k, steps):
    y, predicted, table = case(k, k=k, steps=steps)
    weights = np.random.default_rng(1).exponential(size=(80, 4))
    scores = pooled_scores(y, predicted, table, weights)
    assert list(scores) == SCORES
    for column in range(4):
        expected = sklearn_scores(y, predicted, table, weights[:, column])
        for name in SCORES:
            assert scores[name][column] == pytest.approx(expected[name], rel=1e-10), name


@st.composite
def small_cases(draw):
    n, k = draw(st.integers(2, 12)), draw(st.integers(2, 4))

    def numbers(most, *shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(st.integers(0, most), min_size=size, max_size=size))).reshape(
            shape
        )

    raw = numbers(2, n, k) + 1e-3
    table = raw / raw.sum(axis=1, keepdims=True)
    return numbers(k - 1, n), numbers(k - 1, n), table, numbers(3, n, 3)


@settings(max_examples=100, deadline=None)
@given(small_cases())
def test_a_count_is_an_image_seen_so_often(drawn):
    """Ties, classes missing from truth, prediction or resample; scikit-learn sees copied rows."""
    y, predicted, table, counts = drawn
    scores = pooled_scores(y, predicted, table, counts)
    for column in range(3):
        rows = np.repeat(np.arange(len(y)), counts[:, column])
        expected = dict.fromkeys(SCORES, np.nan)
        if len(rows):
            expected = sklearn_scores(y[rows], predicted[rows], table[rows])
        for name in SCORES:
            assert scores[name][column] == pytest.approx(expected[name], nan_ok=True), name


def test_a_certain_mistake_costs_what_it_costs_in_scikit_learn():
    y, table = np.array([0, 1, 1]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    scores = pooled_scores(y, table.argmax(axis=1), table, np.ones((3, 1)))
    assert scores["log_loss"][0] == pytest.approx(log_loss(y, table), rel=1e-12)
    assert scores["log_loss"][0] > 10


def test_one_probability_missing_leaves_the_other_scores():
    y, predicted, table = case(0)
    known = pooled_scores(y, predicted, table, np.ones((80, 2)))
    table[3, 1] = np.nan
    scores = pooled_scores(y, predicted, table, np.ones((80, 2)))
    for name in SCORES[:3]:
        np.testing.assert_array_equal(scores[name], known[name])
    assert np.isnan(scores["log_loss"]).all()
    assert np.isnan(scores["roc_auc"]).all()


def test_columns_in_pieces_are_the_columns_at_once(monkeypatch):
    y, predicted, table = case(5, k=4)
    counts = resample_counts(80, resamples=23)
    whole = pooled_scores(y, predicted, table, counts)
    monkeypatch.setattr(statistics, "_CELLS", 80 * 5)
    pieces = pooled_scores(y, predicted, table, counts)
    for name in SCORES:
        assert np.isfinite(pieces[name]).all()
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-12)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": np.zeros(5, int)}, "must have shapes"),
        ({"y": np.zeros((6, 1), int)}, "must have shapes"),
        ({"probabilities": np.full(6, 0.5)}, "must have shapes"),
        ({"weights": np.ones((5, 2))}, "must have shapes"),
        ({"weights": np.ones(6)}, "must have shapes"),
        ({"y": np.full(6, 2)}, "y must hold class codes 0 to 1, got 2 to 2"),
        ({"predicted": np.full(6, -1)}, "predicted must hold class codes 0 to 1"),
        ({"predicted": np.array(list("ababab"))}, "integer class codes, got <U1"),
        ({"weights": np.full((6, 1), -1.0)}, "weights must be 0 or more"),
        ({"weights": np.full((6, 1), np.nan)}, "weights must be 0 or more"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed, message):
    codes = np.array([0, 1] * 3)
    fitting = {"y": codes, "predicted": codes, "probabilities": np.full((6, 2), 0.5)}
    with pytest.raises(ParameterError, match=message):
        pooled_scores(**{**fitting, "weights": np.ones((6, 1)), **changed})


# ---- resamples


def test_a_resample_is_n_draws_with_replacement():
    counts = resample_counts(50, resamples=4000)
    assert counts.shape == (50, 4000)
    assert counts.dtype == np.float32
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


def accuracy_interval(right, counts, units, level=0.95):
    """Of images that are all of class 0, predicted 0 where right."""
    n = len(right)
    predicted = np.where(right, 0, 1)[None]
    found = bootstrap_intervals(
        np.zeros(n, int), predicted, no_table(n)[None], counts, units=units, level=level
    )
    return found["accuracy"]


def test_19_of_20_intervals_hold_the_true_accuracy():
    random = np.random.default_rng(0)
    inside = 0
    for seed in range(300):
        right = random.random(200) < 0.8
        counts = resample_counts(200, resamples=400, random_state=seed)
        low, high = accuracy_interval(right, counts, 200)
        inside += low <= 0.8 <= high
    assert 0.90 < inside / 300 < 0.985


def test_a_lower_level_is_a_narrower_interval():
    right = np.random.default_rng(0).random(400) < 0.7
    counts = resample_counts(400, resamples=4000)
    widths = [np.ptp(accuracy_interval(right, counts, 400, level)) for level in (0.6827, 0.9545)]
    error = np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert widths == pytest.approx([2 * error, 4 * error], rel=0.08)


def test_images_of_one_group_count_once():
    right = np.random.default_rng(0).random(150) < 0.8
    copies, groups = np.repeat(right, 5), np.repeat(np.arange(150), 5)
    images = np.ptp(accuracy_interval(right, resample_counts(150, resamples=3000), 150))
    counts = resample_counts(750, groups, resamples=3000, random_state=1)
    grouped = np.ptp(accuracy_interval(copies, counts, 150))
    counts = resample_counts(750, resamples=3000, random_state=2)
    torn = np.ptp(accuracy_interval(copies, counts, 750))
    assert grouped == pytest.approx(images, rel=0.08)
    assert torn == pytest.approx(images / np.sqrt(5), rel=0.08)


def test_repeats_are_averaged_and_are_not_more_images():
    y, first, table = case(0)
    second, other = case(0, steps=2)[1:]
    counts = resample_counts(80, resamples=200)
    once = bootstrap_intervals(y, first[None], table[None], counts, units=80)
    again = bootstrap_intervals(y, np.stack([first] * 3), np.stack([table] * 3), counts, units=80)
    both = bootstrap_intervals(
        y, np.stack([first, second]), np.stack([table, other]), counts, units=80
    )
    alone = [pooled_scores(y, first, table, counts), pooled_scores(y, second, other, counts)]
    for name in SCORES:
        assert again[name] == pytest.approx(once[name])
        values = (alone[0][name] + alone[1][name]) / 2
        assert both[name] == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
        assert both[name] != pytest.approx(once[name])


def test_intervals_at_0_and_1_are_wilsons():
    counts = resample_counts(60, np.repeat(np.arange(10), 6), resamples=50)
    # 1.959964 ** 2 = 3.841459: 10 / 13.841459 and 3.841459 / 13.841459.
    assert accuracy_interval(np.ones(60, bool), counts, 10) == pytest.approx((0.7224672, 1))
    assert accuracy_interval(np.zeros(60, bool), counts, 10) == pytest.approx((0, 0.2775328))


def test_scores_that_no_resample_changes_have_no_interval():
    y = np.array([0, 1] * 20)
    table = np.eye(2)[y] * 0.8 + 0.1
    counts = resample_counts(40, resamples=100)
    found = bootstrap_intervals(y, y[None], table[None], counts, units=40)
    assert list(found) == SCORES
    assert found["accuracy"][0] < 0.95
    for name in SCORES[1:]:
        assert np.isnan(found[name]).all(), name


def test_without_probabilities_their_scores_have_no_interval():
    y, predicted, _ = case(0)
    counts = resample_counts(80, resamples=100)
    found = bootstrap_intervals(y, predicted[None], no_table(80, 3)[None], counts, units=80)
    assert np.isnan([found["log_loss"], found["roc_auc"]]).all()
    assert np.isfinite([found[name] for name in SCORES[:3]]).all()


def test_resamples_that_lack_a_class_are_left_out():
    y, predicted, table = case(0, k=2)
    y[:] = 0
    y[7] = 1
    counts = resample_counts(80, resamples=300)
    values = pooled_scores(y, predicted, table, counts)["roc_auc"]
    assert 0.25 < np.isnan(values).mean() < 0.5  # (1 - 1/80) ** 80 = 0.37
    found = bootstrap_intervals(y, predicted[None], table[None], counts, units=80)
    assert found["roc_auc"] == pytest.approx(tuple(np.nanquantile(values, [0.025, 0.975])))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"level": 0}, "level"),
        ({"level": 1.0}, "level"),
        ({"units": 0}, "units"),
        ({"predicted": np.zeros(80, int)}, "repeats"),
        ({"predicted": np.zeros((2, 80), int)}, "repeats"),
        ({"predicted": np.zeros((0, 80), int), "probabilities": np.zeros((0, 80, 3))}, "repeats"),
        ({"counts": np.ones((79, 3))}, "shapes"),
    ],
)
def test_intervals_of_what_does_not_fit_are_refused(changed, message):
    y, predicted, table = case(0)
    fitting = {"predicted": predicted[None], "probabilities": table[None], "units": 80}
    with pytest.raises(ParameterError, match=message):
        bootstrap_intervals(y, **{**fitting, "counts": np.ones((80, 3)), **changed})


# ---- one head against another

# Mean 0.03, variance 0.0020 / 4 = 0.0005; with 5 folds 1/5 + 1/4 = 0.45 times that is 0.015 ** 2,
# so t = 2. Student's distribution of 4 degrees of freedom has a closed form, p = 0.116117.
BY_HAND = [0.02, 0.04, 0.0, 0.06, 0.03]


def test_t_test_by_hand():
    assert corrected_t_test(BY_HAND, 0.25) == pytest.approx(0.1161165, abs=1e-6)
    assert corrected_t_test(np.negative(BY_HAND), 0.25) == pytest.approx(0.1161165, abs=1e-6)
    assert detectable_difference(BY_HAND, 0.25) == pytest.approx(2.776445 * 0.015, rel=1e-6)


def test_without_a_test_fraction_it_is_the_plain_t_test():
    values = np.random.default_rng(0).normal(0.3, 1, size=12)
    expected = ttest_1samp(values, 0).pvalue
    assert corrected_t_test(values, 0) == pytest.approx(expected, rel=1e-10)
    assert corrected_t_test(values, 0.1) > expected


def test_a_detectable_difference_is_just_significant():
    values = np.array(BY_HAND) - np.mean(BY_HAND)
    for level in (0.05, 0.01):
        least = detectable_difference(values, 0.25, level=level)
        assert corrected_t_test(values + least, 0.25) == pytest.approx(level)


def test_equal_heads_do_not_differ():
    assert corrected_t_test(np.zeros(5), 0.25) == 1
    assert corrected_t_test([1e-17, -1e-17, 1e-16], 0.5) == 1
    assert np.isnan(detectable_difference(np.zeros(5), 0.25))


def test_the_same_difference_in_every_fold_is_not_certain():
    # t = sqrt(12 / (1/2 + 1)) = sqrt(8), 1 degree of freedom: p = 1 - 2 / pi * atan(sqrt(8)).
    assert corrected_t_test([0.1, 0.1], 1) == pytest.approx(1 - 2 / np.pi * np.arctan(8**0.5))
    five = corrected_t_test([0.05] * 5, 0.25)
    assert five == pytest.approx(0.0067, abs=5e-5)
    assert corrected_t_test([0.95 - 0.9, 1 - 0.95, 0.05, 0.05, 0.05], 0.25) == pytest.approx(five)
    assert corrected_t_test([0.5] * 25, 0.25) < 1e-5
    assert detectable_difference([0.05] * 5, 0.25) == pytest.approx(
        2.776445 * 0.05 * np.sqrt(0.45 / 12), rel=1e-6
    )


@pytest.mark.parametrize("values", [[], [0.1], [0.1, np.nan, 0.2], [0.1, np.inf]])
def test_too_few_or_missing_folds_give_no_answer(values):
    assert np.isnan(corrected_t_test(values, 0.25))
    assert np.isnan(detectable_difference(values, 0.25))


@pytest.mark.parametrize(
    ("values", "fraction"), [([[0.1, 0.2]], 0.25), (BY_HAND, -0.1), (BY_HAND, np.nan)]
)
def test_t_test_of_what_does_not_fit_is_refused(values, fraction):
    for function in (corrected_t_test, detectable_difference):
        with pytest.raises(ParameterError):
            function(values, fraction)


@pytest.mark.parametrize("level", [0, 1, -0.1])
def test_a_level_that_is_no_share_is_refused(level):
    with pytest.raises(ParameterError, match="level"):
        detectable_difference(BY_HAND, 0.25, level=level)


def cross_validated_differences(datasets, n=100, folds=5, repeats=5) -> np.ndarray:
    """Of two nearest-mean heads, each fitted on a feature of its own that is as good as the other.

    Returns shape (datasets, folds * repeats). All data sets are cut by the same folds.
    """
    random = np.random.default_rng(0)
    y = np.arange(n) % 2
    X = random.normal(size=(datasets, 2, n)) + y
    differences = []
    for _ in range(repeats):
        for test in np.array_split(random.permutation(n), folds):
            train = np.setdiff1d(np.arange(n), test)
            zeros, ones = (X[..., train[y[train] == label]].mean(axis=-1) for label in (0, 1))
            above = X[..., test] > ((zeros + ones) / 2)[..., None]
            right = (above == (ones > zeros)[..., None]) == (y[test] == 1)
            first, second = np.moveaxis(right.mean(axis=-1), 1, 0)
            differences.append(first - second)
    return np.stack(differences, axis=1)


def test_equally_good_heads_are_seldom_called_different():
    table = cross_validated_differences(datasets=400)
    corrected = np.mean([corrected_t_test(row, 0.25) < 0.05 for row in table])
    plain = np.mean([corrected_t_test(row, 0) < 0.05 for row in table])
    assert 0.005 < corrected < 0.085  # 0.05 and 3 standard errors
    assert plain > 0.25


# ---- many tests


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([np.nan, 0.03, 0.02], [np.nan, 0.04, 0.04]),
        ([0.6, 0.9, 0.7], [1, 1, 1]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.0, 1.0], [0, 1]),
        ([np.nan], [np.nan]),
        ([], []),
    ],
)
def test_holm_by_hand(given, expected):
    np.testing.assert_allclose(holm(given), expected, rtol=1e-12)


@pytest.mark.parametrize("values", [[0.1, 1.1], [-0.1, np.nan], [[0.1]]])
def test_holm_of_what_are_no_p_values_is_refused(values):
    with pytest.raises(ParameterError):
        holm(values)
