"""Read the label and the split of an image from the folders in its id.

The label is the top folder (`CLASS/image`), or the folder below it where the top folders are
splits (`SPLIT/CLASS/image`). Top folders are splits if all of them have the name of a split, train
is among them, and train has subfolders; a folder train that holds images itself is a class.
Another part of the path is selected by its level: 1 is the top folder, 2 the folder in it, -1 the
folder that holds the image. Levels count from the top of the path, a split's folder too.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tlfeatures.errors import ParameterError
from tlfeatures.features.sources.endings import CONTAINER_ENDINGS
from tlfeatures.features.sources.spelling import normalize_name

SPLIT_NAMES = ("train", "val", "test")

_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout"), "test"),
}
_WORD = re.compile(r"[^\W\d_]+")
_NEW_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")  # TrainImages
# Words that add nothing to the name of a split, as in train_images and "Training set".
_FILLER_WORDS = frozenset(
    {"set", "sets", "data", "dataset", "split", "images", "image", "imgs", "img", "photos"}
    | {"pictures", "folder", "files", "subset"}
)


@dataclass(frozen=True)
class LabelRow:
    """One image's row in a table of labels.

    Attributes
    ----------
    label : str or None
        Class of the image; None if it has none.
    group : str or None
        Images of one group stay on one side of every split; None if it has none.
    split : {"train", "val", "test"} or None
        None if it is in none.
    """

    label: str | None
    group: str | None = None
    split: str | None = None


def split_from_name(name: str) -> str | None:
    """Return the split that a name means: train, val or test; None if it means none.

    The name is a word for a split, or has one among words that are joined by anything but letters:
    `Training`, `dev`, `seg_train`, "Test set", `train2017`.
    """
    return _split_and_other_words(name)[0]


def _split_and_other_words(name: str) -> tuple[str | None, frozenset[str]]:
    """Return the split, and the words of the name that mean something else."""
    words = _WORD.findall(_NEW_WORD.sub(" ", normalize_name(name)).casefold())
    joined = _stem("".join(words))  # hold-out
    if joined in _SPLIT_WORDS:
        return _SPLIT_WORDS[joined], frozenset()
    splits = {_SPLIT_WORDS[stem] for word in words if (stem := _stem(word)) in _SPLIT_WORDS}
    others = frozenset(word for word in words if _stem(word) not in _SPLIT_WORDS)
    return (splits.pop() if len(splits) == 1 else None), others - _FILLER_WORDS


def _stem(word: str) -> str:
    """Remove endings without meaning: testset, trainings. Trains are a class."""
    singular = word.removesuffix("s")
    if singular in _SPLIT_WORDS and singular != "train":
        return singular
    return word.removesuffix("set")


def labels_from_folders(ids: Sequence[str], level: int | None = None) -> list[LabelRow]:
    """Read label and split of images from their folders.

    Parameters
    ----------
    ids : sequence of str
        POSIX paths.
    level : int, optional
        The part of the path that is the label, see the module's description. If not given, it is
        chosen by whether the top folders are splits.

    Returns
    -------
    list of LabelRow
        The label is None where the path has no such part. Labels are in the form of
        `normalize_name`.

    Raises
    ------
    ParameterError
        If the level is 0, or no whole number.
    """
    check_level(level)
    folders = list(map(folder_of, ids))
    rows = _rows_by_folder(set(folders), level)
    return [rows[folder] for folder in folders]


def with_folder_labels(
    rows: Mapping[str, LabelRow], level: int | None = None
) -> dict[str, LabelRow]:
    """Return rows with the labels of the folders in their ids; a group or split stays.

    Parameters
    ----------
    rows : mapping of id to LabelRow
    level : int, optional
        See `labels_from_folders`.
    """
    folders = labels_from_folders([*rows], level)
    return {
        id_: LabelRow(folder.label, row.group, row.split or folder.split)
        for (id_, row), folder in zip(rows.items(), folders, strict=True)
    }


def labels_below(ids: Sequence[str], parts: int) -> dict[str, LabelRow] | None:
    """Read labels and splits of images of several folders from the folders inside of these.

    Parameters
    ----------
    ids : sequence of str
        POSIX paths. They begin with the name of the folder that was given.
    parts : int
        Number of parts of this name: 1 for `site1/cat/1.png`.

    Returns
    -------
    dict of id to LabelRow, or None
        None if an image is directly in one of the given folders, which then are the classes.
    """
    below = [id_.split("/", parts)[-1] for id_ in ids]
    if not all(map(folder_of, below)):
        return None
    return dict(zip(ids, labels_from_folders(below), strict=True))


def folder_of(id_: str) -> str:
    """Return the path of the folder that holds an image; "" if it is in none."""
    return id_.rpartition("/")[0]


def parts_of_folders(folders: Iterable[str]) -> dict[str, list[str]]:
    """Return the parts of each folder's path that may be labels and splits.

    The name of an archive that images are in is no label, nor is a folder in it that holds
    everything else. Several archives are splits if all of them have the name of a split and train
    is among them, as in train.zip and test.zip.
    """
    paths = {folder: folder.split("/") if folder else [] for folder in folders}
    inside: defaultdict[tuple[str, ...], dict[str, list[str]]] = defaultdict(dict)
    for folder, path in paths.items():
        depth = next((at + 1 for at, name in enumerate(path) if _is_archive(name)), 0)
        if depth:
            inside[tuple(path[:depth])][folder] = path[depth:]
    splits = splits_of_archives({archive: "/".join(archive) for archive in inside})
    for archive, split in splits.items():  # train.zip is often made of a folder train
        tops = {path[0] if len(path) > 1 else "" for path in inside[archive].values()}
        if {split_from_name(top) for top in tops} == {split}:
            inside[archive] = {folder: path[1:] for folder, path in inside[archive].items()}
    skipped = _common_folders([path for below in inside.values() for path in below.values()])
    for archive, below in inside.items():
        above = [splits[archive]] if archive in splits else []
        paths |= {folder: above + path[skipped:] for folder, path in below.items()}
    return paths


def _common_folders(paths: list[list[str]]) -> int:
    """Return how many folders, one in the other, hold everything else, and are no splits."""
    depth = 0
    while True:
        tops = {path[depth] if len(path) > depth + 1 else None for path in paths}
        top = tops.pop() if len(tops) == 1 else None
        if top is None or split_from_name(top) is not None:
            return depth
        depth += 1


Archive = TypeVar("Archive", bound=Hashable)


def splits_of_archives(names: Mapping[Archive, str]) -> dict[Archive, str]:
    """Return the split of each of several archives; empty if their names are no splits.

    Parameters
    ----------
    names : mapping of archive to str
        The names of the files, as in train-00000-of-00002.parquet, or train/0.tar where a folder
        tells them apart.
    """
    stems = {archive: name.rpartition(".")[0] for archive, name in names.items()}
    words = {archive: _split_and_other_words(stem) for archive, stem in stems.items()}
    splits = {archive: split for archive, (split, _) in words.items() if split is not None}
    alike = len({others for _, others in words.values()}) == 1
    is_split = alike and len(splits) == len(names) > 1 and "train" in splits.values()
    return splits if is_split else {}


def _is_archive(name: str) -> bool:
    return name.lower().endswith(CONTAINER_ENDINGS)


def _rows_by_folder(folders: Iterable[str], level: int | None = None) -> dict[str, LabelRow]:
    """Return the row of each folder's images: there are far fewer folders than images."""
    paths = parts_of_folders(folders)
    splits = splits_of_top_folders(list(paths.values()), level)
    level = level or (2 if splits else 1)
    return {
        folder: LabelRow(_label(path, level, splits), split=splits.get(path[0]) if path else None)
        for folder, path in paths.items()
    }


