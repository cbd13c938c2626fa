"""Folds of a dataset: training and test rows that do not separate groups and copies."""

from __future__ import annotations

import logging
import numbers
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from tlfeatures.dataset.dataset import Dataset
from tlfeatures.dataset.grouping import merge_groups, photograph_pairs
from tlfeatures.dataset.stratified_folds import Fold, Rows, cut, fewest
from tlfeatures.errors import DatasetError, ParameterError
from tlfeatures.names import counted, some_of, unknown_name

logger = logging.getLogger(__name__)
SPLIT_CHOICES = ("auto", "cv", "val", "test")
INNER_CV = 3  # folds of tuning, inside each training fold


GivenRows: TypeAlias = Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]
GivenFold: TypeAlias = tuple[GivenRows, GivenRows]


class Splitter(Protocol):
    """A splitter of scikit-learn."""

    def split(self, X: Any, y: Any, groups: Any, /) -> Iterable[GivenFold]:
        """Yield training and test rows."""
        ...


LEAVE_ONE_GROUP_OUT = "leave-one-group-out"
Folding: TypeAlias = int | str | Splitter | Iterable[GivenFold]
"""A number of folds, "leave-one-group-out", a splitter of scikit-learn, or (train rows, test rows)
of each fold."""


def make_folds(
    data: Dataset, *, cv: Folding | None = None, split: str = "auto", random_state: int | None = 0
) -> tuple[str, list[Fold]]:
    """Divide a dataset into training and test rows.

    Parameters
    ----------
    data : Dataset
    cv : int, str, scikit-learn splitter or iterable of (train rows, test rows), optional
        With a number of folds (default 5), they are stratified and shuffled, and groups and copies
        of an image are always in the same fold. With "leave-one-group-out", each group is a fold:
        it is tested by a head that was trained on the other groups, without copies of its images.
        Folds of a splitter or an iterable are used as they are, but training rows of the same
        group, or copies, as a test row are left out.
    split : {"auto", "cv", "val", "test"}
        "val" and "test" train on the images of the split train and test on the images of val or
        test. "cv" cross-validates over all images. "auto" means "cv" if `cv` is given or the data
        have no splits; otherwise "val", or "test" if there is no val.
    random_state : int or None
        Seed of the shuffling.

    Returns
    -------
    split : str
        `cv`, or the name of the split that is tested.
    folds : list of (train rows, test rows)

    Raises
    ------
    DatasetError
        If there is only one class, a class has too few images or groups, or a group is on both
        sides of a given split.
    ParameterError
        If the split is unknown, or `cv` can't divide these images.
    """
    if len(data.classes) < 2:
        raise DatasetError(
            f"all {len(data.y)} images are of one class ({data.classes[0]}); a classifier needs "
            "two or more classes: one subfolder per class, or --labels TABLE"
        )
    chosen = _choose_split(data, "cv" if split == "auto" and cv is not None else split)
    if chosen != "cv":
        return chosen, [_given_fold(data, chosen)]
    cv = 5 if cv is None else cv
    if isinstance(cv, str):
        folds = _one_for_each_group(cv, data)
    elif isinstance(cv, int | numbers.Integral):
        _check_counts(data, int(cv))
        folds = cut(data.y, data.together, int(cv), random_state)
    else:
        folds = _cut_by(cv, data)
    for train, _ in folds:
        if not len(train) or (data.y[train] == data.y[train[0]]).all():
            raise DatasetError(
                "the training groups of a fold have images of one class only; use fewer folds "
                "with --cv, or smaller groups"
            )
    return chosen, folds


def inner_folds(
    y: NDArray[Any], together: NDArray[Any] | None, train: Rows, random_state: int | None
) -> list[Fold]:
    """Divide the training rows of a fold again, for tuning.

    Parameters
    ----------
    y : ndarray of shape (n,), str
        Labels of the whole dataset.
    together : ndarray of shape (n,), int, or None
        Group number of each image; see `Dataset.together`.
    train : ndarray of int
        Training rows of the fold.
    random_state : int or None
        Seed of the shuffling.

    Returns
    -------
    list of (train rows, test rows)
        Indices of the whole dataset.

    Raises
    ------
    DatasetError
        If a class has fewer than two images or groups among the training rows.
    """
    groups = None if together is None else together[train]
    least = fewest(y[train], groups)
    if least < 2:
        raise DatasetError(
            "tuning divides the training images of each fold again, and a class has only one image "
            "or group in them: leave out --tune, use fewer folds with --cv, or add images"
        )
    folds = cut(y[train], groups, min(INNER_CV, least), random_state)
    return [(train[inner], train[held]) for inner, held in folds]


