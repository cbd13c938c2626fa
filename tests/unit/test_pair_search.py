"""The search for near pairs: the pairs of a comparison of all pairs, whatever speeds it up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlfeatures.dataset import leading_coordinates, pair_search
from tlfeatures.dataset.distances import unit_roots, usable_rows
from tlfeatures.dataset.duplicates import find_near_duplicates
from tlfeatures.dataset.pair_search import near_pairs
from tlfeatures.dataset.scales import row_scales, sample_rows


@pytest.fixture(autouse=True)
def _leading_coordinates_of_few_rows(monkeypatch):
    """Small sets are searched as large ones are."""
    monkeypatch.setattr(pair_search, "FEW", 0)


def correlated(n=400, d=96, rank=12, seed=0):
    """Make rows with few principal axes, as embeddings have, and a near-duplicate of each tenth."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(n, rank)) @ random.normal(size=(rank, d))
    X = np.maximum(means + 0.3 * random.normal(size=(n, d)), 0) ** 2
    X[1::10] = X[::10] * random.uniform(0.8, 1.2, X[::10].shape)
    return X.astype(np.float32)


def isotropic(n=300, d=80, seed=0):
    """Make rows whose leading coordinates exclude almost nothing."""
    X = np.maximum(np.random.default_rng(seed).normal(size=(n, d)), 0)
    X[5] = X[4] * 1.01
    return X.astype(np.float32)


def crowded(n=300, d=64, seed=0):
    """Make rows that are all near each other, with a few far ones."""
    X = 1 + 0.2 * np.random.default_rng(seed).uniform(size=(n, d))
    X[:20] *= np.random.default_rng(seed).exponential(size=(20, d))
    return X.astype(np.float32)


def odd(n=300):
    """Make rows of zeros, NaN and infinity, equal rows and multiples of a row."""
    X = correlated(n)
    X[[0, 1, 50]] = 0
    X[[2, 51]] = np.nan
    X[3, 5] = np.inf
    X[100:180] = X[99]
    X[200] = 3 * X[201]
    X[10] *= -1
    return X


def near_by_definition(X, rows, radii):
    """Compare all pairs in float64; a distance below 0.002 is 0."""
    units = unit_roots(X[rows]).astype(np.float64)
    found = {}
    for number, row in enumerate(rows):
        distance = np.linalg.norm(units[number + 1 :] - units[number], axis=1)
        distance[distance < 2e-3] = 0
        others = rows[number + 1 :]
        near = distance <= np.minimum(radii[row], radii[others])
        found |= {
            (int(row), int(other)): value
            for other, value in zip(others[near], distance[near], strict=True)
        }
    return found


def searched(X, rows, radii, **options):
    found = {}
    for part in near_pairs(X, rows, radii, **options):
        for i, j, distance in zip(*map(np.ndarray.tolist, part), strict=True):
            assert i < j
            assert (i, j) not in found
            found[i, j] = distance
    return found


def radii_of(X, share):
    rows = usable_rows(X)
    return rows, (row_scales(X, rows, sample_rows(X, rows)) * share).astype(np.float32)


@pytest.mark.parametrize("make", [correlated, isotropic, crowded, odd])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("block", [None, 37])
def test_pairs_and_distances_are_those_of_all_pairs(make, share, block, recwarn):
    X = make()
    rows, radii = radii_of(X, share)
    found = searched(X, rows, radii, block=block)
    assert found == pytest.approx(near_by_definition(X, rows, radii), abs=1e-5)
    assert not recwarn.list


@pytest.mark.parametrize("make", [correlated, isotropic, odd])
def test_only_pairs_with_one_of_the_first_rows(make):
    X = make()
    rows, radii = radii_of(X, 0.7)
    first = np.random.default_rng(1).permutation(rows)[:90]
    every = searched(X, rows, radii)
    with_first = {pair: d for pair, d in every.items() if np.isin(pair, first).any()}
    assert len(with_first) > 0
    assert searched(X, rows, radii, first=first, block=40) == with_first


