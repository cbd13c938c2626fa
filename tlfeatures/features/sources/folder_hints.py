"""Say why folders may mean something else than `labels_from_folders` takes them for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from tlfeatures.features.sources.folder_labels import (
    folder_of,
    parts_of_folders,
    split_from_name,
    splits_of_top_folders,
    train_has_classes,
)
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.names import some_of

_MAX_NAMES = 4  # folders that a message names


def folder_hint(ids: Iterable[str], level: int | None = None) -> str | None:
    """Write a hint for folders that may have been misunderstood.

    Parameters
    ----------
    ids : iterable of str
        POSIX paths.
    level : int, optional
        See `labels_from_folders`.

    Returns
    -------
    str or None
        A sentence. None if a level is given, or the folders leave no doubt.
    """
    if level is not None:
        return None
    folders = parts_of_folders({folder_of(id_) for id_ in ids})
    paths = [path for path in folders.values() if path]
    splits = splits_of_top_folders(paths, None)
    hint = None if splits else _hint_of_splits(paths)
    return hint or _hint_of_subfolders(paths, splits)


def _hint_of_splits(paths: list[list[str]]) -> str | None:
    """Write a hint where some top folders look like splits, and are taken for classes."""
    tops = {path[0] for path in paths}
    splits = {top: split for top in tops if (split := split_from_name(top)) is not None}
    if not train_has_classes(paths, splits):
        return None
    finding = f"the folders {_listed(splits)} look like splits"
    if len(splits) < len(tops):
        noun = "splits" if len(splits) > 1 else "split"
        finding = f"beside the {noun} {_listed(splits)} there is {_listed(tops - set(splits))}"
    return (
        f"{finding}: every one of these folders is taken for a class; are the classes the folders "
        f"in them? {_advice(2)}"
    )


def _hint_of_subfolders(paths: list[list[str]], splits: dict[str, str]) -> str | None:
    """Write a hint where all folders that are taken for classes have the same subfolders."""
    level = 2 if splits else 1
    subfolders: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        if len(path) >= level:
            below = {normalize_name(name) for name in path[level : level + 1]}
            subfolders[normalize_name(path[level - 1])] |= below
    counts = Counter(name for names in subfolders.values() for name in names)
    common = {name for name, count in counts.items() if count > 1 or len(subfolders) == 1}
    shared = sum(counts[name] for name in common)
    if max(map(len, subfolders.values()), default=0) < 2 or 2 * shared <= sum(counts.values()):
        return None
    only_class = next(iter(subfolders)) if len(subfolders) == 1 else None
    if all(split_from_name(name) for name in common):
        return _hint_of_splits_below(common, only_class)
    which = "every top folder has" if level == 1 else f"every folder in {_listed(splits)} has"
    same = "the same" if min(counts.values()) == len(subfolders) else "mostly the same"
    if only_class is not None:
        which, same = "all images are in one folder, which has", "the"
    return (
        f"{which} {same} subfolders ({_listed(common)}): are those the classes? "
        f"{_advice(level + 1)}"
    )


def _hint_of_splits_below(splits: Iterable[str], only_class: str | None) -> str:
    """Write a hint where the folders that are taken for classes have splits as subfolders."""
    if only_class is not None:
        return (
            f"all images are in the folder {only_class}, which holds the splits "
            f"{_listed(splits)}: they are used if `tlfeatures extract` is given that folder"
        )
    return (
        f"the subfolders {_listed(splits)} of the classes are not used as splits: put the "
        "classes into folders train and test, or give the splits by --labels (column split)"
    )


def _advice(level: int) -> str:
    return (
        f"If so, give --label-level {level} to fit, benchmark, learning-curve, audit and evaluate"
    )


def _listed(names: Iterable[str]) -> str:
    return some_of(sorted(names), _MAX_NAMES)