def _one_for_each_group(cv: str, data: Dataset) -> list[Fold]:
    """Return one fold for each group of the user, which tests this group."""
    if cv != LEAVE_ONE_GROUP_OUT:
        raise ParameterError(
            f"--cv is {cv!r}; expected a number of folds, as in --cv 5, or {LEAVE_ONE_GROUP_OUT}"
        )
    if data.groups is None:
        raise ParameterError(
            f"--cv {LEAVE_ONE_GROUP_OUT} needs groups, found none: give --groups FILE|REGEX, for "
            "example --groups '(site[0-9]+)'"
        )
    names = np.unique(data.groups)
    if len(names) < 2:
        raise ParameterError(
            f"--cv {LEAVE_ONE_GROUP_OUT} needs two groups or more, found only {names[0]}; check "
            "--groups, or use --cv 5 without it"
        )
    # Not `data.together`: one copy of an image of another group would leave out that whole group.
    same = merge_groups(len(data.y), None, [data.copies, photograph_pairs(data.ids.tolist())])
    folds = []
    for name in names:
        tested = data.groups == name
        test = np.flatnonzero(tested)
        train = np.flatnonzero(~tested if same is None else ~np.isin(same, same[tested]) & ~tested)
        absent = sorted(set(data.y[test].tolist()) - set(data.y[train].tolist()))
        if absent:
            raise DatasetError(
                f"without the group {name}, there are no training images of {some_of(absent, 3)}: "
                "add images of other groups, leave out these classes, or use --cv 5"
            )
        folds.append((train, test))
    return folds


