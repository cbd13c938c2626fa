"""Intervals of shares of images, with and without groups."""

import numpy as np
import pytest
from scipy import stats

from tlfeatures.errors import ParameterError
from tlfeatures.metrics.intervals import mean_share_interval, share_interval, wilson


def grouped(random, groups=12, largest=30):
    """Make groups of different sizes and accuracies: right predictions, and group numbers."""
    sizes = random.integers(1, largest, groups)
    members = np.repeat(np.arange(groups), sizes)
    return random.random(len(members)) < random.beta(4, 1, groups)[members], members


def test_without_groups_it_is_wilsons():
    for right in (0, 1, 37, 99, 100):
        expected = stats.binomtest(right, 100).proportion_ci(method="wilson")
        found = share_interval(np.arange(100) < right)
        assert found == pytest.approx(tuple(expected), abs=1e-12)
        assert found == pytest.approx(tuple(wilson(right / 100, 100)))


def test_one_image_more_right_is_a_higher_interval():
    found = np.array([share_interval(np.arange(100) < right) for right in range(101)])
    assert (np.diff(found, axis=0) >= 0).all()
    assert (np.diff(found, axis=0)[1:-1] > 0).all()


def test_repeats_are_averaged():
    assert share_interval([0.5] * 40) == share_interval([0, 1] * 20)


@pytest.mark.parametrize("seed", range(20))
def test_all_right_has_the_highest_lower_bound_and_all_wrong_the_lowest_upper_bound(seed):
    right, groups = grouped(np.random.default_rng(seed))
    low, high = share_interval(right, groups)
    assert low <= share_interval(np.ones(len(right)), groups)[0] < 1
    assert high >= share_interval(np.zeros(len(right)), groups)[1] > 0


@pytest.mark.parametrize("groups", [12, 40])
def test_a_corrected_mistake_never_lowers_the_lower_bound_where_mistakes_are_few(groups):
    members = np.repeat(np.arange(groups), 25)
    for mistakes in ([0], [0, 1], [0, 25], [0, 25, 50], [0, 1, 25], [0, 25, 50, 75]):
        right = np.ones(len(members))
        right[mistakes] = 0
        low, high = share_interval(right, members)
        for corrected in mistakes:
            right[corrected] = 1
            higher = share_interval(right, members)
            assert higher[0] >= low, (mistakes, corrected)
            assert higher[1] >= high, (mistakes, corrected)
            right[corrected] = 0


@pytest.mark.parametrize("seed", range(20))
def test_a_corrected_mistake_of_a_group_below_the_mean_never_lowers_the_lower_bound(seed):
    right, groups = grouped(np.random.default_rng(seed))
    low, _ = share_interval(right, groups)
    tried = 0
    for row in np.flatnonzero(~right):
        if right[groups == groups[row]].mean() < right.mean() - 0.1:
            better = right.copy()
            better[row] = True
            assert share_interval(better, groups)[0] >= low
            tried += 1
    assert tried


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_contains_the_share(seed):
    right, groups = grouped(np.random.default_rng(seed), largest=4)
    low, high = share_interval(right, groups)
    assert 0 <= low < right.mean() <= high <= 1
    low, high = mean_share_interval(right, groups % 3, groups)
    recalls = [right[groups % 3 == code].mean() for code in range(3)]
    assert 0 <= low < np.mean(recalls) <= high <= 1


def test_neither_the_order_nor_the_names_of_groups_matter():
    random = np.random.default_rng(0)
    right, groups = grouped(random)
    order = random.permutation(len(right))
    expected = share_interval(right, groups)
    names = np.array([f"site {99 - number}" for number in groups])
    assert share_interval(right[order], groups[order]) == pytest.approx(expected)
    assert share_interval(right, names) == pytest.approx(expected)


def test_groups_of_one_image_are_images_without_groups():
    right = np.arange(400) < 350
    assert share_interval(right, np.arange(400)) == pytest.approx(share_interval(right), abs=2e-4)


@pytest.mark.parametrize("wrong", [0, 1, 60])
def test_a_few_pairs_of_copies_change_almost_nothing(wrong):
    right, groups = np.arange(1000) >= wrong, np.arange(1000)
    groups[981:1000:2] = groups[980:1000:2]
    assert share_interval(right, groups) == pytest.approx(share_interval(right), abs=2e-4)


def test_groups_that_are_right_or_wrong_as_a_whole_count_as_one_image_each():
    whole = np.arange(200) < 150
    found = share_interval(np.repeat(whole, 8), np.repeat(np.arange(200), 8))
    assert found == pytest.approx(share_interval(whole), abs=0.005)


def test_equal_groups_have_almost_the_interval_of_their_images():
    groups = np.repeat(np.arange(30), 40)
    right = np.tile(np.arange(40) < 34, 30)
    low, high = share_interval(right, groups)
    narrow = share_interval(right)
    assert low < narrow[0] < narrow[1] < high
    assert high - low < 1.25 * (narrow[1] - narrow[0])


def test_the_number_of_images_is_between_groups_and_images_if_all_are_right():
    low, high = share_interval(np.ones(400), np.repeat(np.arange(16), 25))
    t = stats.t.ppf(0.975, 15)
    assert (low, high) == (pytest.approx(80 / (80 + t**2)), 1)  # 80 = sqrt(16 * 400)


def test_one_group_says_nothing_about_others():
    assert share_interval([1, 1, 0, 1], ["a"] * 4) == (0, 1)


def test_a_lower_level_is_a_narrower_interval():
    right, groups = grouped(np.random.default_rng(0))
    widths = [np.ptp(share_interval(right, groups, level=level)) for level in (0.5, 0.9, 0.99)]
    assert widths == sorted(widths)


# ---- means of shares


def test_one_class_is_a_share():
    right, groups = grouped(np.random.default_rng(0))
    assert mean_share_interval(right, np.full(len(right), 3), groups) == share_interval(
        right, groups
    )


def test_the_mean_of_all_right_classes_has_an_interval():
    low, high = mean_share_interval(np.ones(60), np.arange(60) % 3)
    # Each of three classes: 20 of 20 right.
    assert high == 1
    assert low == pytest.approx(1 - (1 - wilson(1, 20)[0]) / np.sqrt(3))


def test_a_small_class_makes_the_interval_of_the_mean_wide():
    right = np.arange(300) % 10 > 0
    few = np.arange(300) < 10
    assert np.ptp(mean_share_interval(right, few)) > 2 * np.ptp(share_interval(right))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "shape"),
        (([[1, 0]],), "shape"),
        (([1, 2],), "0 to 1"),
        (([1, np.nan],), "0 to 1"),
        (([1, 0], [1]), "groups"),
    ],
)
def test_what_is_no_share_is_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        share_interval(*arguments)
    with pytest.raises(ParameterError, match="level"):
        share_interval([1, 0], level=95)


def test_a_class_in_one_group_makes_the_interval_of_the_balanced_accuracy_wide():
    """The right share of class 1 in other groups is unknown, though all its images agree."""
    y = np.repeat([0, 1], [120, 40])
    right = np.ones(160)
    right[:12] = 0
    spread = np.concatenate([np.arange(120) % 12, np.arange(40) % 12])
    alone = np.concatenate([np.arange(120) % 12, np.zeros(40, int)])
    many, one = (mean_share_interval(right, y, groups) for groups in (spread, alone))
    assert many[0] > 0.8
    assert one[0] < 0.65
    single = mean_share_interval(right, y, np.arange(160))  # a group of one image is no site
    assert single[0] > 0.85