def check_level(level: int | None) -> None:
    """Raise `ParameterError` if a level is 0 or no whole number; None is allowed."""
    if level is not None and (type(level) is not int or level == 0):
        raise ParameterError(
            f"label_level is {level!r}; expected 1 for the top folder, 2 for the folder in it, and "
            "so on, or -1 for the folder that holds the image"
        )


def count_labels(ids: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Count the images of each class and of each split by their folders.

    Parameters
    ----------
    ids : iterable of str
        POSIX paths.

    Returns
    -------
    classes : dict of str to int
        Number of images by class, sorted by name.
    splits : dict of str to int
        Number of images by split: train, val, test.
    """
    counts = Counter(map(folder_of, ids))
    rows = _rows_by_folder(counts)
    return count_rows({folder: (row, counts[folder]) for folder, row in rows.items()}.values())


def count_rows(
    counted_rows: Iterable[tuple[LabelRow, int]],
) -> tuple[dict[str, int], dict[str, int]]:
    """Count the images of each class and of each split, as `count_labels` does.

    Parameters
    ----------
    counted_rows : iterable of (LabelRow, int)
        Label rows, and how many images have each.
    """
    classes: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    for row, count in counted_rows:
        if row.label is not None:
            classes[row.label] += count
        if row.split is not None:
            splits[row.split] += count
    return dict(sorted(classes.items())), {
        name: splits[name] for name in SPLIT_NAMES if name in splits
    }


def _label(path: list[str], level: int, splits: dict[str, str]) -> str | None:
    index = level - 1 if level > 0 else len(path) + level
    if not 0 <= index < len(path) or (splits and index == 0):
        return None
    return normalize_name(path[index]) or None


def splits_of_top_folders(paths: list[list[str]], level: int | None) -> dict[str, str]:
    """Return the split of each top folder; empty if the top folders are no splits.

    Parameters
    ----------
    paths : list of list of str
        The parts of each folder's path.
    level : int, optional
        See `labels_from_folders`.
    """
    if level == 1:
        return {}
    labelled = paths if level is None else [path for path in paths if _label(path, level, {})]
    names = {path[0] for path in labelled if path}
    tops = {name: _split_and_other_words(name) for name in names}
    splits = {top: split for top, (split, _) in tops.items() if split is not None}
    other_words = {words for _, words in tops.values()}
    # bus_test and train_station are two classes: the other words of their names differ.
    if len(splits) < len(tops) or len(other_words) != 1 or not train_has_classes(paths, splits):
        return {}
    return splits


def train_has_classes(paths: list[list[str]], splits: dict[str, str]) -> bool:
    """Whether a folder of the split train has subfolders."""
    return any(len(path) > 1 and splits.get(path[0]) == "train" for path in paths)
