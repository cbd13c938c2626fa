"""A folder or a URL as a source: its images, and what is left out, counted in warnings."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tlfeatures.errors import ParameterError, SourceError
from tlfeatures.features.sources.endings import (
    START_BYTES,
    ending_unless_image,
    is_image_by_name,
    is_system_file,
    is_visible_image,
)
from tlfeatures.features.sources.left_out import LeftOut
from tlfeatures.features.sources.locations import (
    is_file_at,
    is_url,
    list_url,
    read_first_bytes,
    readable_name,
)
from tlfeatures.features.sources.records import ImageRecord
from tlfeatures.features.sources.walk import Walk

logger = logging.getLogger(__name__)

EXPECTED = "expected a folder with one subfolder per class"


def is_folder(location: str) -> bool:
    """Whether a location is a folder, or a URL that is no file."""
    return not is_file_at(location) if is_url(location) else Path(location).is_dir()


class FolderSource:
    r"""The images below a folder.

    A file is an image if its name has an ending of an image; where the ending is neither that nor
    one of other known files, the first bytes decide. What is left out is counted in a warning.
    Hidden files, and folders that systems and network drives add, are left out. A link to a folder
    outside is followed once; one to a folder that is listed anyway is not.

    The id of an image is its POSIX path relative to the folder. Bytes of a name that are no UTF-8
    are written as `\udcXX` in the id.

    Parameters
    ----------
    location : path or URL
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.location = os.fspath(location)

    def images(self) -> Iterator[ImageRecord]:
        """Yield the images in the order of their ids.

        Raises
        ------
        ParameterError
            If the location is no folder.
        SourceError
            If a folder in it can't be listed: its images would seem to be gone.
        """
        listing = Listing(self.location)
        is_empty = True
        for image in listing.images():
            is_empty = False
            yield image
        if not is_empty:  # without images, the caller raises `no_images_error`, which has it all
            for sentence in listing.left_out.sentences():
                logger.warning("%s", sentence)

    def labels(self) -> None:
        """Return None: the labels are the names of the subfolders, which the ids have."""

    def no_images_error(self, expected: str = EXPECTED) -> SourceError:
        """Create the error for a folder without images.

        It lists the folder again to name what is in it instead.
        """
        listing = Listing(self.location)
        for _ in listing.images():
            pass
        return listing.left_out.no_images_error(self.location, expected)


class Listing:
    """One pass over a folder, which yields its images and counts what is left out.

    Parameters
    ----------
    source : path or URL

    Attributes
    ----------
    left_out : LeftOut

    Raises
    ------
    ParameterError
        If the source is no folder.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self._root = os.fspath(source)
        if is_url(self._root):
            self._root = self._root.rstrip("/")
        elif not Path(self._root).is_dir():
            problem = "is a file" if Path(self._root).exists() else "does not exist"
            raise ParameterError(f"{self._root} {problem}; {EXPECTED}")
        self.left_out = LeftOut()

    def images(self) -> Iterator[ImageRecord]:
        """Yield the images in the order of their ids."""
        files = self._files_at_url() if is_url(self._root) else self._files_in_folder()
        for id_, name, ending in files:
            if ending is None:
                # Where id and name are equal, one string is enough for both.
                yield ImageRecord(id_, self._root, id_ if id_ == name else name)
            elif not is_system_file(id_):
                self.left_out.endings[ending] += 1

    def _files_in_folder(self) -> Iterator[tuple[str, str, str | None]]:
        """Yield id, name and the ending that it is counted by, None for an image."""
        walk = Walk(self._root, self._count_excluded, self.left_out.links.append)
        for id_, name in walk.files():
            path = os.path.join(self._root, name)  # noqa: PTH118, a Path for each file is slow
            yield id_, name, ending_unless_image(id_, partial(_read_start, path))

    def _count_excluded(self, folder: str, name: str) -> None:
        hidden = name.startswith(".")
        counts = self.left_out.in_hidden_folders if hidden else self.left_out.in_system_folders
        files = (file for _, _, files in os.walk(folder) for file in files)
        counts[name] += sum(is_visible_image(file) for file in files)

    def _files_at_url(self) -> Iterator[tuple[str, str, str | None]]:
        name_of = {readable_name(self._root, name): name for name in list_url(self._root)}
        ids = list(self.left_out.without_excluded(sorted(name_of)))
        unclear = [id_ for id_ in ids if is_image_by_name(id_) is None]
        names = [name_of[id_] for id_ in unclear]
        starts = read_first_bytes(self._root, names, START_BYTES)
        start_of = dict(zip(unclear, starts, strict=True))
        for id_ in ids:
            ending = ending_unless_image(id_, partial(start_of.__getitem__, id_))
            yield id_, name_of[id_], ending


def _read_start(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read(START_BYTES) or b""
    except (OSError, ValueError):  # the file is counted as one without a signature
        return b""