def _cut_by(cv: Splitter | Iterable[GivenFold], data: Dataset) -> list[Fold]:
    """Return the folds of a user's `cv`, without training rows that are relatives of test rows."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The groups parameter is ignored")
            pairs = check_cv(cv).split(data.X, data.y, data.together)
            folds = [(_as_rows(train, data), _as_rows(test, data)) for train, test in pairs]
    except ValueError as error:
        raise ParameterError(f"cv can't divide these images into folds: {error}") from error
    if not folds:
        raise ParameterError("this cv has no folds; give a number, a splitter or pairs of rows")
    return [(_without_relatives(data, train, test), test) for train, test in folds]


def _as_rows(rows: Any, data: Dataset) -> Rows:
    """Give the numbers of rows, also from a mask of all rows."""
    given = np.asarray(rows)
    if given.dtype == bool and given.shape == data.y.shape:
        return np.flatnonzero(given)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer) or not len(given):
        raise ParameterError(
            f"a fold has rows of the type {given.dtype} and shape {given.shape}; expected numbers "
            "of rows, or a mask with one value for each image"
        )
    if given.min() < 0 or given.max() >= len(data.y):
        raise ParameterError(
            f"a fold has row {given.max() if given.max() >= len(data.y) else given.min()}; rows "
            f"are 0 to {len(data.y) - 1}"
        )
    return given.astype(np.int_)


def _choose_split(data: Dataset, split: str) -> str:
    if split not in SPLIT_CHOICES:
        raise unknown_name("split", split, SPLIT_CHOICES)
    given = set() if data.split is None else set(data.split.tolist())
    if split == "auto":
        usable = [name for name in ("val", "test") if name in given and "train" in given]
        return usable[0] if usable else "cv"
    if split != "cv" and not {"train", split} <= given:
        present = ", ".join(sorted(given)) or "no splits"
        raise ParameterError(
            f"split {split} needs images in folders train and {split}, found {present}; "
            "use --split cv to cross-validate over all images"
        )
    return split


def _given_fold(data: Dataset, split: str) -> Fold:
    train, test = (np.flatnonzero(data.split == name) for name in ("train", split))
    _check_classes(data, train, test, split, "")
    shared = (
        set()
        if data.groups is None
        else set(data.groups[train].tolist()) & set(data.groups[test].tolist())
    )
    if shared:
        raise DatasetError(
            f"{len(shared)} groups, such as {min(shared)!r}, have images in train and in {split}; "
            "move these images, or use --split cv"
        )
    absent = sorted(set(data.y[train]) - set(data.y[test]))
    if absent:
        logger.warning(
            "the %s split has no images of %s; its scores do not include these classes",
            split,
            ", ".join(absent),
        )
    _warn_of_shared(data, train, test, split)
    train = _without_relatives(data, train, test)
    _check_classes(data, train, test, split, " after copies of test images are left out")
    if len(set(data.y[train])) < 2:
        raise DatasetError(
            "the train split has images of one class only; add images of other classes"
        )
    return train, test


def _check_classes(data: Dataset, train: Rows, test: Rows, split: str, when: str) -> None:
    missing = set(data.y[test]) - set(data.y[train])
    if missing:
        raise DatasetError(
            f"the train split has no images of classes of the {split} split{when}: "
            f"{', '.join(sorted(missing))}; add training images of them, or use --split cv"
        )


def _warn_of_shared(data: Dataset, train: Rows, test: Rows, split: str) -> None:
    """Log the pairs of copies that are on both sides of a given split."""
    side = np.zeros(len(data.y), int)
    side[train], side[test] = 1, 2
    divided = [(i, j) if side[i] == 1 else (j, i) for i, j in data.copies if side[i] * side[j] == 2]
    if not divided:
        return
    shown = "".join(f"\n  {data.ids[i]}  =  {data.ids[j]}" for i, j in divided[:20])
    more = f"\n  and {len(divided) - 20} more" if len(divided) > 20 else ""
    logger.warning(
        "train and %s share images: %s the same or nearly the same photograph. No head is trained "
        "on the training images of these pairs:%s%s",
        split,
        "1 pair is" if len(divided) == 1 else f"{len(divided)} pairs are",
        shown,
        more,
    )


def _without_relatives(data: Dataset, train: Rows, test: Rows) -> Rows:
    """Return the training rows without test rows and without their relatives.

    Relatives are copies of a test image, and images of its group.
    """
    overlap = np.isin(train, test)
    if overlap.any():
        logger.warning(
            "%s of this cv %s tested in the same fold and %s left out of training",
            counted(int(overlap.sum()), "training image"),
            *(("is", "is") if overlap.sum() == 1 else ("are", "are")),
        )
        train = train[~overlap]
    together = data.together
    if together is None:
        return train
    return train[~np.isin(together[train], together[test])]


def _check_counts(data: Dataset, cv: int) -> None:
    if cv < 2:
        raise ParameterError(f"cv must be 2 folds or more, got {cv}")
    names, counts = np.unique(data.y, return_counts=True)
    small = names[counts < cv]
    if len(small):
        listed = ", ".join(f"{name} ({counts[names == name][0]})" for name in small[:5])
        least = int(counts.min())
        mend = f"use --cv {least} or add images" if least > 1 else "add images"
        raise DatasetError(
            f"{cv} folds need at least {cv} images of each class; these classes have fewer: "
            f"{listed}; {mend}"
        )
    together = data.together
    if together is None:
        return
    different = len(np.unique(together))
    if different < cv and data.groups is None:
        raise DatasetError(
            f"{cv} folds need {cv} different images, found {different} because copies and "
            "near-duplicates count as one image; use a higher --near-duplicates, or "
            "--near-duplicates off"
        )
    if different < cv:
        given = len(set(data.groups.tolist())) if data.groups is not None else different
        joined = ""
        if given > different:
            joined = (
                f" because near-duplicates connect some of the {given} given groups; if they are "
                "not copies, use --near-duplicates off"
            )
        raise DatasetError(
            f"{cv} folds need {cv} groups, found {different}{joined}: use fewer folds with --cv, "
            f"or --cv {LEAVE_ONE_GROUP_OUT}"
        )
    least = fewest(data.y, together)
    if data.groups is None and least < cv:
        raise DatasetError(
            f"{cv} folds need {cv} different images of each class; one class has only {least}, "
            "because copies count as one image: add images, use fewer folds with --cv, or, if they "
            "are not copies, --near-duplicates off"
        )
