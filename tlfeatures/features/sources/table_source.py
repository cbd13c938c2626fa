"""A table as a source: the images whose paths it has, with their labels and boxes."""

from __future__ import annotations

import logging
import os
import posixpath
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.folder_labels import LabelRow, labels_from_folders
from tlfeatures.features.sources.folders import Listing
from tlfeatures.features.sources.locations import is_url
from tlfeatures.features.sources.protocol import Columns
from tlfeatures.features.sources.records import ImageRecord, id_with_box, id_without_box
from tlfeatures.features.sources.spelling import normalize_name
from tlfeatures.features.sources.tables.paths import (
    OtherForm,
    find_other_form,
    how_to_match,
    id_of_path,
    is_absolute,
)
from tlfeatures.features.sources.tables.read_table import Table, TableRow, read_table
from tlfeatures.features.sources.tables.roles import Wanted, check_columns
from tlfeatures.names import counted, some_of

logger = logging.getLogger(__name__)

_SHOWN = 3  # paths in a message


class TableSource:
    """The images whose paths a table has.

    The id of an image is its path relative to the folder of the images, as in that folder as a
    source; with a box, the id ends in it. Paths outside of the folder, and URLs, are ids as they
    are. Rows without an image, and images of the folder without a row, are counted in warnings.

    Parameters
    ----------
    location : path or URL
        The table.
    images : path or URL, optional
        Folder that paths are relative to. The table's own folder if not given.
    columns : mapping of role to column, optional
        Names of the columns, if they aren't the usual ones.

    Raises
    ------
    ParameterError
        If `columns` has an unknown role.
    """

    def __init__(
        self, location: str, images: str | None = None, columns: Columns | None = None
    ) -> None:
        check_columns(columns)
        self.location = os.fspath(location)
        self._has_folder = images is not None
        self._root = images or os.path.dirname(self.location) or "."  # noqa: PTH120, or a URL
        self._wanted = Wanted(columns=dict(columns or {}))
        self._found: dict[str, ImageRecord] = {}  # by the id as written

    def images(self) -> Iterator[ImageRecord]:
        """Yield the images in the order of their ids.

        Raises
        ------
        ParameterError
            If there is no folder of images.
        SourceError
            If the table can't be read, or has one image twice with different labels.
        """
        if not is_url(self._root) and not Path(self._root).is_dir():
            problem = "is a file" if Path(self._root).exists() else "does not exist"
            raise ParameterError(
                f"{self._root} {problem}; expected the folder of the images of {self.location}"
            )
        listed = self._listed
        forms = {normalize_name(id_): image for id_, image in listed.items()}
        records: dict[str, ImageRecord] = {}
        missing = []
        for id_, row in self._rows.items():
            path = id_without_box(id_) if row.box else id_
            image = listed.get(path) or forms.get(normalize_name(path)) or self._unlisted(path)
            if image is None:
                missing.append(row)
                continue
            self._found[path] = image
            own = id_with_box(image.id, row.box)
            records[own] = ImageRecord(own, image.place, image.name, row.box)
        if records:
            self._warn(missing, len(self._rows))
        yield from (records[id_] for id_ in sorted(records))

    def labels(self) -> dict[str, LabelRow] | None:
        """Return label, group and split of images by their ids; the images are not needed.

        Without a column of labels, they are the names of folders.

        Raises
        ------
        SourceError
            See `images`.
        """
        roles = self._table.roles
        if not roles & {"label", "group", "split"}:
            return None
        rows = {self._final_id(id_, row): row.values for id_, row in self._rows.items()}
        if "label" in roles:
            return rows
        folders = labels_from_folders([*map(id_without_box, rows)])
        return {
            id_: LabelRow(folder.label, values.group, values.split or folder.split)
            for (id_, values), folder in zip(rows.items(), folders, strict=True)
        }

    def no_images_error(self, expected: str) -> SourceError:
        """Create the error for a table without images; it says why its paths give none."""
        rows = [row for row in self._table.rows if row.id.strip()]
        if not rows:
            return SourceError(f"{self.location} has no paths of images; {expected}")
        listed = list(self._listed)
        hint = how_to_match(id_of_path(rows[0].id, self._root), listed, "table")
        where = f"which has {counted(len(listed), 'image')}"
        where += f", such as {listed[0]!r}" if listed else ""
        advice = "" if self._has_folder else "; give the folder of the images with --images"
        return SourceError(
            f"no path of {self.location} is that of an image below {self._root}, {where}; the "
            f"paths are {self._named(rows)}{hint}{advice}"
        )

    # ---- rows

    @cached_property
    def _table(self) -> Table:
        return read_table(self.location, self._wanted)

    @cached_property
    def _rows(self) -> dict[str, TableRow]:
        """Return the rows by their ids, with their boxes; not all of them have an image."""
        other = self._other_form
        rows: dict[str, TableRow] = {}
        for row, path in zip(self._table.rows, self._written_ids, strict=True):
            if not path:
                continue
            id_ = id_with_box(path if other is None else other.ids.get(path, path), row.box)
            first = rows.setdefault(id_, row)
            if first.values != row.values:
                raise SourceError(
                    f"{self.location} has {id_!r} twice ({self._table.unit}s {first.number} and "
                    f"{row.number}) with different values; remove one of them"
                )
        return rows

    @cached_property
    def _written_ids(self) -> list[str]:
        """Return the id of each row as its path is written; "" for a row without one."""
        ids = {"": ""}  # an image may have many rows
        for row in self._table.rows:
            if row.id.strip() and row.id not in ids:
                ids[row.id] = id_of_path(row.id, self._root)
        return [ids[row.id] if row.id.strip() else "" for row in self._table.rows]

    @cached_property
    def _other_form(self) -> OtherForm | None:
        """Return how the paths are written, unless an image has the path as it is written."""
        paths = dict.fromkeys(filter(None, self._written_ids))
        listed = self._listed_below(self._root) if is_url(self._root) else {}
        if any(path in listed or self._unlisted(path) for path in paths):
            return None
        other = find_other_form(list(paths), list(listed or self._listed_below(self._root)))
        if other is not None:
            first = next(iter(other.ids))
            logger.warning(
                "%s: the paths %s: %r is taken for %r below %s",
                self.location,
                other.what,
                first,
                other.ids[first],
                self._root,
            )
        return other

    def _final_id(self, id_: str, row: TableRow) -> str:
        """Return the id as the disk writes it, which may be another Unicode form."""
        path = id_without_box(id_) if row.box else id_
        image = self._found.get(path)
        return id_ if image is None else id_with_box(image.id, row.box)

    # ---- files

    @cached_property
    def _listed(self) -> dict[str, ImageRecord]:
        """Return the images of the folder, or of the one below it that has all paths, by id."""
        if self._has_folder or is_url(self._root) or self._other_form is not None:
            return self._listed_below(self._root)
        relative = [id_without_box(id_) for id_ in self._rows if not is_absolute(id_)]
        if not relative:
            return {}
        return self._listed_below(
            self._root, posixpath.commonpath(map(posixpath.dirname, relative))
        )

    def _listed_below(self, root: str, folder: str = "") -> dict[str, ImageRecord]:
        start, before = (f"{root}/{folder}", f"{folder}/") if folder else (root, "")
        if not is_url(start) and not Path(start).is_dir():
            return {}
        try:
            images = list(Listing(start).images())
        except ParameterError:  # a URL without files
            return {}
        return {
            before + image.id: ImageRecord(before + image.id, root, before + image.name)
            for image in images
        }

    def _unlisted(self, path: str) -> ImageRecord | None:
        """Return an image that the folder doesn't list: elsewhere, or in a hidden folder."""
        if is_url(path):
            place, _, name = path.rpartition("/")
            return ImageRecord(path, place, name)
        place = os.path.join(self._root, path)  # noqa: PTH118, a Path for each row is slow
        if is_url(self._root) or not os.path.isfile(place):  # noqa: PTH113
            return None
        if not is_absolute(path):
            return ImageRecord(path, self._root, path)
        return ImageRecord(path, *os.path.split(path))

    # ---- warnings

    def _warn(self, missing: list[TableRow], count: int) -> None:
        unit = self._table.unit
        empty = [row for row in self._table.rows if not row.id.strip()]
        if empty:
            logger.warning(
                "%s: %s without a path left out, %s %d first",
                self.location,
                counted(len(empty), "row"),
                unit,
                empty[0].number,
            )
        if missing:
            hint = how_to_match(id_of_path(missing[0].id, self._root), self._listed, "table")
            logger.warning(
                "%d of %d rows of %s have no image: %s%s",
                len(missing),
                count,
                self.location,
                self._named(missing),
                hint,
            )
        used = {image.id for image in self._found.values()}
        unused = [id_ for id_ in self._listed if id_ not in used]
        if unused:
            logger.warning(
                "%d of %d images below %s have no row in %s and are left out: %s",
                len(unused),
                len(self._listed),
                self._root,
                self.location,
                some_of(map(repr, unused), _SHOWN),
            )

    def _named(self, rows: list[TableRow]) -> str:
        unit = self._table.unit
        return some_of((f"{row.id!r} ({unit} {row.number})" for row in rows), _SHOWN)
