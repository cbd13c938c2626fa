"""List the files below a folder in the order of their ids, with each real folder once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path

from tlfeatures.errors import SourceError
from tlfeatures.files import reason_of

# Folders that systems, cameras and network drives add by themselves, in lower case.
_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "#recycle", "@recycle", "@recently-snapshot", "@__thumb", "@tmp", "#snapshot"}
    | {"$recycle.bin", "__macosx", "system volume information", "lost+found"}
    | {"~snapshot", "network trash folder", "temporary items", "found.000"}
)

# In a folder of images, such a folder holds small copies of them; at the top, it may be a class.
_THUMBNAIL_FOLDERS = frozenset({"thumbnails", "thumbnail", "thumbs", "_thumbs", "previews"})

# Hidden folders of tools and file systems. They hold too many files to count the images in them.
_TOOL_FOLDERS = frozenset({".git", ".cache", ".snapshot", ".snapshots", ".zfs", ".venv"})


def is_system_folder(name: str, nested: bool) -> bool:
    """Whether programs create folders of this name.

    Parameters
    ----------
    name : str
        Name of the folder, without the folders above it.
    nested : bool
        Whether it is in a subfolder of the source, not in the source itself.
    """
    return name.lower() in _SYSTEM_FOLDERS or (nested and name.lower() in _THUMBNAIL_FOLDERS)


class Walk:
    """One pass over the files below a folder.

    Hidden files are left out. A link to a folder outside is followed once, one to a folder that is
    listed anyway is not followed.

    Parameters
    ----------
    root : str
        Path of the folder.
    on_excluded : callable
        Called with path and name of each folder that is left out: hidden folders and those of
        systems and network drives.
    on_repeated_link : callable
        Called with the id of each link to a folder that is not followed.
    """

    def __init__(
        self,
        root: str,
        on_excluded: Callable[[str, str], None],
        on_repeated_link: Callable[[str], None],
    ) -> None:
        self._root, self._real_root = root, os.path.realpath(root)
        self._on_excluded, self._on_repeated_link = on_excluded, on_repeated_link
        self._linked: set[str] = set()  # real folders that were reached by a link

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield id and path below the root of each file, sorted by id.

        Raises
        ------
        SourceError
            If a folder can't be listed.
        """
        return self._files_below("", "", linked=False)

    def _files_below(self, above: str, id_above: str, linked: bool) -> Iterator[tuple[str, str]]:
        folder = os.path.join(self._root, above)  # noqa: PTH118
        for id_, entry in _entries(folder):
            path = above + entry.name
            if not id_.endswith("/"):
                # Reading a pipe would wait for ever. A broken link is reported by decoding.
                if _is(entry.is_file) or not os.path.exists(entry.path):  # noqa: PTH110
                    yield id_above + id_, path
            elif is_system_folder(entry.name, bool(above)) or entry.name.startswith("."):
                self._on_excluded(entry.path, entry.name)
            else:
                by_link = linked or entry.is_symlink()
                if not by_link or self._is_new(entry, id_above + id_):
                    yield from self._files_below(path + os.sep, id_above + id_, by_link)

    def _is_new(self, entry: os.DirEntry[str], id_: str) -> bool:
        """Whether a folder that is reached by a link is listed nowhere else."""
        real = os.path.realpath(entry.path)
        if real in self._linked or self._is_listed(real):
            self._on_repeated_link(id_.rstrip("/"))
            return False
        self._linked.add(real)
        return True

    def _is_listed(self, real: str) -> bool:
        """Whether a real folder is below the root, and not below a folder that is left out."""
        if real != self._real_root and not real.startswith(self._real_root.rstrip(os.sep) + os.sep):
            return False
        parts = Path(real).relative_to(self._real_root).parts
        return not any(
            part.startswith(".") or is_system_folder(part, depth > 0)
            for depth, part in enumerate(parts)
        )


def _entries(folder: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return what is in a folder but hidden files, sorted; the id of a folder ends in a slash."""
    try:
        with os.scandir(folder) as scanned:
            entries = [entry for entry in scanned if not _is_ignored(entry)]
    except OSError as error:
        raise SourceError(f"{Path(folder)} can't be listed: {reason_of(error)}") from error
    named = ((printable(entry.name) + "/" * _is(entry.is_dir), entry) for entry in entries)
    return sorted(named, key=itemgetter(0))


def _is_ignored(entry: os.DirEntry[str]) -> bool:
    """Whether it is hidden, and holds no images of the user's that should be counted."""
    hidden = entry.name.startswith(".")
    return hidden and (entry.name in _TOOL_FOLDERS or not _is(entry.is_dir))


def printable(name: str) -> str:
    r"""Return a name in which bytes that are no UTF-8 are written as `\udcXX`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return bool(kind())
    except OSError:  # a link to itself
        return False
