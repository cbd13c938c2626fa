"""Images that are the same, or nearly: pairs by their embeddings, and the groups of these."""

import numpy as np
import pytest

from tlfeatures.dataset import pair_list, scales
from tlfeatures.dataset.duplicates import find_near_duplicates, pair_similarities
from tlfeatures.dataset.grouping import identical_pairs, merge_groups
from tlfeatures.errors import ParameterError


def embeddings(n, d=64, seed=0):
    """Like activations: not negative, some zeros, a few large."""
    rng = np.random.default_rng(seed)
    X = np.maximum(rng.standard_normal((n, d)), 0) ** 2
    return X.astype(np.float32)


def like(X, noise, seed=1):
    return (X * (1 + noise * np.random.default_rng(seed).uniform(-1, 1, X.shape))).astype(
        np.float32
    )


def reference(X):
    """Similarity of every two rows, by the docstring, in float64 and without blocks."""
    n = len(X)
    X = np.asarray(X, np.float64)
    roots = np.sign(X) * np.sqrt(np.abs(X))
    unit = roots / np.linalg.norm(roots, axis=1, keepdims=True)
    distances = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    nearest = min(max(10, n // 10), max(2, n // 4), n - 1)
    scales = np.sort(distances, axis=1)[:, nearest]
    return 1 - distances / np.minimum(scales[:, None], scales)


def as_dict(found):
    pairs, similarity = found
    return dict(zip(map(tuple, pairs.tolist()), similarity.tolist(), strict=True))


def components(n, pairs):
    """By flooding, as a second opinion; numbered by first appearance."""
    names = list(range(n))
    for _ in range(n):
        for i, j in pairs:
            names[i] = names[j] = min(names[i], names[j])
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [order[name] for name in names]


@pytest.mark.parametrize("n", [4, 12, 60, 130])
@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.4, 0.7, 1.0])
def test_pairs_are_those_of_the_definition(n, threshold):
    X = embeddings(n, seed=n)
    X[n // 2 :] = like(X[: n - n // 2], 0.6, seed=n)
    X[-1] = 3 * X[0]
    expected = reference(X)
    found = as_dict(find_near_duplicates(X, threshold))
    i, j = np.nonzero(np.triu(expected > threshold + 1e-3, 1))
    assert set(zip(i.tolist(), j.tolist(), strict=True)) <= set(found)
    for (i, j), similarity in found.items():
        assert i < j
        assert similarity == pytest.approx(expected[i, j], abs=2e-3)
        assert similarity >= np.float32(threshold)


@pytest.mark.parametrize("block", [1, 2, 7, 39, 40, 41, 1000])
def test_blocks_give_the_same_as_one_block(block):
    X = np.concatenate([embeddings(40), like(embeddings(40), 0.3)])
    expected = as_dict(find_near_duplicates(X, 0.3))
    found = as_dict(find_near_duplicates(X, 0.3, block=block))
    assert len(found) >= 40
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-4)


def test_the_most_similar_come_first():
    X = np.concatenate([embeddings(50), like(embeddings(50), 0.6)])
    X[7] = X[3]
    pairs, similarity = find_near_duplicates(X)
    assert pairs.dtype == np.int64
    assert similarity.dtype == np.float64
    assert pairs[0].tolist() == [3, 7]
    assert similarity[0] == 1
    assert (np.diff(similarity) <= 0).all()


def test_versions_are_found_and_strangers_are_not():
    X = embeddings(300, 512)
    assert find_near_duplicates(X)[0].shape == (0, 2)
    found = as_dict(find_near_duplicates(np.concatenate([X, like(X[:200], 0.5)])))
    assert set(found) == {(row, 300 + row) for row in range(200)}


