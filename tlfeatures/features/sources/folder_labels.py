"""Read the label and the split of an image from the folders in its id.

The label is the top folder (`CLASS/image`), or the folder below it where the top folders are
splits (`SPLIT/CLASS/image`). Top folders are splits if all of them have the name of a split, train
is among them, and train has subfolders; a folder train that holds images itself is a class.
Another part of the path is selected by its level: 1 is the top folder, 2 the folder in it, -1 the
folder that holds the image. Levels count from the top of the path, a split's folder too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tlfeatures.errors import ParameterError
from tlfeatures.features.sources.spelling import normalize_name

SPLIT_NAMES = ("train", "val", "test")
ARCHIVE_ENDINGS = (".zip", ".tar", ".parquet")  # an id in such a file begins with its name

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
    rows = _rows_by_folder({folder_of(id_) for id_ in ids}, level)
    return [rows[folder_of(id_)] for id_ in ids]


def folder_of(id_: str) -> str:
    """Return the path of the folder that holds an image; "" if it is in none."""
    return id_.rpartition("/")[0]


def parts_of_folders(folders: Iterable[str]) -> dict[str, list[str]]:
    """Return the parts of each folder's path that may be labels and splits.

    The name of an archive that images are in is no label. Several archives are splits if all of
    them have the name of a split and train is among them, as in train.zip and test.zip.
    """
    paths = {folder: folder.split("/") if folder else [] for folder in folders}
    archives = {path[0] for path in paths.values() if path and _is_archive(path[0])}
    splits = {name: split_from_name(name.rpartition(".")[0]) for name in archives}
    if len(archives) > 1 and None not in splits.values() and "train" in splits.values():
        stems = {name: [name.rpartition(".")[0]] for name in archives}
    else:
        stems = {name: [] for name in archives}
    return {
        folder: [*stems[path[0]], *path[1:]] if path and path[0] in archives else path
        for folder, path in paths.items()
    }


def _is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVE_ENDINGS)


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
