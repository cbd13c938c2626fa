"""Several sources at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.containers.archive import ArchiveSource
from tlfeatures.features.sources.containers.parquet import ParquetSource
from tlfeatures.features.sources.folder_labels import (
    LabelRow,
    labels_from_folders,
    splits_of_archives,
)
from tlfeatures.features.sources.folders import FolderSource
from tlfeatures.features.sources.locations import absolute_location, is_url
from tlfeatures.features.sources.protocol import Source
from tlfeatures.features.sources.records import ImageRecord

NAMED = (ArchiveSource, ParquetSource)  # their ids begin with the name of the file


class SeveralSources:
    """Several sources as one. The id of an image in a folder begins with the folder's name.

    If two folders have the same name, the names of the folders above them are added until they
    differ. The ids of an archive or a Parquet file begin with the name of the file anyway; if two
    files have the same name, the folders above are added, too. The ids of a table don't change.

    Parameters
    ----------
    sources : sequence of Source
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self.location = ", ".join(source.location for source in sources)
        self._prefixes = [""] * len(sources)
        for kind in (FolderSource, NAMED):
            places = [at for at, source in enumerate(sources) if isinstance(source, kind)]
            ends = _ends([absolute_location(sources[at].location) for at in places])
            for at, end in zip(places, ends, strict=True):
                self._prefixes[at] = end + "/" if kind is FolderSource else _above(end)

    @property
    def name_parts(self) -> int | None:
        """Number of parts of a folder's name in the ids; None if not all sources are folders."""
        if not all(isinstance(source, FolderSource) for source in self._sources):
            return None
        return self._prefixes[0].count("/")

    def images(self) -> Iterator[ImageRecord]:
        """Yield the images of all sources in the order of their ids.

        Raises
        ------
        SourceError
            If two sources have different images with the same id.
        """
        records: dict[str, ImageRecord] = {}
        for prefix, source in zip(self._prefixes, self._sources, strict=True):
            for image in source.images():
                record = replace(image, id=prefix + image.id) if prefix else image
                other = records.setdefault(record.id, record)
                if other != record:
                    raise SourceError(
                        f"two sources have an image with the id {record.id!r}: {other.location} "
                        f"and {record.location}; rename one, or give the folder above both"
                    )
        yield from (records[id_] for id_ in sorted(records))

    def labels(self) -> dict[str, LabelRow] | None:
        """Return the labels of all sources; None if no source states labels.

        If only some sources state labels, the labels of the others are the names of their folders.

        Raises
        ------
        SourceError
            If two sources state different labels for one image.
        """
        labels: dict[str, LabelRow] = {}
        all_labels = [source.labels() for source in self._sources]
        if not any(own is not None for own in all_labels):
            return None
        splits = splits_of_archives(self._names_of_files())
        for at, (source, own) in enumerate(zip(self._sources, all_labels, strict=True)):
            prefix, split = self._prefixes[at], splits.get(at)
            for id_, stated in (_labels_of_folders(source) if own is None else own).items():
                row = replace(stated, split=stated.split or split)
                if labels.setdefault(prefix + id_, row) != row:
                    raise SourceError(
                        f"two sources state different labels for the image {prefix + id_!r}: "
                        f"{labels[prefix + id_]} and {row}; remove one of them"
                    )
        return labels

    def rows_version(self) -> str | None:
        """Return the versions of the Parquet files; see `ParquetSource.rows_version`."""
        files = [source for source in self._sources if isinstance(source, ParquetSource)]
        versions = [source.rows_version() for source in files]
        return ", ".join(version or "-" for version in versions) if any(versions) else None

    def _names_of_files(self) -> dict[int, str]:
        """Return the names of the files with images inside, by their place among the sources."""
        return {
            at: prefix + source.name
            for at, (prefix, source) in enumerate(zip(self._prefixes, self._sources, strict=True))
            if isinstance(source, NAMED)
        }

    def no_images_error(self, expected: str) -> SourceError:
        """Create the error for sources without images, of which it describes the first one."""
        return self._sources[0].no_images_error(expected)


def without_repeats(locations: Sequence[str]) -> list[str]:
    """Return locations without those that another spelling or a link gave already.

    Raises
    ------
    ParameterError
        If a folder is inside of another one, so that its images would have two ids, and perhaps
        two labels.
    """
    given: dict[str, str] = {}
    for location in locations:
        real = absolute_location(location)
        if not is_url(real):
            real = os.path.realpath(real).replace(os.sep, "/")
        given.setdefault(real.rstrip("/"), location)
    for real, location in given.items():
        outer = next((given[above] for above in _folders_above(real) if above in given), None)
        if outer is not None and (is_url(real) or os.path.isdir(real)):  # noqa: PTH112
            raise ParameterError(
                f"{location} is inside of {outer}, so that its images would be listed twice; give "
                f"{outer} alone, or folders that are not inside of each other"
            )
    return list(given.values())


def _folders_above(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _labels_of_folders(source: Source) -> dict[str, LabelRow]:
    ids = [image.id for image in source.images()]
    return dict(zip(ids, labels_from_folders(ids), strict=True))


def _above(path: str) -> str:
    """Return the folders of a path, with a slash at the end; "" if it has none."""
    folder, slash, _ = path.rpartition("/")
    return folder + slash


def _ends(locations: Sequence[str]) -> list[str]:
    """Return the ends of the paths, with as few parts as are needed for all to differ."""
    parts = [PurePosixPath(place.replace("\\", "/").rstrip("/")).parts for place in locations]
    longest = max(map(len, parts), default=0)
    for depth in range(1, longest + 1):
        ends = ["/".join(path[-depth:]).strip("/") for path in parts]
        if max(Counter(ends).values()) == 1:
            return ends
    return ["/".join(path).strip("/") for path in parts]  # the same twice
