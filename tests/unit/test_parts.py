"""Parts of the tested images of a single fold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tlfeatures.metrics.parts import MOST_PARTS, divide


@given(st.integers(0, 10**6), st.integers(4, 60), st.integers(2, 20))
def test_groups_stay_together_and_every_part_has_both_classes(seed, n, count):
    random = np.random.default_rng(seed)
    groups, positive = random.integers(0, count, n), random.random(n) < 0.4
    parts = divide(groups, positive)
    assert all(len(set(parts[groups == group])) == 1 for group in groups)
    assert set(parts) == set(range(parts.max() + 1))
    fewest = min(len(set(groups[positive])), len(set(groups[~positive])))
    if fewest:
        assert parts.max() + 1 == min(MOST_PARTS, fewest)
        for part in range(parts.max() + 1):
            assert set(positive[parts == part]) == {True, False}
    assert (divide(groups, positive) == parts).all()


def test_without_classes_the_parts_are_equally_large():
    assert np.bincount(divide(np.arange(50))).tolist() == [10] * MOST_PARTS
    assert sorted(divide(np.array(list("aabbb")))) in ([0, 0, 1, 1, 1], [0, 0, 0, 1, 1])
