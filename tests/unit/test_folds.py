"""Nothing that belongs together is ever torn apart."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold, StratifiedKFold

from tests.unit.data import dataset
from tlfeatures import cross_validate
from tlfeatures.dataset.grouping import merge_groups
from tlfeatures.dataset.stratified_folds import cut
from tlfeatures.errors import DatasetError
from tlfeatures.model_selection.folds import inner_folds, make_folds

PAIRS = st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=40)


def as_pairs(pairs):
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


@settings(max_examples=80, deadline=None)
@given(pairs=PAIRS, group_size=st.sampled_from([None, 1, 3]), seed=st.integers(0, 3))
def test_copies_and_groups_stay_on_one_side(pairs, group_size, seed):
    groups = None if group_size is None else np.array([f"g{i // group_size}" for i in range(60)])
    data = dataset(copies=as_pairs(pairs), groups=groups)
    together = merge_groups(60, groups, [data.copies])
    together = np.arange(60) if together is None else together
    try:
        _, folds = make_folds(data, cv=3, random_state=seed)
    except DatasetError:
        assert np.bincount(together).max() > 10  # one group holds too much
        return
    assert len(folds) == 3
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(60))
    for train, test in folds:
        assert not set(together[train]) & set(together[test])
        assert sorted([*train, *test]) == list(range(60))


@settings(max_examples=40, deadline=None)
@given(pairs=PAIRS)
def test_tuning_tears_nothing_apart_and_sees_no_test_row(pairs):
    data = dataset(copies=as_pairs(pairs))
    together = np.arange(60) if data.together is None else data.together
    train = np.arange(60)[together != together[0]]
    try:
        folds = inner_folds(data.y, data.together, train, 0)
    except DatasetError:
        assert np.bincount(together).max() > 10  # one group holds too much
        return
    assert len(folds) >= 2
    for inner, held in folds:
        assert set(inner) | set(held) == set(train)
        assert not set(together[inner]) & set(together[held])


def test_without_copies_the_folds_are_scikit_learns():
    data = dataset()
    expected = StratifiedKFold(5, shuffle=True, random_state=4).split(data.y, data.y)
    for ours, theirs in zip(cut(data.y, None, 5, 4), expected, strict=True):
        np.testing.assert_array_equal(np.concatenate(ours), np.concatenate(theirs))


def test_folds_with_few_copies_are_still_stratified():
    data = dataset(300, copies=np.array([[i, i + 2] for i in range(0, 120, 4)]))
    for _, test in make_folds(data, cv=5)[1]:
        assert 54 <= len(test) <= 66
        assert 0.4 < (data.y[test] == "a").mean() < 0.6


def test_a_given_split_that_shares_images_says_which(caplog):
    split = np.array(["train", "train", "val"] * 20)
    copies = np.array([[0, 2], [5, 7], [3, 4]])  # the last is inside train
    data = dataset(split=split, copies=copies)
    chosen, [(train, test)] = make_folds(data)
    assert chosen == "val"
    assert "train and val share images: 2 pairs are" in caplog.text
    assert f"{data.ids[0]}  =  {data.ids[2]}" in caplog.text
    assert f"{data.ids[7]}  =  {data.ids[5]}" in caplog.text
    assert set(np.flatnonzero(split == "train")) - set(train) == {0, 7}
    assert (split[test] == "val").all()


def test_a_copy_of_a_copy_counts_too():
    split = np.array(["train", "train", "val"] * 20)
    data = dataset(split=split, copies=np.array([[0, 1], [1, 2]]))
    _, [(train, _)] = make_folds(data)
    assert not {0, 1} & set(train)


def test_a_clean_split_says_nothing(caplog):
    split = np.array(["train", "train", "val"] * 20)
    with caplog.at_level(logging.INFO, logger="tlfeatures"):
        make_folds(dataset(split=split, copies=np.array([[0, 1]])))
    assert not caplog.text


def test_a_splitter_of_the_users_own_leaks_no_copies():
    copies = np.array([[i, 59 - i] for i in range(30)])
    data = dataset(copies=copies)
    for train, test in make_folds(data, cv=KFold(4))[1]:
        parted = {i for pair in copies for i in pair if set(pair) & set(test)}
        assert not parted & set(train)


def test_training_rows_that_are_tested_are_left_out(caplog):
    """Noise gives chance, though this cv trains on the images that it tests."""
    random = np.random.default_rng(0)
    data = replace(dataset(100), X=random.normal(size=(100, 400)).astype(np.float32))
    every = np.arange(100)
    cv = [(every, every[:50]), (every, every[50:])]
    for train, test in make_folds(data, cv=cv)[1]:
        assert not set(train) & set(test)
    assert "50 training images of this cv are tested in the same fold" in caplog.text
    assert cross_validate("logreg", data, cv=cv).scores["accuracy"]["score"] < 0.7


def test_a_splitter_of_the_users_own_tears_no_group_apart():
    groups = np.array([f"g{i % 10}" for i in range(60)])
    y = np.array(list("ab"))[np.random.default_rng(0).integers(2, size=60)]
    data = dataset(groups=groups, y=y, copies=np.array([[0, 1]]))
    with pytest.raises(DatasetError, match="one class only"):
        make_folds(data, cv=KFold(4, shuffle=True, random_state=0))
    for train, test in make_folds(data, cv=[(np.arange(60), np.arange(0, 60, 10))])[1]:
        assert not set(data.together[train]) & set(data.together[test])


def test_groups_of_a_left_out_copy_are_left_out_too():
    split = np.array(["train"] * 40 + ["val"] * 20)
    groups = np.array([f"p{i // 2}" for i in range(60)])
    data = dataset(split=split, groups=groups, copies=np.array([[0, 50]]))
    _, [(train, _)] = make_folds(data)
    assert not {0, 1} & set(train)


def test_a_class_lost_with_its_copies_is_named():
    split = np.array((["train"] * 2 + ["val"]) * 20)
    y = np.array(list("ab") * 30)
    y[0] = y[2] = "c"
    data = dataset(split=split, y=y, copies=np.array([[0, 2]]))
    with pytest.raises(DatasetError, match="after copies of test images are left out: c"):
        make_folds(data)


def test_more_folds_than_groups_is_one_line():
    with pytest.raises(DatasetError, match="use fewer folds with --cv"):
        cut(np.array(list("ab") * 6), np.arange(12) // 2, 7, 0)


def test_one_group_a_class_can_not_be_tuned():
    y = np.array(list("ab") * 10)
    with pytest.raises(DatasetError, match="leave out --tune"):
        inner_folds(y, np.unique(y, return_inverse=True)[1], np.arange(20), 0)


def test_a_class_that_is_one_photo_says_so():
    data = dataset(60, copies=np.array([[i, i + 2] for i in range(0, 58, 2)]))
    with pytest.raises(DatasetError, match=r"near-duplicates off"):
        make_folds(data, cv=5)
