"""A Parquet file with the bytes of images as a source, as Hugging Face's datasets have them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.containers.archive import file_name
from tlfeatures.features.sources.containers.names import clean_name
from tlfeatures.features.sources.containers.parquet_rows import (
    ParquetImages,
    forget,
    image_leaves,
    one_line,
    open_parquet,
)
from tlfeatures.features.sources.containers.parts import open_parts
from tlfeatures.features.sources.folder_labels import LabelRow, split_from_name
from tlfeatures.features.sources.locations import is_url
from tlfeatures.features.sources.protocol import Columns
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.cells import RawTable
from tlfeatures.features.sources.tables.parquet import class_names
from tlfeatures.features.sources.tables.roles import Wanted, choose_columns

logger = logging.getLogger(__name__)

_ENDING = ".parquet"
_IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "png", "image_bytes", "bytes")
_ROLES = ("label", "group", "split")
_DIGITS = 6  # of a row's number, as ids must not change where rows are added


class ParquetSource:
    """The images in the rows of a Parquet file.

    The id of an image is the name of the file and the path in its row, as in
    `train-00000-of-00001.parquet/ants/1.jpg`, if the rows are in the order of the paths. Else, and
    where paths are missing, repeated or absolute, it has the number of the row instead: images are
    read in the order of their ids, and a Parquet file in another order takes very long. The
    labels are a column `label`, or the only column of the type ClassLabel, whose names are those in
    the file.

    Parameters
    ----------
    location : path or URL
    columns : mapping of {"id", "label", "group", "split"} to str, optional
        Names of columns; `id` is the column with the images. An empty name means no column.

    Raises
    ------
    ParameterError
        If pyarrow is not installed.
    """

    def __init__(self, location: str, columns: Columns | None = None) -> None:
        self.location = location
        self.name = file_name(location)
        if not self.name.lower().endswith(_ENDING):
            self.name += _ENDING
        self._columns = dict(columns or {})

    def images(self) -> Iterator[ImageRecord]:
        """Yield the images in the order of their ids.

        Raises
        ------
        SourceError
            If it is no Parquet file, is damaged, or has no column of images.
        """
        self._read_again()
        container = ParquetImages(self.location, self._table.image_leaf)
        for row, id_ in enumerate(self._ids):
            yield ImageRecord(f"{self.name}/{id_}", container, str(row))

    def labels(self) -> dict[str, LabelRow] | None:
        """Return the labels, groups and splits in the columns; None if the file has no labels.

        Raises
        ------
        SourceError
            If several columns may be the label, or a column has values that are no labels.
        """
        columns = self._table.columns_of_roles(self._columns)
        if "label" not in columns:
            return None
        label, group, split = (
            self._table.texts(columns[role]) if role in columns else [None] * len(self._ids)
            for role in _ROLES
        )
        return {
            f"{self.name}/{id_}": LabelRow(one, its_group, split_from_name(its_split or ""))
            for id_, one, its_group, its_split in zip(self._ids, label, group, split, strict=True)
        }

    def no_images_error(self, expected: str = "expected rows with images") -> SourceError:
        """Create the error for a file without rows."""
        return SourceError(f"{self.location} has no rows; {expected}")

    def _read_again(self) -> None:
        """Forget what an earlier listing read: the file may have changed."""
        vars(self).pop("_table", None)
        vars(self).pop("_ids", None)
        forget(self.location)

    @cached_property
    def _table(self) -> _Table:
        return _Table(self.location, self._columns.get("id"))

    @cached_property
    def _ids(self) -> list[str]:
        """The id of each row's image, in the order of the rows."""
        paths = self._table.paths()
        clean = [clean_name(path) if isinstance(path, str) else None for path in paths]
        named = [path for path in clean if path is not None]
        if len(named) == len(paths) and all(a < b for a, b in pairwise(named)):
            return named
        if any(paths):
            logger.info(
                "%s: images are named by the numbers of their rows, as paths are missing or "
                "repeated, or the rows are in another order",
                self.location,
            )
        digits = max(_DIGITS, len(str(len(paths) - 1)))
        return [f"{row:0{digits}}" for row in range(len(paths))]


