"""A zip or tar archive as a source; its images are read where they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tlfeatures.errors import ImageError, ParameterError, SourceError
from tlfeatures.features.sources.containers.index_cache import IndexCache
from tlfeatures.features.sources.containers.names import Entry, Members
from tlfeatures.features.sources.containers.parts import Parts, open_parts, read_beginning
from tlfeatures.features.sources.containers.sidecars import sidecar_labels, sidecars
from tlfeatures.features.sources.containers.tar_index import index_tar
from tlfeatures.features.sources.containers.zip_index import index_zip
from tlfeatures.features.sources.endings import (
    IMAGE_ENDINGS,
    START_BYTES,
    ending_of,
    ending_unless_image,
    is_system_file,
)
from tlfeatures.features.sources.folder_labels import LabelRow
from tlfeatures.features.sources.left_out import LeftOut
from tlfeatures.features.sources.locations import is_file_at, is_url
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.sources.walk import printable
from tlfeatures.files import OTHER_ENDINGS

logger = logging.getLogger(__name__)

_EXPECTED = "expected an archive with one folder per class"
_INDEXES: dict[str, Callable[[Parts], Members]] = {".zip": index_zip, ".tar": index_tar}
_CACHE: IndexCache[Members] = IndexCache(most=200_000)

# The commands that make a tar of one that is compressed as a whole: its first bytes, its endings.
_COMPRESSED = {
    "gunzip": (b"\x1f\x8b", (".tar.gz", ".tgz")),
    "bunzip2": (b"BZh", (".tar.bz2", ".tbz2", ".tbz")),
    "unxz": (b"\xfd7zXZ", (".tar.xz", ".txz")),
    "unzstd": (b"\x28\xb5\x2f\xfd", (".tar.zst", ".tzst")),
}
_TAR_AT, _TAR_MARK = 257, b"ustar"


@dataclass(frozen=True)
class Archive:
    """A container; see `tlfeatures.features.sources.records.Container`.

    Attributes
    ----------
    path : str
        Path or URL.
    kind : {".zip", ".tar"}
    """

    path: str
    kind: str

    def members(self, fresh: bool = False) -> Members:
        """Return the files in the archive.

        Parameters
        ----------
        fresh : bool
            Whether an archive at a URL is listed again in any case: not every server says whether
            a file has changed.

        Raises
        ------
        SourceError
            If it is no such archive, or is damaged or cut off.
        """
        if fresh and is_url(self.path):
            _CACHE.forget(self.path)
        with open_parts(self.path, fresh) as parts:
            return _CACHE.get(parts, self.kind, _INDEXES[self.kind])

    def read(self, name: str) -> bytes:
        """Read a file in the archive; see `Container.read`."""
        return self._entry(name, lambda entry, parts: entry.read(parts))

    def read_start(self, name: str) -> bytes:
        """Read the beginning of a file in the archive; b"" if it can't be read."""
        try:
            return self._entry(name, lambda entry, parts: entry.start(parts, START_BYTES))
        except ImageError:
            return b""

    def _entry(self, name: str, read: Callable[[Entry, Parts], bytes]) -> bytes:
        try:
            with open_parts(self.path) as parts:
                entry = _CACHE.get(parts, self.kind, _INDEXES[self.kind]).entries.get(name)
                if entry is None:
                    raise ImageError("it is no longer in the archive; run the command again")
                return read(entry, parts)
        except ImageError:
            raise
        except (SourceError, ParameterError) as error:
            raise ImageError(str(error)) from error


class ArchiveSource:
    """The images in a zip or tar archive.

    Which files are images is decided as in a folder. The id of an image is the name of the archive
    and the name in it: `photos.zip/ants/1.jpg`.

    Parameters
    ----------
    location : path or URL

    Raises
    ------
    ParameterError
        If the archive is compressed as a whole.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        command = _command_to_unpack(location)
        if command:
            name = file_name(location)
            raise ParameterError(
                f"{location} is compressed as a whole, so that no image in it can be read by "
                f"itself; make a .tar of it: {command} < {name} > {name.partition('.')[0]}-1.tar"
            )
        self._kind = _kind(location) or ".zip"
        self._archive = Archive(location, self._kind)
        name = file_name(location)
        self.name = name if name.lower().endswith(self._kind) else name + self._kind

    def images(self) -> Iterator[ImageRecord]:
        """Yield the images in the order of their ids; what is left out is counted in warnings.

        Raises
        ------
        SourceError
            If it is no such archive, or is damaged or cut off.
        """
        names, left_out = self._listed(fresh=True)
        for id_, name in names:
            yield ImageRecord(f"{self.name}/{id_}", self._archive, name)
        if names:  # without images, the caller raises `no_images_error`, which has it all
            for sentence in left_out.sentences():
                logger.warning("%s: %s", self.location, sentence)

    def labels(self) -> dict[str, LabelRow] | None:
        """Return the labels that a WebDataset's tar states; None for other archives.

        The labels of those are the names of the folders, which the ids have.
        """
        if self._kind != ".tar":
            return None
        images = [name for _, name in self._listed()[0]]
        rows = sidecar_labels(self._archive, self._archive.members(), images)
        return rows and {f"{self.name}/{printable(name)}": row for name, row in rows.items()}

    def no_images_error(self, expected: str = _EXPECTED) -> SourceError:
        """Create the error for an archive without images; it names what is in it instead."""
        return self._listed()[1].no_images_error(self.location, expected)

    def _listed(self, fresh: bool = False) -> tuple[list[tuple[str, str]], LeftOut]:
        """Return id and name of each image, and what is left out."""
        members = self._archive.members(fresh)
        left_out = LeftOut()
        left_out.others |= members.left_out
        images, others = [], {}
        for name in left_out.without_excluded(members):
            ending = ending_unless_image(name, partial(self._archive.read_start, name))
            if ending is None:
                images.append((printable(name), name))
            elif not is_system_file(name):
                others[name] = ending
        if self._kind == ".tar":
            for labels in sidecars(others, (name for _, name in images)).values():
                for name in labels.values():
                    del others[name]
        left_out.endings.update(others.values())
        return sorted(images), left_out


def is_archive(location: str) -> bool:
    """Whether a location is an archive, by its name or first bytes.

    One that is compressed as a whole counts, too, so that the error says what to do.
    """
    if not is_url(location) and not Path(location).is_file():
        return False
    return _kind(location) is not None or _command_to_unpack(location) is not None


def file_name(location: str) -> str:
    """Return the last part of a path or URL, without a query."""
    if is_url(location):
        location = location.partition("?")[0].partition("#")[0].rstrip("/")
    return location.replace("\\", "/").rpartition("/")[2] or "archive"


def _kind(location: str) -> str | None:
    name = file_name(location).lower()
    ending = ending_of(name)
    if ending in OTHER_ENDINGS | IMAGE_ENDINGS and ending not in _INDEXES:
        return None
    if ending in _INDEXES and is_url(location):
        return ending
    if is_url(location) and not is_file_at(location):
        return None
    start = read_beginning(location, _TAR_AT + len(_TAR_MARK))
    if start[_TAR_AT:] == _TAR_MARK:
        return ".tar"
    if start[:4] in (b"PK\3\4", b"PK\5\6"):
        return ".zip"
    return ending if ending in _INDEXES else None


def _command_to_unpack(location: str) -> str | None:
    name = file_name(location).lower()
    start = read_beginning(location, 8) if name.endswith(".tar") else b""
    for command, (mark, endings) in _COMPRESSED.items():
        if name.endswith(endings) or start.startswith(mark):
            return command
    return None