@pytest.mark.parametrize("make", [correlated, crowded, odd])
def test_distances_depend_neither_on_order_nor_on_threads_nor_on_blocks(make):
    """Equal bit for bit, so that kept distances are those of a new search."""
    X = make()
    rows, radii = radii_of(X, 0.7)
    expected = searched(X, rows, radii)
    for options in ({"threads": 1}, {"threads": 3}, {"block": 16}, {"block": 128, "threads": 2}):
        assert searched(X, rows, radii, **options) == expected
    order = np.random.default_rng(2).permutation(len(X))
    place = np.argsort(order)
    moved = searched(X[order], np.sort(place[rows]), radii[order])
    assert {tuple(sorted(order[list(pair)])): d for pair, d in moved.items()} == expected


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 90),
    d=st.integers(1, 40),
    rank=st.integers(1, 8),
    noise=st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
    share=st.floats(0, 1.2),
    block=st.integers(1, 100),
    seed=st.integers(0, 10**6),
)
@pytest.mark.slow
def test_any_rows_and_radii(n, d, rank, noise, share, block, seed):
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, rank)) @ random.normal(size=(rank, d))
    X = (X + noise * random.normal(size=(n, d))).astype(np.float32)
    rows = usable_rows(X)
    radii = (share * random.uniform(size=n)).astype(np.float32)
    found, expected = searched(X, rows, radii, block=block), near_by_definition(X, rows, radii)
    least = {pair: min(radii[list(pair)]) for pair in found | expected}
    differing = found.keys() ^ expected.keys()
    # A distance may be rounded to the other side of a radius, or of the distance that counts as 0.
    distance = found | expected
    assert all(
        abs(distance[pair] - least[pair]) < 1e-5 or distance[pair] < 2.1e-3 for pair in differing
    )


def test_leading_coordinates_leave_few_pairs_of_correlated_rows(monkeypatch):
    compared = []
    distances = pair_search.pair_distances
    monkeypatch.setattr(
        pair_search,
        "pair_distances",
        lambda X, i, j: compared.append(len(i)) or distances(X, i, j),
    )
    X = correlated(2000)
    rows, radii = radii_of(X, 0.5)
    searched(X, rows, radii)
    assert 0 < sum(compared) < 2000 * 1999 / 2 / 100


def test_rows_may_be_a_memory_map(tmp_path):
    X = correlated()
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for found, expected in zip(find_near_duplicates(mapped), find_near_duplicates(X), strict=True):
        assert np.array_equal(found, expected)


def test_a_long_search_says_how_far_it_is(monkeypatch, caplog):
    monkeypatch.setattr(pair_search, "_SILENT", 0.0)
    X = correlated()
    with caplog.at_level("INFO"):
        find_near_duplicates(X, block=100)
    said = [record.getMessage() for record in caplog.records]
    assert any("% of the pairs of 400 images are compared, about" in line for line in said)
    assert "100 %" in said[-1]


# ---- the sample of the scales


def test_the_sample_is_that_of_the_smallest_hashes():
    digests = np.random.default_rng(0).integers(256, size=(5000, 32)).astype(np.uint8)
    X, rows = np.empty((5000, 0)), np.arange(5000)
    sample = sample_rows(X, rows, digests)
    assert len(sample) == 1000
    order = np.random.default_rng(1).permutation(5000)
    assert np.array_equal(order[sample_rows(X, rows, digests[order])], sample)
    fewer = sample_rows(X, rows[:-50], digests)  # 1 % of the images are not there
    assert 0 < len(set(sample.tolist()) - set(fewer.tolist())) < 30


def test_equal_images_are_in_the_sample_once():
    digests = np.random.default_rng(0).integers(256, size=(300, 32)).astype(np.uint8)
    digests[100:200] = digests[0]
    X = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    rows = np.arange(300)
    kept = [*range(100), *range(200, 300)]
    assert sorted(sample_rows(X, rows, digests)) == kept
    X[100:200] = X[0]
    assert sorted(sample_rows(X, rows)) == kept
    assert sample_rows(X, rows[150:160]).tolist() == [150]


def test_the_number_of_coordinates_is_chosen_by_what_the_bound_leaves():
    rows, radii = radii_of(correlated(), 0.5)
    options = {"block": 64, "allowance": 1e-3, "most": 1 / 32}
    chosen = leading_coordinates.find_coordinates(correlated(), rows, radii, **options)
    assert chosen.right.shape[0] - 4 < 96
    rows, radii = radii_of(isotropic(d=400), 0.95)
    assert leading_coordinates.find_coordinates(isotropic(d=400), rows, radii, **options) is None