class _Table:
    """The columns of a Parquet file except for the bytes of the images.

    Raises
    ------
    SourceError
        If no column has the bytes of images, or several have them.
    """

    def __init__(self, location: str, image: str | None = None) -> None:
        self._location = location
        with open_parts(location, fresh=True) as parts:
            file = open_parquet(parts)
            schema, self._rows = file.schema_arrow, file.metadata.num_rows
            if self._rows > parts.size:  # a list of so many would fill the memory
                raise SourceError(
                    f"{location} is damaged: it says that it has {self._rows:,} rows of images, "
                    f"and it has {parts.size:,} bytes"
                )
        self._classes = class_names(schema)
        self._names: list[str] = schema.names
        leaves = image_leaves(schema)
        column = self._choose_image(list(leaves), image)
        self.image_leaf, self._path_leaf = leaves[column]
        self._others = [name for name in self._names if name != column]

    def _choose_image(self, candidates: list[str], given: str | None) -> str:
        if given:
            if given not in candidates:
                raise SourceError(
                    f"{self._location} has no column {given!r} with bytes of images; it has the "
                    f"columns {', '.join(self._names)}"
                )
            return given
        usual = [name for wanted in _IMAGE_NAMES for name in candidates if name.lower() == wanted]
        chosen = usual[:1] or candidates
        if len(chosen) != 1:
            raise SourceError(
                f"{self._location} has the columns {', '.join(self._names)}; "
                + (
                    f"several have bytes of images: choose one, --columns id={chosen[0]}"
                    if chosen
                    else "expected one with bytes of images"
                )
            )
        return chosen[0]

    def paths(self) -> Sequence[object]:
        """Return the path of each row's image; None where there is none."""
        return [None] * self._rows if self._path_leaf is None else self._read(self._path_leaf)

    def columns_of_roles(self, columns: Columns) -> dict[str, str]:
        """Return the columns of label, group and split.

        Raises
        ------
        SourceError
            If a named column is missing, or several columns may have a role.
        """
        header = [normalize_name(name) for name in self._others]
        given = {role: columns[role] for role in _ROLES if role in columns}
        wanted = Wanted((), _ROLES, {**given, "x": ""})  # boxes are those of tables
        places = choose_columns(self._location, RawTable(header, []), wanted)
        chosen = {role: self._others[places[role]] for role in _ROLES if role in places}
        classes = [name for name in self._others if name in self._classes]
        if "label" not in {*chosen, *given} and classes:
            if len(classes) > 1:
                raise SourceError(
                    f"{self._location} has the columns {' and '.join(classes)}, and each may be "
                    f"the label; choose one: --columns label={classes[0]}, or label= for none"
                )
            chosen["label"] = classes[0]
        return chosen

    def texts(self, column: str) -> list[str | None]:
        """Return the values of a column as texts, names of classes for their numbers.

        Raises
        ------
        SourceError
            If a value is no text and no whole number, or has no name.
        """
        known = self._classes.get(column)
        values = self._read(column)
        texts = {value: self._text(column, value, known) for value in _distinct(values)}
        return [texts[value] if value.__hash__ else None for value in values]

    def _text(self, column: str, value: Any, names: Sequence[Any] | None) -> str | None:
        if value is None or value != value:  # NaN
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # pandas writes whole numbers so where others are missing
        if not isinstance(value, str | int):
            raise SourceError(
                f"{self._location} has {value!r} in the column {column}; expected texts or whole "
                "numbers; name another column: --columns label=NAME, or label= for none"
            )
        if names is not None and isinstance(value, int):
            if value >= len(names):
                raise SourceError(
                    f"{self._location} has the class {value} in the column {column}, and names of "
                    f"{len(names)} classes"
                )
            return None if value < 0 else normalize_name(str(names[value])) or None
        return normalize_name(str(value)) or None

    def _read(self, leaf: str) -> list[Any]:
        """Read a column, or a field of one."""
        try:
            with open_parts(self._location) as parts:
                column = open_parquet(parts).read(columns=[leaf]).column(0)
                values: list[Any] = column.to_pylist()
        except (SourceError, ParameterError):
            raise
        except Exception as error:  # pyarrow has several kinds of errors for damaged files
            raise SourceError(f"{self._location} is damaged: {one_line(error)}") from error
        if "." in leaf and leaf not in self._names:
            field = leaf.rpartition(".")[2]
            values = [value.get(field) if isinstance(value, dict) else None for value in values]
        if len(values) != self._rows:
            raise SourceError(f"{self._location} is damaged: a column has too few rows")
        return values


def _distinct(values: Sequence[Any]) -> list[Any]:
    """Return each value once; a value of another kind than texts and numbers comes first."""
    nested = [value for value in values if not value.__hash__]
    return nested[:1] or list(set(values))


def is_parquet_of_images(location: str) -> bool:
    """Whether a location is a Parquet file with the bytes of images.

    One that can't be read counts, so that the error says why.
    """
    if not file_name(location).lower().endswith((_ENDING, ".pq")):
        return False
    if not is_url(location) and not Path(location).is_file():
        return False
    try:
        with open_parts(location) as parts:
            return bool(image_leaves(open_parquet(parts).schema_arrow))
    except (SourceError, ParameterError):
        return True


def open_parquet_source(
    location: str, images: str | None = None, columns: Columns | None = None
) -> ParquetSource:
    """Create the source of a Parquet file with the bytes of images.

    Raises
    ------
    ParameterError
        If a folder of images is given.
    """
    if images is not None:
        raise ParameterError(
            f"{location} has the bytes of its images, so that a folder of images has no meaning; "
            "leave it out"
        )
    return ParquetSource(location, columns)
