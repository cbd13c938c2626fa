"""Matching the ids of labels and groups with images, and messages about ids without an image."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from tlfeatures.errors import DatasetError
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.features.sources.records import id_without_box
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.paths import how_to_match
from tlfeatures.names import some_of

logger = logging.getLogger(__name__)

_SHOWN = 3  # number of ids in a message


class _Ids:
    """Finds images by ids that may be written in another Unicode form, or with blanks."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids
        self._exact = {id_: place for place, id_ in enumerate(ids)}

    @cached_property
    def _by_form(self) -> dict[str, list[int]]:
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, id_ in enumerate(self._ids):
            places[normalize_name(id_)].append(place)
        return dict(places)

    def find(self, written: str) -> int | None:
        """Return the position of an image; None if there is no such image."""
        for form in (written, written.strip()):
            if form in self._exact:
                return self._exact[form]
        form = normalize_name(written)
        if form not in self._by_form:
            form = form.replace("\\", "/")  # as Windows writes a path
        places = self._by_form.get(form, [])
        if len(places) > 1:
            named = " and ".join(ascii(self._ids[place]) for place in places)
            raise DatasetError(
                f"the id {written!r} matches {len(places)} images, which differ only in blanks or "
                f"Unicode form: {named}; write one of these ids exactly, or rename an image"
            )
        return places[0] if places else None

    @cached_property
    def _parts(self) -> dict[str, list[int]]:
        """Return the positions of the parts of each photograph, by its id in normal form."""
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, id_ in enumerate(self._ids):
            photograph = id_without_box(id_)
            if photograph != id_:
                places[normalize_name(photograph)].append(place)
        return dict(places)

    def find_all(self, written: str) -> list[int]:
        """Return the position of an image or, if only parts of it are images, of all parts."""
        place = self.find(written)
        if place is not None or not self._parts:
            return [] if place is None else [place]
        form = normalize_name(written)
        return self._parts.get(form) or self._parts.get(form.replace("\\", "/"), [])


class Entry(NamedTuple):
    """Label, group and split of an id, and where it is in a table: its line or record."""

    id: str
    row: LabelRow
    line: int | None = None
    unit: str = "line"

    def __str__(self) -> str:
        return repr(self.id) + ("" if self.line is None else f" ({self.unit} {self.line})")


def rows_of_labels(ids: Sequence[str], entries: list[Entry], name: str) -> list[LabelRow]:
    """Return the label, group and split of each image, and warn about entries without an image.

    Parameters
    ----------
    ids : sequence of n str
        Ids of the images.
    entries : list of Entry
        Labels, groups and splits by id.
    name : str
        Name of the labels, for messages.

    Returns
    -------
    list of n LabelRow

    Raises
    ------
    DatasetError
        If no entry matches an image, an image has two labels, or an id matches two images.
    """
    rows, unused, count = rows_of_images(ids, entries, name)
    if len(unused) == count:
        if not unused:
            raise DatasetError(f"{name} has no labels, or no ids")
        raise DatasetError(
            f"no id of the labels matches an image; the ids are {in_words(unused)}; "
            f"{_what_an_id_is(ids)}{_how_to_match(unused, ids)}"
        )
    if unused:
        logger.warning(
            "%d of %d labels match no embedded image: %s; %s",
            len(unused),
            count,
            in_words(unused),
            _what_an_id_is(ids),
        )
    return rows


def rows_of_images(
    ids: Sequence[str], entries: list[Entry], name: str
) -> tuple[list[LabelRow], list[Entry], int]:
    """Return the row of each image, the entries without an image, and the number of different ids.

    An entry of a photograph is one of all its parts that are images, too. Unlike `rows_of_labels`,
    this function accepts entries of which none matches an image.
    """
    finder = _Ids(ids)
    by_key: dict[int | str, Entry] = {}
    for entry in entries:
        keys: list[int] | list[str] = finder.find_all(entry.id) or [normalize_name(entry.id)]
        for key in keys:
            other = by_key.setdefault(key, entry)
            if other.row is not entry.row and other.row != entry.row:
                raise _twice(name, other, entry)
    nothing = LabelRow(None)
    rows = [by_key[place].row if place in by_key else nothing for place in range(len(ids))]
    return rows, [entry for key, entry in by_key.items() if isinstance(key, str)], len(by_key)


def _twice(name: str, first: Entry, second: Entry) -> DatasetError:
    lines = "" if second.line is None else f" ({second.unit}s {first.line} and {second.line})"
    return DatasetError(
        f"{name} has {second.id!r} twice{lines} with different values; remove one of them"
    )


def _how_to_match(unused: Sequence[Entry], ids: Sequence[str]) -> str:
    """Return a hint why the first id of the labels matches no image."""
    hint = how_to_match(unused[0].id, ids, "labels")
    if hint:
        return hint
    return "; --columns id=NAME names another column" if _has_lines(unused) else ""


def _has_lines(entries: Sequence[Entry]) -> bool:
    return any(entry.line is not None for entry in entries)


def in_words(entries: Sequence[Entry]) -> str:
    """Return the first ids, with their lines, and the number of further ids."""
    return some_of(map(str, entries), _SHOWN)


def _what_an_id_is(ids: Sequence[str]) -> str:
    return f"an id is the path of an image relative to the extracted folder, for example {ids[0]!r}"
