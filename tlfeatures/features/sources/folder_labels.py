"""What the folders say of an image: its class, and its split, by the path that is its id.

The class is the top folder (`CLASS/image`), or the folder below it where the top folders are
splits (`SPLIT/CLASS/image`). These are splits if each of them has the name of one, train is among
them, and train has subfolders; a folder train that holds images itself is a class called train.
Any other part of the path is asked for as a level: 1 is the top folder, 2 the folder in it, -1 the
folder that holds the image. Levels count from the top of the path, a split's folder too.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tlfeatures.errors import ParameterError
from tlfeatures.features.sources.spelling import clean
from tlfeatures.names import some_of

_SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout"), "test"),
}
SPLITS = "train, val or test"  # in messages

_WORD = re.compile(r"[^\W\d_]+")
_NEW_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")  # TrainImages
# Words beside a split's that say nothing, as in train_images and "Training set".
_FILLERS = frozenset(
    {"set", "sets", "data", "dataset", "split", "images", "image", "imgs", "img", "photos"}
    | {"pictures", "folder", "files", "subset"}
)
_SHOWN = 4


@dataclass(frozen=True)
class Row:
    """What is known of one image beside its embedding; None where it is not."""

    label: str | None
    group: str | None = None
    split: str | None = None


def split_named(name: str) -> str | None:
    """Give the split that a name means: train, val or test; None if it means none.

    The name is a word for a split, or has one among words that are joined by anything but letters:
    `Training`, `dev`, `seg_train`, "Test set", `train2017`.
    """
    return _split_and_rest(name)[0]


def _split_and_rest(name: str) -> tuple[str | None, frozenset[str]]:
    """Give the split, and the words of the name that say something else."""
    words = _WORD.findall(_NEW_WORD.sub(" ", clean(name)).casefold())
    joined = "".join(words)  # hold-out
    if _stem(joined) in _SPLITS:
        return _SPLITS[_stem(joined)], frozenset()
    found = {_SPLITS[stem] for word in words if (stem := _stem(word)) in _SPLITS}
    rest = frozenset(word for word in words if _stem(word) not in _SPLITS)
    return (found.pop() if len(found) == 1 else None), rest - _FILLERS


def _stem(word: str) -> str:
    """Give a word without the ends that say nothing: testset, trainings. Trains are a class."""
    single = word.removesuffix("s")
    if single in _SPLITS and single != "train":
        return single
    return word.removesuffix("set")


def from_folders(ids: Sequence[str], level: int | None = None) -> list[Row]:
    """Find label and split of images by their folders.

    Parameters
    ----------
    ids : sequence of str
        POSIX paths.
    level : int, optional
        Which part of the path is the label, see above; not given, it is found out.

    Returns
    -------
    list of Row
        The label is None where the path has no such part. Labels are in the form of `clean`.

    Raises
    ------
    ParameterError
        If the level is 0, or no whole number.
    """
    check_level(level)
    rows = _rows_of({_folder_of(id_) for id_ in ids}, level)
    return [rows[_folder_of(id_)] for id_ in ids]


def _folder_of(id_: str) -> str:
    return id_.rpartition("/")[0]


def _rows_of(folders: Iterable[str], level: int | None = None) -> dict[str, Row]:
    """Give what each folder says; of many images there are few folders."""
    paths = {folder: folder.split("/") if folder else [] for folder in folders}
    splits = _split_folders(list(paths.values()), level)
    place = level or (2 if splits else 1)
    return {
        folder: Row(_label(path, place, splits), split=splits.get(path[0]) if path else None)
        for folder, path in paths.items()
    }


def check_level(level: int | None) -> None:
    """Refuse what is no level (see above) with `ParameterError`."""
    if level is not None and (type(level) is not int or level == 0):
        raise ParameterError(
            f"label_level is {level!r}; expected 1 for the top folder, 2 for the folder in it, and "
            "so on, or -1 for the folder that holds the image"
        )


def count_labels(ids: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Count the images of each class and of each split that the folders name, sorted by name."""
    counts = Counter(map(_folder_of, ids))
    classes: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    for folder, row in _rows_of(counts).items():
        if row.label is not None:
            classes[row.label] += counts[folder]
        if row.split is not None:
            splits[row.split] += counts[folder]
    return dict(sorted(classes.items())), {
        name: splits[name] for name in ("train", "val", "test") if name in splits
    }


