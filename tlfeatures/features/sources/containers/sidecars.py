"""The labels in a WebDataset's tar: small files beside each image, with the same key.

The key of a file is its name up to the first dot. The label is the text or number in `KEY.cls`,
else a value in `KEY.json`, else the line in `KEY.txt` if such lines repeat: captions don't.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tlfeatures.errors import ImageError
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.features.sources.locations import is_url, read_url
from tlfeatures.features.sources.records import Container
from tlfeatures.features.sources.spelling import normalize_name

logger = logging.getLogger(__name__)

# Keys of a JSON object that may have the label, names of classes before their numbers.
_JSON_KEYS = ("class_name", "classname", "label_name", "label", "class", "cls", "category")
_CLASS_NAMES = "classnames.txt"  # one class per line, in the order of the numbers
_LONGEST = 100  # characters of a label in a .txt


def sidecar_key(name: str) -> tuple[str, str]:
    """Return the key of a file, and what follows the first dot of its name, in lower case."""
    folder, slash, file = name.rpartition("/")
    stem, _, kind = file.partition(".")
    return folder + slash + stem, kind.lower()


def sidecars(names: Iterable[str], images: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the names of the files that may have labels: kind -> key of an image -> name."""
    keys = {sidecar_key(name)[0] for name in images}
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        key, kind = sidecar_key(name)
        if kind in _PARSERS and key in keys:
            found[kind][key] = name
    return found


def sidecar_labels(
    archive: Container, names: Iterable[str], images: Sequence[str]
) -> dict[str, LabelRow] | None:
    """Read the labels of images in an archive.

    Parameters
    ----------
    archive : Container
    names : iterable of str
        Names of all files.
    images : sequence of str
        Names of the images.

    Returns
    -------
    dict of name to LabelRow, or None
        None if there are no such files, or none has a label.
    """
    names = list(names)
    found = sidecars(names, images)
    for kind, parse in _PARSERS.items():
        labels = {key: _read_label(archive, name, parse) for key, name in found[kind].items()}
        given = [label for label in labels.values() if label is not None]
        if given and (kind != "txt" or 2 * len(set(given)) <= len(given)):
            classes = _class_names(archive, names, given)
            _warn_of_missing(archive.path, kind, labels, images)
            return {
                name: LabelRow(classes.get(label, label) if label is not None else None)
                for name in images
                for label in [labels.get(sidecar_key(name)[0])]
            }
    return None


def _read_label(archive: Container, name: str, parse: Callable[[str], object]) -> str | None:
    try:
        value = parse(archive.read(name).decode("utf-8-sig"))
    except (ImageError, ValueError, RecursionError):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return normalize_name(str(value)) or None


def _label_in_json(text: str) -> object:
    facts = json.loads(text)
    if not isinstance(facts, dict):
        return None
    usable = (facts[key] for key in _JSON_KEYS if isinstance(facts.get(key), str | int))
    return next(usable, None)


def _label_in_line(text: str) -> object:
    line = text.strip()
    return None if len(line) > _LONGEST or "\n" in line else line


_PARSERS: dict[str, Callable[[str], object]] = {
    "cls": str,
    "json": _label_in_json,
    "txt": _label_in_line,
}


def _warn_of_missing(
    location: str, kind: str, labels: dict[str, str | None], images: Sequence[str]
) -> None:
    missing = [name for name in images if labels.get(sidecar_key(name)[0]) is None]
    if missing:
        logger.warning(
            "%s: %d of %d images have no label in a .%s file, the first one is %r",
            location,
            len(missing),
            len(images),
            kind,
            missing[0],
        )


def _class_names(archive: Container, names: Sequence[str], labels: Iterable[str]) -> dict[str, str]:
    """Return the names of numbered classes, from a file in the archive, beside or above it."""
    numbers = {int(label) for label in labels if label.isascii() and label.isdigit()}
    if len(numbers) < len(set(labels)):
        return {}
    text = archive.read(_CLASS_NAMES) if _CLASS_NAMES in names else _text_beside(archive.path)
    lines = text.decode("utf-8-sig", "replace").splitlines()
    classes = [normalize_name(line) for line in lines]
    if max(numbers) >= len(classes) or not all(classes[number] for number in numbers):
        return {}
    return {str(number): classes[number] for number in numbers}


def _text_beside(location: str) -> bytes:
    """Read the names of classes in the folder of an archive, or in the one above it."""
    if is_url(location):
        folder = location.rpartition("/")[0]
        places: list[str | Path] = [
            f"{above}/{_CLASS_NAMES}" for above in (folder, folder.rpartition("/")[0])
        ]
    else:
        path = Path(location).absolute()
        places = [above / _CLASS_NAMES for above in path.parents[:2]]
    for place in places:
        try:
            return read_url(place) if isinstance(place, str) else place.read_bytes()
        except (ImageError, OSError):
            continue
    return b""
