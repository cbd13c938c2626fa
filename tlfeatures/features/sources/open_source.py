"""Open the source of images at a location, by the first kind of source that can.

A new kind of source is an entry of `SOURCE_KINDS`. If its ids begin with the name of its file, it
is also one of `NAMED` in `several.py`. Every kind passes the contract suite
(tests/contract/test_sources.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.containers.archive import ArchiveSource, is_archive
from tlfeatures.features.sources.containers.parquet import (
    ParquetSource,
    is_parquet_of_images,
    open_parquet_source,
)
from tlfeatures.features.sources.folder_labels import LabelRow, labels_below
from tlfeatures.features.sources.folders import EXPECTED, FolderSource, is_folder
from tlfeatures.features.sources.locations import absolute_location, check_location, is_url
from tlfeatures.features.sources.protocol import Columns, Source
from tlfeatures.features.sources.several import SeveralSources, without_repeats
from tlfeatures.features.sources.table_source import TableSource
from tlfeatures.features.sources.tables.read_table import is_table
from tlfeatures.names import as_list


@dataclass(frozen=True)
class SourceKind:
    """One kind of source.

    Attributes
    ----------
    can_open : callable (location) -> bool
        Whether a path or URL is of this kind, by its name or first bytes.
    open : callable (location, images, columns) -> Source
        Creates the source. `images` and `columns` are those of `open_source`.
    takes_options : bool
        Whether `images` and `columns` may be given.
    """

    can_open: Callable[[str], bool]
    open: Callable[[str, str | None, Columns | None], Source]
    takes_options: bool = False


SOURCE_KINDS: tuple[SourceKind, ...] = (
    SourceKind(is_archive, lambda location, images, columns: ArchiveSource(location)),
    SourceKind(is_parquet_of_images, open_parquet_source, takes_options=True),
    SourceKind(is_table, TableSource, takes_options=True),
    SourceKind(is_folder, lambda location, images, columns: FolderSource(location)),
)

Location: TypeAlias = str | os.PathLike[str]
Locations: TypeAlias = Location | Sequence[Location]


def open_source(
    locations: Locations,
    *,
    images: Location | None = None,
    columns: Columns | None = None,
    expected: str = EXPECTED,
) -> Source:
    """Open the source of images at one or several locations.

    Parameters
    ----------
    locations : path or URL, or sequence of them
    images : path or URL, optional
        Folder that the paths in tables are relative to. A table's own folder if not given.
    columns : mapping of role to column, optional
        Names of the columns of tables, if they aren't the usual ones.
    expected : str, optional
        What the locations should be, for messages.

    Returns
    -------
    Source

    Raises
    ------
    ParameterError
        If a location doesn't exist, or no kind of source opens it, or there are options of tables
        and no table.
    """
    given = as_list(locations)
    wrong = [type(item).__name__ for item in given if not isinstance(item, str | os.PathLike)]
    if wrong:
        raise ParameterError(f"a source of images is of type {wrong[0]}; expected a path or URL")
    listed = [os.fspath(location) for location in given]
    if not listed:
        raise ParameterError(f"no source of images is given; {expected}")
    for location in listed:
        check_location(location, expected)
    folder = None if images is None else os.fspath(images)
    listed = without_repeats(listed)
    kinds = [_kind_of(location, expected) for location in listed]
    if (folder, columns) != (None, None) and not any(kind.takes_options for kind in kinds):
        raise ParameterError(
            f"{listed[0]} is no table; leave out --images and --columns, which say how a table is "
            "read"
        )
    sources = [
        kind.open(location, *((folder, columns) if kind.takes_options else (None, None)))
        for kind, location in zip(kinds, listed, strict=True)
    ]
    return sources[0] if len(sources) == 1 else SeveralSources(sources)


def is_source(location: str) -> bool:
    """Whether a kind of source can open a location."""
    return any(kind.can_open(location) for kind in SOURCE_KINDS)


def takes_options(location: str) -> bool:
    """Whether a location is a table, so that it may be opened with `images` and `columns`."""
    kind = next((kind for kind in SOURCE_KINDS if kind.can_open(location)), None)
    return kind is not None and kind.takes_options


def _kind_of(location: str, expected: str) -> SourceKind:
    kind = next((kind for kind in SOURCE_KINDS if kind.can_open(location)), None)
    if kind is None:
        exists = is_url(location) or Path(location).exists()
        problem = "is a file of another kind" if exists else "does not exist"
        raise ParameterError(f"{location} {problem}; {expected}")
    return kind


def source_facts(
    locations: Locations,
    images: Location | None = None,
    columns: Columns | None = None,
    states_labels: bool = False,
    rows: str | None = None,
    name_parts: int | None = None,
) -> dict[str, Any]:
    """Return JSON-ready facts by which `open_stored_source` opens the same source again.

    Parameters
    ----------
    locations, images, columns
        See `open_source`.
    states_labels : bool
        Whether the source states labels.
    rows : str, optional
        See `rows_version`.
    name_parts : int, optional
        See `name_parts`.
    """
    absolute = [absolute_location(location) for location in as_list(locations)]
    facts: dict[str, Any] = {"source": absolute[0] if len(absolute) == 1 else absolute}
    if images is not None:
        facts["images"] = absolute_location(images)
    if columns:
        facts["columns"] = dict(columns)
    if states_labels:
        facts["states_labels"] = True
    if rows is not None:
        facts["rows"] = rows
    if name_parts is not None:
        facts["name_parts"] = name_parts
    return facts


def rows_version(source: Source) -> str | None:
    """Return what changes if ids may have become those of other images.

    It is None for most sources. Only the images in a Parquet file may be named by the numbers of
    their rows.
    """
    return source.rows_version() if isinstance(source, ParquetSource | SeveralSources) else None


def name_parts(source: Source) -> int | None:
    """Return how many parts of an id name its folder; None but for several folders."""
    return source.name_parts if isinstance(source, SeveralSources) else None


def labels_of_images(source: Source, ids: Sequence[str]) -> dict[str, LabelRow] | None:
    """Return the labels that a source states, or those of several folders.

    Parameters
    ----------
    source : Source
    ids : sequence of str
        Ids of its images.

    Returns
    -------
    dict of id to LabelRow, or None
        None if the labels are the names of the top folders in the ids.
    """
    stated, parts = source.labels(), name_parts(source)
    return labels_below(ids, parts) if stated is None and parts else stated


def open_with_stored_options(locations: Locations, provenance: Mapping[str, Any]) -> Source:
    """Open a source by the options of a file's own source, if it is that one.

    Raises
    ------
    ParameterError
        See `open_source`.
    """
    if source_facts(locations)["source"] != provenance.get("source"):
        return open_source(locations)
    return open_source(
        locations, images=provenance.get("images"), columns=provenance.get("columns")
    )


def open_stored_source(provenance: Mapping[str, Any]) -> Source | None:
    """Open the source that `source_facts` describes; None if none is recorded.

    Parameters
    ----------
    provenance : mapping
        The provenance of an embeddings file.

    Raises
    ------
    ParameterError, SourceError
        If it is gone, or is another kind of source now.
    """
    stored = provenance.get("source")
    return open_with_stored_options(stored, provenance) if stored else None


def stated_labels(
    provenance: Mapping[str, Any], columns: Columns | None = None
) -> dict[str, LabelRow] | None:
    """Read the labels that the source of an embeddings file states.

    Parameters
    ----------
    provenance : mapping
        The provenance of an embeddings file.
    columns : mapping of role to column, optional
        Names of columns that differ from those with which the source was opened.

    Returns
    -------
    dict of id to LabelRow, or None
        None if the source doesn't state labels, as a folder.

    Raises
    ------
    SourceError
        If the source stated labels when its images were embedded, and can't be read now, or its
        images may have other ids.
    """
    if not provenance.get("states_labels") and not (columns and _has_table(provenance)):
        return None
    if columns:
        provenance = {**provenance, "columns": {**(provenance.get("columns") or {}), **columns}}
    try:
        source = open_stored_source(provenance)
        labels = None if source is None else source.labels()
        version = None if source is None else rows_version(source)
    except (ParameterError, SourceError) as error:
        raise SourceError(
            f"the labels can't be read from the source of the images: {error}; give --labels FILE"
        ) from error
    if version != provenance.get("rows"):
        raise SourceError(
            f"{provenance['source']} has changed since, and its images are named by the numbers of "
            "their rows; run `tlfeatures extract` again, or give --labels FILE"
        )
    if labels is None and not provenance.get("states_labels"):
        return None
    if labels is None:
        raise SourceError(
            f"{provenance['source']} had labels when its images were embedded, and has none now; "
            "give --labels FILE"
        )
    return labels


def _has_table(provenance: Mapping[str, Any]) -> bool:
    """Whether a table is among the sources, whose other columns may have labels."""
    return any(takes_options(location) for location in as_list(provenance.get("source")))