def _label(path: list[str], place: int, splits: dict[str, str]) -> str | None:
    number = place - 1 if place > 0 else len(path) + place
    if not 0 <= number < len(path) or (splits and number == 0):
        return None
    return clean(path[number]) or None


def _split_folders(paths: list[list[str]], level: int | None) -> dict[str, str]:
    """Give the split of each top folder; empty if these are no splits."""
    if level == 1:
        return {}
    labelled = paths if level is None else [path for path in paths if _label(path, level, {})]
    named = {top: _split_and_rest(top) for top in {path[0] for path in labelled if path}}
    splits = {top: split for top, (split, _) in named.items() if split is not None}
    others = {rest for _, rest in named.values()}
    # bus_test and train_station are two classes: what they say beside a split's name differs.
    if len(splits) < len(named) or len(others) != 1 or not _train_has_classes(paths, splits):
        return {}
    return splits


def _train_has_classes(paths: list[list[str]], splits: dict[str, str]) -> bool:
    return any(len(path) > 1 and splits.get(path[0]) == "train" for path in paths)


# ---- what may be meant otherwise


def folder_hint(ids: Iterable[str], level: int | None = None) -> str | None:
    """Say in a sentence why the folders may mean something else than `from_folders` takes them for.

    None where nothing speaks for that, or a level is given.
    """
    if level is not None:
        return None
    paths = [folder.split("/") for folder in {_folder_of(id_) for id_ in ids} if folder]
    splits = _split_folders(paths, None)
    return (None if splits else _beside_splits(paths)) or _same_subfolders(paths, splits)


def _beside_splits(paths: list[list[str]]) -> str | None:
    tops = {path[0] for path in paths}
    splits = {top: split for top in tops if (split := split_named(top)) is not None}
    if not _train_has_classes(paths, splits):
        return None
    what = f"the folders {_named(splits)} look like splits"
    if len(splits) < len(tops):
        which = "splits" if len(splits) > 1 else "split"
        what = f"beside the {which} {_named(splits)} there is {_named(tops - set(splits))}"
    return (
        f"{what}: every one of these folders is taken for a class; are the classes the folders in "
        f"them? {_give_level(2)}"
    )


def _same_subfolders(paths: list[list[str]], splits: dict[str, str]) -> str | None:
    """Whether the folders that are taken for classes all hold the same subfolders, as sites do."""
    place = 2 if splits else 1
    below: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        if len(path) >= place:
            below[clean(path[place - 1])] |= {clean(name) for name in path[place : place + 1]}
    counts = Counter(name for names in below.values() for name in names)
    common = {name for name, count in counts.items() if count > 1 or len(below) == 1}
    shared = sum(counts[name] for name in common)
    if max(map(len, below.values()), default=0) < 2 or 2 * shared <= sum(counts.values()):
        return None
    if all(split_named(name) for name in common):
        if len(below) == 1:
            return (
                f"all images are in the folder {next(iter(below))}, which holds the splits "
                f"{_named(common)}: they are used if `tlfeatures extract` is given that folder"
            )
        return (
            f"the subfolders {_named(common)} of the classes are not used as splits: put the "
            "classes into folders train and test, or give the splits by --labels (column split)"
        )
    which = "every top folder has" if place == 1 else f"every folder in {_named(splits)} has"
    same = "the same" if min(counts.values()) == len(below) else "mostly the same"
    if len(below) == 1:
        which, same = "all images are in one folder, which has", "the"
    return (
        f"{which} {same} subfolders ({_named(common)}): are those the classes? "
        f"{_give_level(place + 1)}"
    )


def _give_level(level: int) -> str:
    return (
        f"If so, give --label-level {level} to fit, benchmark, learning-curve, audit and evaluate"
    )


def _named(names: Iterable[str]) -> str:
    return some_of(sorted(names), _SHOWN)
