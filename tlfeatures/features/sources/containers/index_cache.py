"""Keep what was read about files with images inside, until the file changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sized
from typing import Generic, TypeVar

from tlfeatures.features.sources.containers.parts import Parts, Version

Index = TypeVar("Index", bound=Sized)


class IndexCache(Generic[Index]):
    """The indexes of the files that this process read last; threads may share it.

    Parameters
    ----------
    most : int
        Largest sum of the lengths of the indexes; the last one is kept in any case.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[Version, Index]] = OrderedDict()

    def get(self, parts: Parts, what: str, read: Callable[[Parts], Index]) -> Index:
        """Return the index of a file, which is read if there is none of this version.

        Parameters
        ----------
        parts : Parts
            The file.
        what : str
            What the index is of: the kind of archive, or the column.
        read : callable (parts) -> index

        Raises
        ------
        SourceError
            By `read`.
        """
        with self._lock:
            key = parts.location, what
            version, index = self._kept.get(key, (None, None))
            if index is None or version != parts.version:
                index = read(parts)
                self._kept[key] = parts.version, index
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and self._count() > self._most:
                self._kept.popitem(last=False)
            return index

    def forget(self, location: str) -> None:
        """Remove the indexes of a file, which may have changed."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == location]:
                del self._kept[key]

    def _count(self) -> int:
        return sum(len(index) for _, index in self._kept.values())
