"""Simulations: sets of new images hold the right label as often as was asked for."""

import numpy as np
import pytest

from benchmarks.honesty import sets


def coverage_of(draw, draws, heads=("lda",)):
    result = sets.covered(draw, draws, heads)
    return 100 * result.coverage.mean(), result


def test_sets_of_new_images_hold_the_right_label():
    mean, result = coverage_of(sets.many_classes(5, 150, 0.6), 8)
    assert 92.5 < mean < 97.5
    assert result.accuracy.mean() < 0.9  # the labels alone don't
    assert abs(mean - 100 * result.stated.mean()) < 2.5  # the card's figure is honest


def test_sets_of_images_of_new_sites_hold_the_right_label():
    mean, result = coverage_of(sets.sites(25, 8), 8)
    assert 93 < mean < 98
    assert result.accuracy.mean() < 0.9
    assert result.size.mean() < 2.5


@pytest.mark.long
@pytest.mark.parametrize(
    "draw",
    [
        sets.many_classes(10, 200),
        sets.many_classes(30, 600),
        sets.many_classes(3, 60, 0.5),
        sets.sites(40, 10),
    ],
    ids=["10-classes", "30-classes", "60-images", "sites"],
)
def test_coverage_is_between_94_and_97_percent(draw):
    mean, result = coverage_of(draw, 200)
    assert 94 <= mean <= 97
    assert abs(mean - 100 * np.nanmean(result.stated)) < 1.5