@pytest.mark.parametrize("n", [8, 12, 20, 30, 40, 60])
def test_images_of_very_different_classes_are_no_pairs_in_small_sets(n):
    """The scale of an image stays in its class, also if the class is half of few images."""
    X = embeddings(n, 512)
    X[: n // 2, :256] = X[n // 2 :, 256:] = 0
    X[:, ::8] += 1  # what all of them have
    X[: n // 2, 256:] += 4
    X[n // 2 :, :256] += 4
    assert len(find_near_duplicates(X)[0]) == 0
    X[1] = like(X[:1], 0.2)[0]
    assert find_near_duplicates(X)[0].tolist() == [[0, 1]]


def test_many_versions_of_few_photos_are_found():
    """The nearest neighbours are versions here: they must not be the measure of what is near."""
    X = np.repeat(embeddings(20, 512), 8, axis=0)
    pairs, _ = find_near_duplicates(like(X, 0.5))
    assert len(pairs) == 20 * 28
    assert (pairs[:, 0] // 8 == pairs[:, 1] // 8).all()


def test_a_factor_and_the_type_change_nothing():
    X = np.concatenate([embeddings(30), like(embeddings(30), 0.3)])
    expected = as_dict(find_near_duplicates(X))
    for other in (X * 1000, X.astype(np.float64), np.asfortranarray(X), X.tolist()):
        assert as_dict(find_near_duplicates(other)) == pytest.approx(expected, abs=1e-5)
    half = as_dict(find_near_duplicates(X.astype(np.float16)))
    assert half == pytest.approx(expected, abs=1e-2)


def test_the_order_of_rows_changes_nothing():
    X = np.concatenate([embeddings(40), like(embeddings(40), 0.4)])
    order = np.random.default_rng(3).permutation(len(X))
    expected = {frozenset(pair) for pair in as_dict(find_near_duplicates(X))}
    shuffled = as_dict(find_near_duplicates(X[order]))
    assert {frozenset(order[list(pair)].tolist()) for pair in shuffled} == expected


def test_x_is_left_as_it_is():
    X = np.concatenate([embeddings(20), embeddings(20)])
    X.setflags(write=False)
    before = X.copy()
    find_near_duplicates(X)
    assert np.array_equal(X, before)


def test_rows_of_zeros_or_not_finite_are_in_no_pair(recwarn):
    X = np.concatenate([embeddings(40), embeddings(40)])
    X[[0, 1, 40, 41]] = 0
    X[[2, 42]] = np.nan
    X[3, 5] = X[43, 5] = np.inf
    pairs, similarity = find_near_duplicates(X, 0.9)
    assert sorted(pairs.tolist()) == [[row, row + 40] for row in range(4, 40)]
    assert (similarity == 1).all()
    assert not recwarn.list


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((0, 64)),
        np.zeros((4, 0)),
        np.zeros((5, 64)),
        np.full((5, 64), np.nan),
        np.ones((1, 64)),
        [[1, 2]],
    ],
)
def test_nothing_to_compare_is_no_pair(X, recwarn):
    pairs, similarity = find_near_duplicates(X)
    assert pairs.shape == (0, 2)
    assert similarity.shape == (0,)
    assert not recwarn.list


def test_two_different_images_are_no_pair_and_two_equal_ones_are():
    X = embeddings(2)
    assert len(find_near_duplicates(X)[0]) == 0
    assert find_near_duplicates(X[[0, 0]])[0].tolist() == [[0, 1]]


def test_values_below_zero_count_with_their_sign():
    X = np.random.default_rng(0).standard_normal((60, 64)).astype(np.float32)
    X[40:50] = X[:10]
    X[50:] = -X[:10]
    pairs, _ = find_near_duplicates(X)
    assert sorted(pairs.tolist()) == [[row, row + 40] for row in range(10)]


def test_all_identical_are_all_pairs():
    pairs, similarity = find_near_duplicates(np.repeat(embeddings(1), 100, axis=0))
    assert len(pairs) == 4950
    assert (similarity == 1).all()


def test_one_photo_filling_over_a_tenth_is_found_only_where_it_is_the_same():
    X = np.concatenate([embeddings(60), np.repeat(embeddings(1, seed=9), 40, axis=0)])
    pairs, _ = find_near_duplicates(X)
    assert len(pairs) == 780
    assert (pairs >= 60).all()


def test_too_many_pairs_become_a_forest_that_joins_the_same(monkeypatch):
    X = np.concatenate([like(np.repeat(embeddings(30), 5, axis=0), 0.6), embeddings(30, seed=5)])
    every, similarity = find_near_duplicates(X)
    monkeypatch.setattr(pair_list, "MOST_PAIRS", 50)
    forest, kept = find_near_duplicates(X, block=16)
    assert len(every) > len(forest)
    assert len(forest) == len(X) - len(set(components(len(X), every.tolist())))
    for threshold in (0.4, 0.5, 0.6, 0.7):
        assert components(len(X), forest[kept >= threshold].tolist()) == components(
            len(X), every[similarity >= threshold].tolist()
        )


def test_thousands_of_equal_rows_stay_few_pairs():
    n = 1500  # over a million pairs
    assert n * (n - 1) / 2 > pair_list.MOST_PAIRS
    pairs, similarity = find_near_duplicates(np.ones((n, 64), np.float32))
    assert len(pairs) == n - 1
    assert (similarity == 1).all()
    assert merge_groups(n, None, [pairs]).tolist() == [0] * n


def test_the_scale_of_many_images_is_measured_on_a_sample(monkeypatch):
    X = np.concatenate([embeddings(150, 512), like(embeddings(150, 512), 0.5)])
    exact = as_dict(find_near_duplicates(X))
    monkeypatch.setattr(scales, "SAMPLE", 100)
    sampled = as_dict(find_near_duplicates(X, block=33))
    assert sampled == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("threshold", [0, -1, 1.01, np.nan])
def test_wrong_threshold(threshold):
    with pytest.raises(ParameterError, match=f"threshold is {threshold}; expected"):
        find_near_duplicates(embeddings(3), threshold)


def test_few_columns_tell_nothing():
    X = np.concatenate([embeddings(40), embeddings(40)])
    assert len(find_near_duplicates(X)[0]) == 40
    assert find_near_duplicates(X[:, :63])[0].shape == (0, 2)


def test_wrong_shape_or_block():
    with pytest.raises(ParameterError, match=r"shape \(2, 2, 2\)"):
        find_near_duplicates(np.zeros((2, 2, 2)))
    with pytest.raises(ParameterError, match="block is 0"):
        find_near_duplicates(embeddings(3), block=0)


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_the_connected_rows(seed):
    rng = np.random.default_rng(seed)
    n = 40
    first, second = rng.integers(n, size=(12, 2)), rng.integers(n, size=(5, 2))
    groups = rng.choice([f"patient {number}" for number in range(30)], n)
    same = [(i, j) for i in range(n) for j in range(i) if groups[i] == groups[j]]
    links = [*first.tolist(), *second.tolist()]
    assert merge_groups(n, None, [first, second]).tolist() == components(n, links)
    assert merge_groups(n, groups, [first, second]).tolist() == components(n, links + same)
    assert merge_groups(n, groups, []).tolist() == components(n, same)


def test_a_chain_is_one_group():
    assert merge_groups(6, None, [[(4, 2)], [(2, 0)], [(1, 5)]]).tolist() == [0, 1, 0, 2, 0, 1]


def test_a_pair_joins_the_groups_of_the_user():
    merged = merge_groups(5, np.array(["b", "b", "a", "a", "c"]), [np.array([[1, 2]])])
    assert merged.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("n", "groups", "pairs"),
    [
        (3, None, []),
        (3, None, [np.empty((0, 2), int), []]),
        (3, ["x", "y", "z"], []),
        (3, None, [[(1, 1)]]),
        (0, None, []),
    ],
)
def test_rows_that_stand_alone_are_no_groups(n, groups, pairs):
    assert merge_groups(n, groups, pairs) is None


def test_wrong_groups_or_pairs():
    with pytest.raises(ParameterError, match="2 groups for 3 rows"):
        merge_groups(3, ["a", "b"], [])
    for pair in ((0, 3), (-1, 0)):
        with pytest.raises(ParameterError, match="outside the 3 rows"):
            merge_groups(3, None, [[pair]])


def test_copies_are_chained():
    digests = [b"a", b"b", b"a", b"c", b"b", b"a"]
    assert identical_pairs(digests).tolist() == [[0, 2], [1, 4], [2, 5]]
    array = np.frombuffer(b"".join(digest * 32 for digest in digests), np.uint8).reshape(-1, 32)
    assert identical_pairs(array).tolist() == [[0, 2], [1, 4], [2, 5]]
    for none in ([], [b"a", b"b"], np.empty((0, 32), np.uint8)):
        assert identical_pairs(none).shape == (0, 2)


def test_the_similarity_of_given_pairs_is_that_by_which_they_are_found():
    random = np.random.default_rng(0)
    X = random.gamma(2.0, size=(80, 96)).astype(np.float32)
    X[1], X[3], X[5] = X[0] * 2, X[2] * random.uniform(0.9, 1.1, 96), 0
    pairs, similarity = find_near_duplicates(X, 0.01)
    assert len(pairs) > 2
    np.testing.assert_allclose(pair_similarities(X, pairs), similarity, atol=1e-4)
    np.testing.assert_allclose(pair_similarities(X, pairs[:, ::-1]), similarity, atol=1e-4)
    assert pair_similarities(X, np.array([[0, 1]])) == 1
    assert pair_similarities(X, np.array([[4, 5]])) == 0  # a row of zeros is like none
    assert pair_similarities(X, np.empty((0, 2), np.int64)).shape == (0,)
